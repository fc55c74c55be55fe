"""A catalogue as one zip, to hand on; a zip of somebody else is looked into before any of it is believed.

It holds what the folder of a catalogue holds, and nothing else: ``catalogue.json``, the directions, thumbnails. Nothing is
unpacked under a name that is not one of these, so no path in it leads anywhere.
"""

from __future__ import annotations

import stat
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explorer.directions import storage
from explorer.directions.catalogue import Catalogue, load_catalogue
from explorer.directions.thumbnails import MAX_BYTES, check_free, check_thumbnail, create, gathered
from explorer.directions.words import MAX_LABEL, MAX_SOURCE, check_words
from segmentation.errors import LanternError, require
from segmentation.files import replacing

MAX_CATALOGUE = 64 * 2**20
"""Bytes of ``catalogue.json``."""
MAX_DIRECTIONS = 256 * 2**20
"""Bytes of the file of the directions."""
MAX_TOTAL = 512 * 2**20
"""Bytes of all that is in a zip."""
MAX_MEMBERS = 4098
"""Files in a zip."""
MAX_RATIO = 100
"""How many times smaller than itself a file of more than :data:`SMALL` bytes may be packed."""
SMALL = 2**20
_LISTING = 2**20
_END = struct.Struct("<4s4H2LH")
_WIDE = b"PK\x06\x07"
_ENCRYPTED = 0x1
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, struct.error)
_REMEDY = "Make it again with: python -m explorer catalogue export FOLDER --out FILE.zip"


def export_zip(folder: Path, path: Path) -> Catalogue:
    """Write the catalogue in ``folder`` with its thumbnails to the zip ``path``; the same catalogue gives the same bytes.

    Errors: :class:`LanternError` if there is none, it is too large for :func:`import_zip`, or the file cannot be written.
    """
    require(path.suffix.lower() == ".zip", f"{path} ends in {path.suffix or 'nothing'}", "End it with .zip.")
    catalogue, contents = gathered(folder)
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "catalogue"
        create(staged, catalogue, contents)
        with replacing(path) as target:
            _pack(staged, target)
            _members(target, f"the zip of {folder}")
    return catalogue


def _pack(folder: Path, target: Path) -> None:
    # Not compressed: the numbers and images hardly shrink, and the bytes do not hang on the version of a library.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for path in sorted(folder.iterdir()):
            info = zipfile.ZipInfo(path.name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, path.read_bytes())


def import_zip(path: Path, folder: Path) -> Catalogue:
    """Write the catalogue in the zip ``path`` to ``folder``, as a whole or not at all; nothing in it is run.

    Errors: :class:`LanternError` if there is a catalogue in ``folder`` already; if the zip is damaged, encrypted, of several
    parts or too large, or grows more than :data:`MAX_RATIO` times; if it holds anything but one catalogue with its thumbnails
    (a path, a link, a folder, a name twice, a file of another kind), or that is no proper catalogue.
    """
    check_free(folder)
    members = _members(path, str(path))
    with tempfile.TemporaryDirectory() as temporary, _naming(path, temporary):
        staged = Path(temporary)
        for name, content in members.items():
            (staged / name).write_bytes(content)
        named = {entry.thumbnail for entry in load_catalogue(staged).entries} - {""}
        images = {name for name in members if storage.is_thumbnail(name)}
        odd = sorted(named ^ images)
        require(not odd, f"the thumbnails in {path} are not those of its catalogue ({', '.join(odd[:4])})", _REMEDY)
        catalogue, contents = gathered(staged)
        check_words("the source of the catalogue", catalogue.source, MAX_SOURCE)
        check_words("the generator of the catalogue", catalogue.fingerprint, MAX_LABEL)
        create(folder, catalogue, contents)
    return load_catalogue(folder)


@contextmanager
def _naming(path: Path, temporary: str) -> Iterator[None]:
    """Have errors name the zip instead of the folder ``temporary`` that it was unpacked to."""
    try:
        yield
    except LanternError as error:
        raise LanternError(error.problem.replace(temporary, str(path)), error.remedy) from error
    except (RecursionError, ValueError) as error:
        raise LanternError(f"{path} holds JSON that cannot be read ({error})", _REMEDY) from error


