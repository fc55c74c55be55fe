"""What a run made, as one archive to take away."""

from __future__ import annotations

import zipfile
from pathlib import Path

from segmentation.errors import require
from segmentation.files import replacing

LARGEST = 2 * 10**9
"""Bytes of an archive; a browser is no way to carry more."""
_LEFT_OUT = ("lock", "stop", "status.json", "log.txt", "checkpoint", "launch.json")


def pack(folder: Path, path: Path) -> Path:
    """The finished files of the run in ``folder`` as a zip at ``path``: not its checkpoints, lock, log and events.

    Errors: :class:`LanternError` if nothing is finished, or it is too large for a browser.
    """
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and _taken(file.name)]
    made = [file for file in files if file.suffix in (".npy", ".safetensors")]
    require(bool(made), f"{folder.name} has nothing finished yet", "Wait until it is further.")
    size = sum(file.stat().st_size for file in files)
    remedy = f"Copy the folder itself: {folder}"
    require(size <= LARGEST, f"{folder.name} has {size / 1e9:.1f} GB, too much for a browser", remedy)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, f"{folder.name}/{file.name}")
    return path


def _taken(name: str) -> bool:
    return not name.startswith((".", "events.", *_LEFT_OUT))
