"""The loop of a discovery: checkpoints, the catalogue as it grows, and what there is to say of it in the end."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from explorer.directions.catalogue import MAX_MAGNITUDE, Catalogue, Entry, load_catalogue, update
from explorer.directions.discovery import KIND, RECOGNISED, Discoverer, DiscoveryConfig, Recognition
from explorer.directions.foreign import magnitude_of, save_shift_predictor
from explorer.directions.strips import spread, walks
from explorer.engine import Engine
from segmentation.checkpoints import NAME, load_checkpoint
from segmentation.pictures import tile
from segmentation.processes import Alone
from segmentation.progress import Unwatched, Watcher
from segmentation.runfolder import claim

_GOOD = 0.9
_ROWS, _COLUMNS = 12, 5
_LENGTH = "length"


@dataclasses.dataclass(frozen=True)
class Discovered:
    """The directions of a run that has ended, and in a sentence or two what came of it and what to change."""

    catalogue: Catalogue
    step: int
    verdict: str
    early: bool
    """Whether it ended before its steps were done, since the accuracy rose no more."""


def discover(
    engine: Engine, config: DiscoveryConfig, out: Path, watcher: Watcher, processes: Alone | None = None
) -> Discovered | None:
    """Discover directions of the generator of ``engine``; go on where ``out`` stopped.

    Writes to ``out``: ``config.json``; at every checkpoint ``checkpoint.safetensors``, all that a resume needs, and the folder
    ``directions``, a catalogue whose entries have the score ``accuracy``, with the reconstructor in the form of the method's
    authors. Whatever a person wrote into that catalogue stays. Several ``processes`` do it together, and the first writes.
    Returns None if the watcher asked to stop.

    Errors: :class:`LanternError` if ``out`` holds another run, or as of :meth:`Discoverer.advance`.
    """
    described = {"discovery": config.to_json(), "generator": {"name": engine.name, "fingerprint": engine.fingerprint}}
    work = Discoverer(engine, config, processes)
    watcher = watcher if work.processes.first else Unwatched()
    work.processes.decide(lambda: claim(out, described))
    if (saved := load_checkpoint(out / NAME, KIND)) is not None:
        work.restore(saved)
        if saved.said:
            watcher.note(saved.said)
        watcher.note(f"resuming at step {work.step} of {config.steps}")
        watcher.resume(work.step, config.steps)
    if not _run(work, out, watcher):
        return None
    early = work.step < config.steps
    verdict = describe_end(config, work.recognition, work.step, work.best_step if early else None)
    watcher.note(verdict)
    return Discovered(load_catalogue(out / "directions"), work.step, verdict, early)


def _run(work: Discoverer, out: Path, watcher: Watcher) -> bool:
    """Take the steps that are left; False if the watcher stopped it before the end."""
    config = work.config
    while work.step < config.steps and not work.stalled():
        figures = work.advance()
        stop = work.processes.decide(watcher.stop_requested)
        due = work.step == config.steps or work.step % config.checkpoint_every == 0
        if due:
            work.look()
            figures.update(_each(work.recognition))
        watcher.advance(work.step, config.steps, figures)
        if due or stop:
            # The checkpoint last: what a resume finds has been written and told in full.
            work.processes.decide(partial(_keep, work, out, watcher))
        if stop and work.step < config.steps and not (due and work.stalled()):
            return False
    return True


def _each(recognition: Recognition) -> dict[str, float]:
    digits = len(str(len(recognition.seen) - 1))
    each = enumerate(recognition.accuracies)
    return {"recognised": recognition.recognised, **{f"accuracy/{index:0{digits}d}": value for index, value in each}}


def _keep(work: Discoverer, out: Path, watcher: Watcher) -> bool:
    _publish(work, out, watcher)
    work.save(out / NAME)
    return True


def _publish(work: Discoverer, out: Path, watcher: Watcher) -> None:
    """Write the catalogue as it is, and a picture of the directions that are recognised best."""
    folder = out / "directions"
    catalogue = discovered_catalogue(work)
    if (folder / "catalogue.json").exists():
        update(folder, lambda before: with_words(catalogue, before), "discover")
    else:
        catalogue.save(folder)
    save_shift_predictor(folder / "shift_predictor.safetensors", work.reconstructor.published_state())
    watcher.picture(f"directions-{work.step:06d}", _picture(work, catalogue))


def _picture(work: Discoverer, catalogue: Catalogue) -> NDArray[np.uint8]:
    """One code along the directions that are recognised best, a row each, from minus to plus the largest shift."""
    best = sorted(range(len(catalogue)), key=lambda index: -catalogue.entries[index].scores["accuracy"])[:_ROWS]
    lengths = spread([work.config.shift_scale] * len(best), _COLUMNS)
    pictures = walks(work.engine, catalogue.directions[best], lengths, work.engine.codes(1, work.config.seed))
    return tile(pictures.reshape(-1, *pictures.shape[3:]), _COLUMNS)


def discovered_catalogue(work: Discoverer) -> Catalogue:
    """The directions of ``work`` as they are; each entry has its ``accuracy``, and of type linear its ``length``."""
    columns = work.deformator.columns(work.engine.latent_dim)
    linear = work.config.deformator == "linear"
    entries = []
    for accuracy, length in zip(work.recognition.accuracies, columns.norm(dim=1).tolist(), strict=True):
        scores = {"accuracy": round(accuracy, 4)}
        if linear:
            entries.append(Entry(magnitude=magnitude_of(length), scores={**scores, _LENGTH: length}))
        else:
            entries.append(Entry(scores=scores))
    made: dict[str, Any] = {"step": work.step, "accuracy": round(work.recognition.accuracy, 4)}
    source = f"discovered: {work.config.deformator}, {work.config.reconstructor}"
    provenance = {"discovery": {**work.config.to_json(), **made}}
    return Catalogue(F.normalize(columns, dim=1), tuple(entries), source, work.engine.fingerprint, provenance)


def with_words(new: Catalogue, old: Catalogue) -> Catalogue:
    """``new`` with what a person said of the same directions at an earlier step, in ``old``: all but what was measured."""
    if len(new) != len(old):
        return new
    same = torch.equal(new.directions, old.directions)
    entries = []
    for fresh, said in zip(new.entries, old.entries, strict=True):
        untouched = said.magnitude == magnitude_of(said.scores.get(_LENGTH, 1.0))
        magnitude = fresh.magnitude if untouched else said.magnitude
        # What was measured and drawn is of the directions as they were.
        scores = {**said.scores, **fresh.scores} if same else fresh.scores
        thumbnail = said.thumbnail if same else ""
        entries.append(dataclasses.replace(said, scores=scores, magnitude=magnitude, thumbnail=thumbnail))
    return dataclasses.replace(new, entries=tuple(entries))


def describe_end(config: DiscoveryConfig, recognition: Recognition, step: int, since: int | None) -> str:
    """What came of a run that ended at ``step``, and what to change; ``since`` is when a stalled accuracy last rose."""
    count, recognised = len(recognition.seen), recognition.recognised
    seen = f"the accuracy is {recognition.accuracy:.1%} after {step} steps"
    if since is not None:
        seen = f"stopped early: {seen} and has not risen by half a point since step {since}"
    seen += f"; {recognised} of {count} directions are recognised in at least {RECOGNISED:.0%} of their pairs."
    return f"{seen} {_advice(config, recognition.accuracy, recognised, count, early=since is not None)}"


def _advice(config: DiscoveryConfig, accuracy: float, recognised: int, count: int, early: bool) -> str:
    if accuracy >= _GOOD:
        return "Nothing needs to change."
    changes = [] if early else [f"more steps (--steps {2 * config.steps})"]
    if 2 <= recognised < count:
        changes.append(f"fewer directions (--directions-count {recognised})")
    if config.reconstructor == "lenet":
        changes.append("the larger network (--reconstructor resnet18)")
    if config.shift_scale < MAX_MAGNITUDE:
        changes.append(f"longer shifts (--shift-scale {min(MAX_MAGNITUDE, 1.5 * config.shift_scale):g})")
    if not changes:
        return "To raise it, try another --seed, in a new folder."
    return f"To raise it, try {' or '.join(changes)}, in a new folder."
