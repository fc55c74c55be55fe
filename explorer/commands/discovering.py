"""The command that discovers directions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from explorer.commands.options import Flat, GeneratorOptions
from explorer.directions.discovering import discover as discover_directions
from explorer.directions.discovery import DiscoveryConfig
from explorer.engine import Engine
from explorer.generators.registry import load_generator
from explorer.runs.terminal import recorded_by_first
from segmentation.processes import first_process

_SHOWN = 10


def discover(options: Annotated[GeneratorOptions, Flat], config: Annotated[DiscoveryConfig, Flat], out: Path) -> None:
    """Discover directions that a network tells apart, without labels; the same command goes on where it stopped.

    Several processes do it together: torchrun --nproc-per-node N -m explorer discover ..., or accelerate launch.

    Args:
        options: the generator; it has to let gradients through.
        config: the networks and the schedule; the defaults are those of the method's authors.
        out: folder of the run (directions: the catalogue, written at every checkpoint; samples: its directions as strips).
    """
    with recorded_by_first(out, "discover", first_process(), options.devices()) as watcher:
        options, processes = options.joined()
        engine = Engine(load_generator(options.generator), options.engine)
        found = discover_directions(engine, config, out, watcher, processes)
    if not processes.first:
        return
    if found is None:
        print(f"stopped; run the same command again to go on in {out}")
        return
    catalogue = found.catalogue
    for index in sorted(range(len(catalogue)), key=lambda i: -catalogue.entries[i].scores["accuracy"])[:_SHOWN]:
        print(f"direction {catalogue.title(index)}: accuracy {catalogue.entries[index].scores['accuracy']:.3f}")
    print(f"{len(catalogue)} directions in {out / 'directions'}, after {found.step} steps")
