"""Arrays that grow on the disk, so that another process can go on with them: whole only when the last row is there."""

from __future__ import annotations

import os
from pathlib import Path

from numpy.typing import DTypeLike

from segmentation.files import ArrayWriter, write_error


def growing(path: Path) -> Path:
    """Where an array that is to lie at ``path`` grows."""
    return path.with_name(f".{path.name}.part")


class GrowingArray(ArrayWriter):
    """Writes the array of ``shape`` and ``kind`` that is to be the ``.npy`` file ``path``, in parts along the first axis.

    Until :meth:`finish` it lies where :func:`growing` says. The first ``kept`` rows are those that are there, which
    :meth:`settle` has put there; what comes after them is cut off. Errors: :class:`LanternError` if the disk is full or the
    folder cannot be written; ``EOFError`` if fewer rows are there.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], kind: DTypeLike, kept: int = 0) -> None:
        try:
            self._grown = growing(path).open("r+b" if kept else "w+b")
        except OSError as error:
            raise write_error(path, error) from error
        try:
            super().__init__(self._grown, path, shape, kind)
            self._take(kept)
            self._grown.truncate()
        except BaseException:
            self._grown.close()
            raise

    def close(self) -> None:
        """Close the file, which stays where it grows."""
        try:
            self._grown.close()
        except OSError as error:
            raise write_error(self.path, error) from error

    def settle(self) -> None:
        """Have all rows so far on the disk before this returns."""
        try:
            self._grown.flush()
            os.fsync(self._grown.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error

    def finish(self) -> None:
        """Put it in its place; ``ValueError`` if rows are missing."""
        if self.rows != self.shape[0]:
            raise ValueError(f"the parts have {self.rows} rows instead of {self.shape[0]}")
        self.settle()
        self._grown.close()
        growing(self.path).replace(self.path)
