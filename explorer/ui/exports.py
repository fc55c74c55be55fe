"""The one folder that the page serves files from: what visitors take away, and the strips of directions."""

from __future__ import annotations

import functools
import html
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from segmentation.errors import LanternError

KEPT_SECONDS = 3600.0
"""How long a file is kept for whoever asked for it."""
_STRIPS = "strips"


class Exports:
    """A folder that goes with the process; its files go after :data:`KEPT_SECONDS`."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lantern-exports-")
        self.folder = Path(self._temporary.name).resolve()
        self._given = tempfile.TemporaryDirectory(prefix="lantern-uploads-")
        self.uploads = Path(self._given.name).resolve()
        """What visitors give, and gradio's copies of what it shows."""

    def new_folder(self) -> Path:
        """A folder for one visitor's files, that nobody can guess; those that are too old are removed first."""
        self._sweep()
        folder = self.folder / secrets.token_urlsafe(12)
        folder.mkdir()
        return folder

    def place(self, name: str) -> Path:
        """The path for a new file of that ``name``, in a folder of its own."""
        return self.new_folder() / name

    def keep_strip(self, source: Path) -> Path:
        """The strip ``source`` in this folder: itself if it lies here, else a copy; its name follows from its content."""
        if source.is_relative_to(self.folder):
            return source
        target = self.folder / _STRIPS / source.name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            try:
                shutil.copyfile(source, target)
            except OSError as error:
                raise LanternError(f"{source.name} cannot be copied ({error.strerror or error})", "Free some space.") from error
        return target

    def _sweep(self) -> None:
        late = time.time() - KEPT_SECONDS
        for folder in self.folder.iterdir():
            try:
                if folder.name != _STRIPS and folder.stat().st_mtime < late:
                    shutil.rmtree(folder, ignore_errors=True)
            except FileNotFoundError:
                # Another visitor's call was faster.
                continue


@functools.cache
def exports() -> Exports:
    """The exports of this process."""
    return Exports()


def address(path: Path) -> str:
    """The address, from the page, of a file in the exports folder, safe inside an HTML attribute."""
    return html.escape(f"gradio_api/file={quote(str(path))}")
