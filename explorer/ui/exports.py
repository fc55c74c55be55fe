"""Files that a visitor may download: in a folder of this process; old ones go by themselves, and all go with the process."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import time
from pathlib import Path

KEPT_SECONDS = 3600.0


@functools.cache
def export_folder() -> Path:
    """The one folder that files are served from, besides gradio's own copies of what was uploaded or shown."""
    folder = Path(tempfile.mkdtemp(prefix="lantern-exports-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_folder() -> Path:
    """A fresh folder for one visitor's files; those that are older than an hour are removed first."""
    sweep(export_folder(), KEPT_SECONDS)
    return Path(tempfile.mkdtemp(dir=export_folder()))


def sweep(folder: Path, seconds: float) -> None:
    """Remove what in ``folder`` is older than ``seconds``."""
    oldest = time.time() - seconds
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:
            # Another visitor's call was faster.
            continue
