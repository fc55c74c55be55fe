"""Where weights lie on this machine, and what is written down about them.

Each name has a folder under ``weights`` in :func:`home`: ``record.json`` says which file counts, ``first-use.json`` which
checksum its download had the first time. A file becomes the installed one by the replacing of ``record.json``, in one step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from explorer.weights.known import KNOWN, find
from segmentation.configuration import Config
from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json
from segmentation.runfolder import held

_BLOCK = 1 << 20
_KEPT = ("first-use.json", "lock")


@dataclasses.dataclass(frozen=True)
class Record(Config):
    """What is installed under a name."""

    path: str = ""
    """The file or folder, relative to the folder of the name."""
    description: str = ""
    """What it was found to be."""
    source: str = ""
    """The address or the file that it came from."""
    sha256: str = ""
    """Checksum of the file that came; empty for a folder."""
    digest: str = ""
    """:func:`digest_of` what was installed."""
    bytes: int = 0
    """Size of what was installed."""
    changed: int = 0
    """When its newest file was last written, in nanoseconds since 1970."""
    installed: str = ""
    """The day, as YYYY-MM-DD."""


@dataclasses.dataclass(frozen=True)
class FirstUse(Config):
    """The checksum that a download had the first time it was installed; later ones have to have it too."""

    sha256: str = ""
    source: str = ""
    day: str = ""


def home() -> Path:
    """Where the program keeps what it downloads: ``LANTERN_HOME``, else ``lantern`` in the user's cache folder."""
    if named := os.environ.get("LANTERN_HOME", ""):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification of these variables has relative paths ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "lantern"


def folder_of(name: str) -> Path:
    """The folder of everything that belongs to the weights ``name``."""
    return home() / "weights" / find(name)[0]


def record_of(name: str) -> Record | None:
    """What is written down about the installed weights ``name``; None if there are none."""
    path = folder_of(name) / "record.json"
    return Record.from_json(read_json(path)) if path.is_file() else None


def first_use(name: str) -> FirstUse | None:
    """The checksum recorded at the first installation of ``name``'s published form; None if there was none."""
    path = folder_of(name) / "first-use.json"
    return FirstUse.from_json(read_json(path)) if path.is_file() else None


def installed(name: str) -> Path | None:
    """The installed file (or folder, of a module) of the weights ``name``; None if they are not installed.

    Errors: :class:`LanternError` if there are no such weights, or they are no longer what was installed.
    """
    record = record_of(name)
    if record is None or not (path := folder_of(name) / record.path).exists():
        return None
    if (record.bytes, record.changed) != measure(path):
        require(record.digest == digest_of(path), *_changed(name, path))
    return path


def needed(name: str) -> Path:
    """As :func:`installed`; weights that are not installed are a :class:`LanternError` that names the command."""
    path = installed(name)
    if path is None:
        remedy = f"Install them with: python -m explorer weights --install {name} (with --from FILE if you have them)."
        raise LanternError(f"the weights of {name} are not installed", remedy)
    return path


def resolved(path: Path) -> Path:
    """``path``, or, if nothing lies there, where the weights of that name are installed; errors as of :func:`needed`."""
    return path if path.exists() or str(path) not in KNOWN else needed(str(path))


def verify(name: str) -> Path | None:
    """As :func:`installed`, reading every byte."""
    path, record = installed(name), record_of(name)
    if path is not None and record is not None:
        require(record.digest == digest_of(path), *_changed(name, path))
    return path


def _changed(name: str, path: Path) -> tuple[str, str]:
    return f"{path} is no longer what was installed", f"Install it again: python -m explorer weights --install {name}"


def remove(name: str) -> bool:
    """Remove the weights ``name`` and what is left of downloads; the recorded checksum stays. False: nothing was there."""
    folder = folder_of(name)
    if not folder.is_dir() or all(entry.name in _KEPT for entry in folder.iterdir()):
        return False
    with locked(folder):
        # First the record, so that an interrupted removal leaves nothing that counts as installed.
        (folder / "record.json").unlink(missing_ok=True)
        clear(folder)
    return True


def commit(folder: Path, record: Record) -> None:
    """Make ``record`` what counts in ``folder``, and clear away everything else; the caller holds the lock."""
    write_json(folder / "record.json", record.to_json())
    clear(folder, "record.json", "refused", Path(record.path).parts[0])


def clear(folder: Path, *keep: str) -> None:
    """Remove what is in ``folder``, but for the lock, the recorded checksum and the entries named."""
    for entry in folder.iterdir():
        if entry.name in (*_KEPT, *keep):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for the length of the block; :class:`LanternError` if another process installs there."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder))
        except LanternError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            raise LanternError(error.problem, "Wait until it is done; it is installing the same weights.") from error
        yield


def measure(path: Path) -> tuple[int, int]:
    """The bytes of a file or of all files in a folder, and when the newest was last written (nanoseconds since 1970)."""
    states = [file.stat() for file in _files(path)]
    return sum(state.st_size for state in states), max((state.st_mtime_ns for state in states), default=0)


def flush(path: Path) -> None:
    """Have a file, or all files in a folder, written to the disk before anything says that they are there."""
    for file in _files(path):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def digest_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder, that of its files' names and SHA-256s in order."""
    if not path.is_dir():
        return _sha256(path)
    lines = (f"{file.relative_to(path).as_posix()} {_sha256(file)}\n" for file in _files(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
