"""The strips beside a catalogue that show its directions; each file is named after its content, so none ever changes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from explorer.directions import storage
from explorer.directions.catalogue import Catalogue, load_catalogue, update
from segmentation.errors import LanternError, require
from segmentation.files import replacing

FORMATS = {".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".jpg": "JPEG"}
"""The format of a thumbnail by the suffix of its name."""
MAX_BYTES = 8 * 2**20
"""Bytes of one thumbnail."""
MAX_PIXELS = 2**24
"""Pixels of one thumbnail."""


def thumbnail_name(content: bytes, suffix: str) -> str:
    """The name of the thumbnail that has this ``content``; ``suffix`` is one of :data:`FORMATS`."""
    return f"thumbnail-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"


def check_thumbnail(name: str, content: bytes) -> None:
    """Refuse a thumbnail that is too large, or that is not the image its name says; no pixel is decoded for it."""
    require(len(content) <= MAX_BYTES, f"{name} has {len(content):,} bytes", f"A thumbnail has at most {MAX_BYTES:,}.")
    due = FORMATS[Path(name).suffix]
    try:
        with Image.open(io.BytesIO(content), formats=[due]) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LanternError(f"{name} is no {due} image", "Make the thumbnails again.") from error
    require(width * height <= MAX_PIXELS, f"{name} is {width} x {height}", f"A thumbnail has at most {MAX_PIXELS:,} pixels.")


def keep(folder: Path, content: bytes, suffix: str) -> str:
    """Write a thumbnail of this ``content`` to ``folder`` and return its name; the caller holds the lock of ``folder``."""
    name = thumbnail_name(content, suffix)
    check_thumbnail(name, content)
    if not (folder / name).is_file():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    return name


def put_thumbnails(folder: Path, files: Mapping[int, Path], by: str = "") -> Catalogue:
    """Give directions of the catalogue in ``folder`` thumbnails: copies of the image ``files``, by index of the direction.

    Earlier thumbnails that no direction has any more go. Returns the catalogue as it is then. Errors: :class:`LanternError` if
    there is no such catalogue or direction, a file is no image or too large, or the folder cannot be written.
    """
    contents = {index: _read(path) for index, path in files.items()}

    def change(catalogue: Catalogue) -> Catalogue:
        entries = list(catalogue.entries)
        for index in files:
            catalogue.direction(index)
        for index, path in files.items():
            entries[index] = dataclasses.replace(entries[index], thumbnail=keep(folder, contents[index], path.suffix))
        return dataclasses.replace(catalogue, entries=tuple(entries))

    return update(folder, change, by)


def _read(path: Path) -> bytes:
    require(path.suffix in FORMATS, f"the thumbnail {path} ends in {path.suffix!r}", f"End it with {' or '.join(FORMATS)}.")
    require(path.is_file(), f"the thumbnail {path} does not exist", "Make it first.")
    content = path.read_bytes()
    check_thumbnail(path.name, content)
    return content


def gathered(folder: Path) -> tuple[Catalogue, dict[str, bytes]]:
    """The catalogue in ``folder`` with its thumbnails, by the names that follow from their content.

    A thumbnail that is not there is forgotten. Errors: :class:`LanternError` if the catalogue or a thumbnail is broken.
    """
    catalogue = load_catalogue(folder)
    names, contents = {"": ""}, dict[str, bytes]()
    for name in {entry.thumbnail for entry in catalogue.entries} - {""}:
        path = folder / name
        names[name] = ""
        with contextlib.suppress(FileNotFoundError):
            content = path.read_bytes()
            check_thumbnail(name, content)
            names[name] = thumbnail_name(content, path.suffix)
            contents[names[name]] = content
    entries = tuple(dataclasses.replace(entry, thumbnail=names[entry.thumbnail]) for entry in catalogue.entries)
    return dataclasses.replace(catalogue, entries=entries), contents


def check_free(folder: Path) -> None:
    """Refuse a ``folder`` that holds a catalogue."""
    free = not (folder / storage.CATALOGUE).exists()
    require(free, f"there is a catalogue in {folder} already", "Choose another folder, or take that one away.")


def create(folder: Path, catalogue: Catalogue, contents: Mapping[str, bytes]) -> None:
    """Write ``catalogue`` to ``folder``, where there must be none, with those of the thumbnails ``contents`` that it names.

    It is there as a whole or not at all. Errors: :class:`LanternError` as of :meth:`Catalogue.save`, or if one is there.
    """
    new = not folder.exists()
    try:
        with storage.locked(folder):
            check_free(folder)
            written = []
            try:
                for name in sorted({entry.thumbnail for entry in catalogue.entries} & contents.keys()):
                    written.append(keep(folder, contents[name], Path(name).suffix))
                catalogue.placed(folder)
            except BaseException:
                for name in (*written, storage.DIRECTIONS):
                    (folder / name).unlink(missing_ok=True)
                raise
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
