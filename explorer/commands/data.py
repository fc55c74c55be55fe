"""The command that looks after a data set on disk: show, verify, export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from explorer.commands.options import Flat
from explorer.runs.command import folder_beside
from explorer.runs.store import Run
from explorer.runs.terminal import Terminal, recorded
from segmentation.errors import LanternError, require
from segmentation.exporting import export
from segmentation.files import write_image
from segmentation.pictures import mask_rows
from segmentation.reading import Shards, read_manifest, verify

_COLUMNS = 12


@dataclasses.dataclass(frozen=True)
class Show:
    """What is in a data set, and what made it."""

    folder: tyro.conf.Positional[Path]
    """Folder of the data set."""
    picture: Path | None = None
    """Where to draw samples with their masks (.png, .jpg), evenly spread over the data set."""

    def run(self) -> None:
        """Print it."""
        shards = Shards(self.folder)
        manifest = shards.manifest
        whole = len(shards) == manifest["config"]["count"]
        state = "" if whole else f" of {manifest['config']['count']}: run the same generate command again to go on"
        print(f"{len(shards)} samples{state}")
        print(
            f"{shards.resolution} px, {len(shards.sizes)} shards, {_bytes(manifest):.1f} MB, fingerprint {shards.fingerprint}"
        )
        print(f"verdicts: {', '.join(f'{number} {name}' for name, number in manifest['funnel'].items())}")
        print(f"seed {manifest['config']['seed']}; {_listed(manifest['source'])}")
        print(f"filters: {_listed(manifest['config']['synthesis']['filters'])}")
        if self.picture is not None:
            count = min(_COLUMNS, len(shards))
            write_image(self.picture, mask_rows(*shards.batch([i * len(shards) // count for i in range(count)])))
            print(self.picture)


@dataclasses.dataclass(frozen=True)
class Verify:
    """Whether every shard is as it was written: reads all of them and compares checksums."""

    folder: tyro.conf.Positional[Path]
    """Folder of the data set."""

    def run(self) -> None:
        """Print it; :class:`LanternError` if a shard is damaged."""
        terminal = Terminal("verify")
        with terminal.watching() as watcher:
            damaged = verify(self.folder, watcher)
            stopped = watcher.stop_requested()
        for damage in damaged:
            print(f"shard {damage.number}: {damage.problem}. {damage.remedy}")
        shards = len(read_manifest(self.folder)["shards"])
        require(not damaged, f"{len(damaged)} of {shards} shards of {self.folder} are damaged", "What to do is said above.")
        if stopped:
            raise LanternError("stopped before the last shard", "Run it again to look at all of them.")
        print(f"{shards} shards of {self.folder} are as they were written")


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a data set as images or tars for other programs; the same command goes on where it stopped."""

    folder: tyro.conf.Positional[Path]
    """Folder of the data set."""
    out: Path
    """Folder of the export; its run is kept beside it, in OUT.run."""
    to: Literal["folders", "webdataset"] = "folders"
    """folders: PNG images in images/ and masks/; webdataset: a tar a shard, with image.png and mask.png of each sample."""

    def run(self) -> None:
        """Write it."""
        shards, run = Shards(self.folder), folder_beside(self.out)
        with recorded(Run(run, "export")) as watcher:
            done = export(shards, self.out, self.to, watcher, run)
        stopped = f"stopped; run the same command again to go on in {self.out}"
        print(stopped if done is None else f"{done} samples in {self.out}")


Action = (
    Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Export, tyro.conf.subcommand("export")]
)


def data(action: Annotated[Action, Flat]) -> None:
    """Show a data set on disk, verify that it is whole, or export it for other programs.

    Args:
        action: what to do.
    """
    action.run()


def _bytes(manifest: dict[str, Any]) -> float:
    return sum(record[kind]["bytes"] for record in manifest["shards"] for kind in ("images", "masks")) / 1e6


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, "", []))