def _members(path: Path, title: str) -> dict[str, bytes]:
    """What the files in the zip ``path`` hold, by name, each of them of a kind and size that a catalogue has."""
    require(path.is_file(), f"{path} does not exist", "Give the path of a .zip file.")
    _check_end(path, title)
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
            _check_listed(listed, title)
            members = {info.orig_filename: _content(archive, info, title) for info in listed}
    except _BROKEN as error:
        raise LanternError(f"{title} is no zip, or it is damaged ({error})", _REMEDY) from error
    for name, content in members.items():
        if storage.is_thumbnail(name):
            check_thumbnail(name, content)
    return members


def _check_end(path: Path, title: str) -> None:
    """Refuse what is no plain zip, before its listing is read into memory."""
    size = path.stat().st_size
    require(size <= MAX_TOTAL + _LISTING, f"{title} has {size:,} bytes", f"A catalogue has at most {MAX_TOTAL:,}.")
    with path.open("rb") as stream:
        stream.seek(max(size - _END.size - 20, 0))
        tail = stream.read()
    end = tail[-_END.size :]
    proper = len(end) == _END.size and end.startswith(b"PK\x05\x06")
    require(proper, f"{title} is no zip, or it is cut short, or has a comment", _REMEDY)
    _, disk, first, here, count, length, offset, comment = _END.unpack(end)
    whole = (disk, first, comment) == (0, 0, 0) and here == count and offset + length + _END.size == size
    require(whole and not tail.startswith(_WIDE), f"{title} is no plain zip", _REMEDY)
    most = f"A catalogue has at most {MAX_MEMBERS:,}."
    require(count <= MAX_MEMBERS and length <= _LISTING, f"{title} holds {count:,} files in a list of {length:,} bytes", most)


def _check_listed(listed: list[zipfile.ZipInfo], title: str) -> None:
    for info in listed:
        fault = _fault(info)
        require(not fault, f"{title} holds {info.orig_filename!r}, {fault}", _REMEDY)
    names = [info.orig_filename for info in listed]
    # Where a file system does not tell case apart, these would be one file.
    twice = sorted(name for name, times in Counter(name.lower() for name in names).items() if times > 1)
    require(not twice, f"{title} holds {', '.join(twice[:4])} twice", _REMEDY)
    tensors = [name for name in names if storage.is_tensors(name)]
    complete = storage.CATALOGUE in names and len(tensors) == 1
    require(complete, f"{title} does not hold one catalogue.json and one file of directions", _REMEDY)
    total = sum(info.file_size for info in listed)
    require(total <= MAX_TOTAL, f"{title} holds {total:,} bytes", f"A catalogue has at most {MAX_TOTAL:,}.")


def _fault(info: zipfile.ZipInfo) -> str:
    """What is wrong with a file in a zip, from what its listing says; empty if nothing is."""
    # The name as it stands there: what zipfile makes of it may be cut at a zero byte, or come from elsewhere in the listing.
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    if name.startswith(("/", "\\")) or ":" in name:
        return "an absolute path"
    if ".." in name.replace("\\", "/").split("/"):
        return "a path that leads out of its folder"
    if kind == stat.S_IFLNK:
        return "a link"
    if kind not in (0, stat.S_IFREG) or name.endswith("/"):
        return "which is no plain file"
    limit = _limit(name)
    if not limit:
        return "a file that no catalogue has"
    if info.flag_bits & _ENCRYPTED:
        return "which is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "which is packed in an unusual way"
    if info.file_size > limit:
        return f"of {info.file_size:,} bytes, where {limit:,} are the most"
    if info.file_size > max(SMALL, MAX_RATIO * info.compress_size):
        return f"of {info.file_size:,} bytes packed into {info.compress_size:,}"
    return ""


def _limit(name: str) -> int:
    """The most bytes that the file ``name`` of a catalogue may have; 0 if there is no such file."""
    if name == storage.CATALOGUE:
        return MAX_CATALOGUE
    if storage.is_tensors(name):
        return MAX_DIRECTIONS
    return MAX_BYTES if storage.is_thumbnail(name) else 0


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, title: str) -> bytes:
    with archive.open(info) as stream:
        content = stream.read(info.file_size + 1)
    require(len(content) == info.file_size, f"{info.orig_filename} in {title} is not as long as it says", _REMEDY)
    return content
