"""Commands that find directions of a generator, and how far to walk them: directions, calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from explorer.commands.options import Flat, GeneratorOptions, run_at, watched
from explorer.directions.calibration import CalibrationConfig, calibrate_catalogue, calibration_of
from explorer.directions.catalogue import Catalogue, catalogue_for, save_changes
from explorer.directions.origins import DirectionsConfig, directions_from
from explorer.directions.picks import Picks
from explorer.engine import Engine
from explorer.generators.registry import load_generator
from explorer.sources import as_embeddings, read_embeddings
from segmentation.kept import Kept

_SHOWN = 10


def directions(
    options: Annotated[GeneratorOptions, Flat],
    config: Annotated[DirectionsConfig, Flat],
    out: Path,
    picks: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="HIGH.npy LOW.npy")] = None,
    run: Path | None = None,
    checkpoint_every: int = 20,
) -> None:
    """A catalogue of directions; by default as many as a latent code is long, scored, saliency lighting chosen.

    Args:
        options: the generator.
        config: where the directions come from, and how they are found and scored.
        out: folder of the catalogue.
        picks: with --source picks: latent codes of images that have it, and of images that lack it (.npy, (N, d) each).
        run: folder of a run that keeps a record of it, so that it can be watched and stopped from elsewhere, and goes on
            where it stopped.
        checkpoint_every: with a run: steps, as the bar counts them, between two times that what was found is saved.
    """
    folder = run_at(run)
    kept = Kept(folder, checkpoint_every)
    with watched("directions", folder, options.devices()) as watcher:
        engine = Engine(load_generator(options.generator), options.engine)
        picked = None if picks is None else Picks(*(as_embeddings(read_embeddings(path, engine), engine) for path in picks))
        catalogue = directions_from(engine, config, watcher, picked, kept)
        # Inside of the run: who waits for its end looks at the catalogue then.
        catalogue.save(out)
    _show(catalogue)
    lighting = "none chosen" if catalogue.lighting is None else f"direction {catalogue.lighting}"
    print(f"{_counted(catalogue)} in {out}, {catalogue.source}; saliency lighting: {lighting}")
    _tell_reach(catalogue, config.calibration)


def calibrate(
    options: Annotated[GeneratorOptions, Flat],
    config: Annotated[CalibrationConfig, Flat],
    directions: Path,
    run: Path | None = None,
    checkpoint_every: int = 1,
) -> None:
    """Give every direction of a catalogue the magnitude at which it visibly acts; saliency lighting keeps its own.

    Args:
        options: the generator.
        config: what it means that a direction visibly acts.
        directions: folder of the catalogue.
        run: folder of a run that keeps a record of it, so that it can be watched and stopped from elsewhere, and goes on
            where it stopped.
        checkpoint_every: with a run: rounds, in each of which all directions are tried at one length more, between two times
            that what was found is saved.
    """
    folder = run_at(run)
    kept = Kept(folder, checkpoint_every)
    with watched("calibrate", folder, options.devices()) as watcher:
        engine = Engine(load_generator(options.generator), options.engine)
        catalogue = catalogue_for(options.generator, directions, *engine.accepted_fingerprints)
        kept.restore(calibration_of(engine, catalogue, config), config.rounds, watcher)
        calibrated = calibrate_catalogue(engine, catalogue, config, watcher, kept)
        catalogue = save_changes(directions, catalogue, calibrated, "calibrate")
    magnitudes = sorted(entry.magnitude for entry in catalogue.entries)
    print(f"{_counted(catalogue)} in {directions}; magnitudes from {magnitudes[0]:g} to {magnitudes[-1]:g}")
    _tell_reach(catalogue, config)


def _show(catalogue: Catalogue) -> None:
    """Print the directions of the highest total score; where there is none, the first."""
    best = sorted(range(len(catalogue)), key=lambda index: -catalogue.entries[index].scores.get("total", 0.0))
    for index in best[:_SHOWN]:
        entry = catalogue.entries[index]
        figures = {"magnitude": entry.magnitude, **entry.scores}
        print(f"direction {catalogue.title(index)}: {'  '.join(f'{name} {value:.3f}' for name, value in figures.items())}")


def _counted(catalogue: Catalogue) -> str:
    return f"{len(catalogue)} direction{'s' * (len(catalogue) != 1)}"


def _tell_reach(catalogue: Catalogue, config: CalibrationConfig) -> None:
    weak = [str(index) for index, entry in enumerate(catalogue.entries) if entry.scores.get("reach", 1.0) < 1]
    if weak:
        few = f"{', '.join(weak[:20])}{', ...' if len(weak) > 20 else ''}"
        print(f"{len(weak)} change images by less than {config.target:g} on average at any magnitude (reach below 1): {few}")
