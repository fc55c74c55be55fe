"""Which generators there are, and how a name or a file becomes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from explorer.generators.base import Generator
from explorer.generators.pocket import load_pocket
from segmentation.errors import LanternError, require

ASSETS = Path(__file__).resolve().parents[2] / "assets"
POCKET = ASSETS / "pocket.safetensors"

BUILT_IN: dict[str, Callable[[], Generator]] = {"pocket": lambda: load_pocket(POCKET)}
"""Names that need no file."""
BY_SUFFIX: dict[str, Callable[[Path], Generator]] = {".safetensors": load_pocket}
"""How a weights file is read."""


def load_generator(name_or_file: str) -> Generator:
    """The generator of that name, or in that weights file.

    Errors: :class:`LanternError` if there is no such name and no such file, or the file is not one.
    """
    if name_or_file in BUILT_IN:
        return BUILT_IN[name_or_file]()
    path = Path(name_or_file)
    names = ", ".join(BUILT_IN)
    if path.suffix not in BY_SUFFIX:
        raise LanternError(
            f"there is no generator {name_or_file!r}",
            f"Give one of the names {names}, or a weights file ending in {', '.join(BY_SUFFIX)}.",
        )
    require(path.is_file(), f"the weights file {path} does not exist", f"Check the path, or give one of the names {names}.")
    return BY_SUFFIX[path.suffix](path)
