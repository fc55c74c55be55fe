"""From an address or a local copy to an installed file: nothing takes its place that was not looked into first."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import re
import shutil
import tarfile
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from explorer.weights.checks import check
from explorer.weights.download import DownloadConfig, Meter, Unmetered, fetch
from explorer.weights.known import Known, find
from explorer.weights.store import (
    FirstUse,
    Record,
    commit,
    digest_of,
    first_use,
    flush,
    folder_of,
    installed,
    locked,
    measure,
    record_of,
)
from segmentation.errors import LanternError, require
from segmentation.files import write_json

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COPY = "Copy it again from where it came."


def install(
    name: str,
    file: Path | None = None,
    url: str | None = None,
    sha256: str | None = None,
    config: DownloadConfig | None = None,
    meter: Meter | None = None,
) -> Path:
    """Install the weights ``name`` and return where they lie; what is installed and unchanged is left alone.

    Comes from the local ``file`` (of a module also its folder), else from ``url``, else from the known address; with a file, an
    address or another checksum than the installed one it is installed anew. ``sha256`` (hexadecimal) is what the file has to
    have; by default what was published, else what the first installation recorded.

    Errors: :class:`LanternError` if the name or the address is unknown, the download fails, another process installs the same,
    or the file is another than it should be: then it is kept under ``refused``, and what was installed before stays.
    """
    name, known = find(name)
    wanted = _check_arguments(known, file, url, sha256)
    with locked(folder_of(name)):
        if file is None and url is None and (there := _already(name, wanted)) is not None:
            return there
        attempt = _Attempt(name, known, wanted, config or DownloadConfig(), meter or Unmetered())
        return attempt.from_file(file) if file is not None else attempt.from_address(_address(name, known, url))


def _check_arguments(known: Known, file: Path | None, url: str | None, sha256: str | None) -> str | None:
    require(file is None or url is None, "both a file and an address are given", "Give one of them.")
    if url is not None:
        usable = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
        require(usable, f"{url!r} is no web address", "Give one that starts with https://, or a local copy with --from FILE.")
    wanted = None if sha256 is None else sha256.strip().lower()
    proper = wanted is None or bool(_SHA256.fullmatch(wanted))
    require(proper, f"{sha256!r} is no SHA-256 checksum", "Give its 64 hexadecimal digits.")
    if file is None:
        return wanted
    require(file.exists(), f"{file} does not exist", "Check the path.")
    folder = known.packed and file.is_dir()
    require(not folder or wanted is None, f"{file} is a folder, which has no checksum", "Leave --sha256 out.")
    ending = file.is_file() and file.name.lower().endswith(known.suffixes)
    endings = " or ".join(known.suffixes)
    remedy = f"Give {'a folder, or ' if known.packed else ''}a file ending in {endings}."
    require(folder or ending, f"{file} cannot be {known.file}", remedy)
    return wanted


def _already(name: str, wanted: str | None) -> Path | None:
    try:
        path, record = installed(name), record_of(name)
    except LanternError:
        return None
    return path if record is not None and wanted in (None, record.sha256) else None


def _address(name: str, known: Known, url: str | None) -> str:
    address = url or known.address
    if address is None:
        raise LanternError(
            f"where {known.file} ({name}) can be downloaded is not known",
            "Give its address with --url URL, or a copy with --from FILE.",
        )
    return address


class _Attempt:
    """One installation, in the folder of the name, which is locked."""

    def __init__(self, name: str, known: Known, wanted: str | None, config: DownloadConfig, meter: Meter) -> None:
        self.name, self.known, self.config, self.meter = name, known, config, meter
        self.folder, self.asked = folder_of(name), wanted

    def from_address(self, url: str) -> Path:
        """Download, look into it, install."""
        file = self._file_name(url)
        path = self.folder / "partial" / hashlib.sha256(url.encode()).hexdigest()[:16] / file
        fetch(url, path, self.config, self.meter, self._wanted(path) is not None)
        return self._settle(path, url, keep=True)

    def from_file(self, file: Path) -> Path:
        """Copy, look into the copy, install."""
        incoming = self.folder / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        try:
            if file.is_dir():
                copy = Path(shutil.copytree(file, incoming / "module"))
            else:
                published = file.name.lower().endswith(self.known.suffixes[0])
                copy = Path(shutil.copyfile(file, incoming / (self.known.file if published else file.name)))
            return self._settle(copy, str(file.resolve()), keep=False)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _file_name(self, url: str) -> str:
        ending = next((own for own in self.known.suffixes if urlsplit(url).path.lower().endswith(own)), None)
        published = ending is None or self.known.file.endswith(ending)
        return self.known.file if published else f"{self.known.file.split('.')[0]}{ending}"

    def _wanted(self, path: Path) -> str | None:
        """The checksum that ``path`` has to have, if there is one; the recorded one is of the published form alone."""
        if self.asked is not None or path.name != self.known.file:
            return self.asked
        recorded = first_use(self.name)
        return self.known.sha256 or (recorded.sha256 if recorded else None)

    def _settle(self, path: Path, source: str, keep: bool) -> Path:
        """Install what lies at ``path``; if it is refused, put it away where it is to be kept."""
        self.meter.note(f"looking into {path.name}")
        try:
            sha256, content, description = self._looked_into(path)
        except LanternError as error:
            raise self._refused(path, source, error, keep) from error
        placed = self._place(content, description, source, sha256)
        if path.name == self.known.file and (self.asked or first_use(self.name) is None):
            write_json(self.folder / "first-use.json", FirstUse(sha256, source, _today()).to_json())
        return placed

    def _looked_into(self, path: Path) -> tuple[str, Path, str]:
        """The checksum of the file at ``path``, what is in it, and what that is."""
        if path.is_dir():
            return "", path, check(self.known, path)
        sha256 = self._check_bytes(path)
        content = self._unpacked(path) if self.known.packed else path
        return sha256, content, check(self.known, content)

    def _check_bytes(self, path: Path) -> str:
        size, due = path.stat().st_size, self.known.size if path.name == self.known.file else None
        require(due in (None, size), f"{path} has {size:,} bytes instead of {due or 0:,}", _COPY)
        found, wanted = digest_of(path), self._wanted(path)
        if wanted is not None and found != wanted:
            recorded = first_use(self.name)
            since = f", recorded on {recorded.day} from {recorded.source}" if recorded and wanted == recorded.sha256 else ""
            problem = f"{path} has the checksum {found} instead of {wanted}{since}"
            raise LanternError(problem, f"If you trust this one, install it with --sha256 {found}.")
        return found

    def _unpacked(self, archive: Path) -> Path:
        out = self.folder / "unpacked"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        try:
            with tarfile.open(archive, "r:" if archive.name.lower().endswith(".tar") else "r:gz") as opened:
                if sum(member.size for member in opened.getmembers()) > shutil.disk_usage(out).free:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
                # The filter refuses links and names that lead out of the folder.
                opened.extractall(out, filter="data")
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
            raise LanternError(f"{archive} cannot be unpacked ({error})", _COPY) from error
        inside = list(out.iterdir())
        return inside[0] if len(inside) == 1 and inside[0].is_dir() else out

    def _refused(self, path: Path, source: str, error: LanternError, keep: bool) -> LanternError:
        shutil.rmtree(self.folder / "unpacked", ignore_errors=True)
        problem, remedy = error.problem.replace(str(path), "it").replace(str(self.folder / "unpacked"), "it"), error.remedy
        if keep:
            place = self.folder / "refused" / path.name
            shutil.rmtree(place.parent, ignore_errors=True)
            place.parent.mkdir()
            path.replace(place)
            shutil.rmtree(path.parent, ignore_errors=True)
            remedy = f"{remedy} What came is kept as {place}."
        return LanternError(f"{source} is not {self.known.file}: {problem}", remedy)

    def _place(self, content: Path, description: str, source: str, sha256: str) -> Path:
        digest = digest_of(content) if content.is_dir() else sha256
        final = self.folder / digest[:16] / ("module" if content.is_dir() else content.name)
        if not (final.exists() and digest_of(final) == digest):
            shutil.rmtree(final.parent, ignore_errors=True)
            final.parent.mkdir()
            flush(content)
            content.replace(final)
        size, changed = measure(final)
        relative = final.relative_to(self.folder).as_posix()
        commit(self.folder, Record(relative, description, source, sha256, digest, size, changed, _today()))
        return final


def _today() -> str:
    return time.strftime("%Y-%m-%d")
