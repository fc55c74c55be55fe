"""A download that goes on where it stopped, in this process or in one before it, and never mixes two versions of a file."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import httpx

from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json

MAX_BYTES = 8 << 30
"""No published file is as large; a server that sends more is not believed."""
_ROOM = "Free some space, or name another place with LANTERN_HOME; what has come is kept."
_PASSING = (408, 425, 429)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_HEADERS = {"User-Agent": "lantern", "Accept-Encoding": "identity"}  # compressed, a part could not be continued


@dataclasses.dataclass(frozen=True)
class DownloadConfig(Config):
    """How patient a download is."""

    attempts: int = 5
    """Attempts that fail in a row before it gives up; one that brings something new begins the count again."""
    wait: float = 1.0
    """Seconds after the first attempt that fails; doubled after each further one in a row."""
    connect_timeout: float = 15.0
    """Seconds to wait for a connection."""
    read_timeout: float = 60.0
    """Seconds to wait for the next bytes."""

    def __post_init__(self) -> None:
        check_range("attempts", self.attempts, 1, 100)
        check_range("wait", self.wait, 0, 600, "seconds")
        check_range("connect_timeout", self.connect_timeout, 0.01, 3600, "seconds")
        check_range("read_timeout", self.read_timeout, 0.01, 3600, "seconds")


class Meter(Protocol):
    """Somebody who watches a download."""

    def moved(self, done: int, total: int | None) -> None:
        """Called with the bytes that are there and, where known, the bytes there will be."""

    def note(self, text: str) -> None:
        """Called with a line on what happens."""


class Unmetered:
    """A meter that looks away."""

    def moved(self, done: int, total: int | None) -> None:
        """Look away."""

    def note(self, text: str) -> None:
        """Look away."""


@dataclasses.dataclass(frozen=True)
class _Seen(Config):
    """What the server said of the file that the part is a part of."""

    etag: str = ""
    last_modified: str = ""
    total: int = -1

    def validator(self) -> str:
        """What proves to the server that the part belongs to its file; a weak tag does not."""
        return self.last_modified if self.etag.startswith("W/") else self.etag or self.last_modified


class _AgainError(Exception):
    """The attempt failed in a way that the next one may not."""


class _Part:
    """A file that grows at ``path``, and beside it what the server said of it."""

    def __init__(self, path: Path) -> None:
        self.path, self._notes = path, path.with_name(f"{path.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.seen = _Seen.from_json(read_json(self._notes)) if self._notes.exists() else _Seen()
        except LanternError:
            self.begin(_Seen())
        if not self._notes.exists():
            self.begin(_Seen())
        self.size = path.stat().st_size if path.exists() else 0

    @property
    def total(self) -> int | None:
        """The bytes of the whole, where known."""
        return None if self.seen.total < 0 else self.seen.total

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.size == self.total

    def begin(self, seen: _Seen) -> None:
        """Forget what is there, and begin a part of the file that was ``seen``."""
        self.path.unlink(missing_ok=True)
        self.seen, self.size = seen, 0
        write_json(self._notes, seen.to_json())

    def end(self, total: int) -> None:
        """Take what is there for the whole, of ``total`` bytes."""
        self.seen = dataclasses.replace(self.seen, total=total)
        write_json(self._notes, self.seen.to_json())

    def request(self, checked: bool) -> dict[str, str]:
        """The headers that ask for the rest, if the server can tell whether it is a rest of the same file.

        ``checked``: the whole has a checksum to meet, so a rest of something else would be found out.
        """
        validator = self.seen.validator()
        if not self.size or not (validator or checked):
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": validator} if validator else {})}

    def accept(self, response: httpx.Response) -> None:
        """Make ready for the body of ``response``: the whole file anew (200), or a rest of the one that was seen (206)."""
        if response.status_code == httpx.codes.OK:
            return self.begin(_seen(response, response.headers.get("Content-Length", "")))
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        seen = _seen(response, match[2] if match else "")
        if not match or int(match[1]) > self.size or not _same(self.seen, seen):
            self.begin(_Seen())
            raise _AgainError("the server answered with a part of something else")
        self.size = int(match[1])
        return None

    def take(self, blocks: Iterator[bytes]) -> Iterator[None]:
        """Write ``blocks`` from ``size`` on, each at once, so that a killed process loses nothing; yields after each."""
        try:
            with self.path.open("r+b" if self.path.exists() else "xb") as stream:
                stream.truncate(self.size)
                stream.seek(self.size)
                for block in blocks:
                    stream.write(block)
                    stream.flush()
                    self.size += len(block)
                    yield
        except OSError as error:
            raise LanternError(f"{self.path} could not be written ({error.strerror or error})", _ROOM) from error


def fetch(url: str, path: Path, config: DownloadConfig, meter: Meter, checked: bool) -> None:
    """Download ``url`` to ``path``, going on from what is there.

    ``checked``: the caller knows the checksum. Errors: :class:`LanternError`; what came is kept for the next attempt, unless it
    was of no use.
    """
    part, fruitless, furthest = _Part(path), 0, 0
    timeout = httpx.Timeout(config.read_timeout, connect=config.connect_timeout)
    with httpx.Client(timeout=timeout, headers=_HEADERS, follow_redirects=True) as client:
        while not part.whole:
            furthest = max(furthest, part.size)
            try:
                _attempt(client, url, part, meter, checked)
                continue
            except (_AgainError, httpx.TimeoutException, httpx.NetworkError, httpx.ProtocolError, httpx.ProxyError) as error:
                said = str(error) or type(error).__name__
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _failed(url, str(error) or type(error).__name__) from error
            fruitless = 1 if part.size > furthest else fruitless + 1
            if fruitless >= config.attempts:
                raise _failed(url, f"{said}; {_so_far(part)}")
            pause = config.wait * 2 ** (fruitless - 1)
            meter.note(f"{said}; {_so_far(part)}; again in {pause:g} s")
            time.sleep(pause)


def _attempt(client: httpx.Client, url: str, part: _Part, meter: Meter, checked: bool) -> None:
    with client.stream("GET", url, headers=part.request(checked)) as response:
        for hop in (*response.history, response):
            check_redirect(url, str(hop.url))
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _out_of_range(response, part)
        _check_answer(url, response)
        part.accept(response)
        _check_room(part)
        meter.moved(part.size, part.total)
        for _ in part.take(response.iter_raw()):
            require(part.size <= MAX_BYTES, *_endless(url))
            meter.moved(part.size, part.total)
    if part.total is None:
        return part.end(part.size)
    if part.size > part.total:
        part.begin(_Seen())
        raise _AgainError("the server sent more than it had announced")
    if not part.whole:
        raise _AgainError("the server sent less than it had announced")
    return None


def _out_of_range(response: httpx.Response, part: _Part) -> None:
    said = response.headers.get("Content-Range", "").removeprefix("bytes */")
    if part.size and said == str(part.size) and _same(dataclasses.replace(part.seen, total=-1), _seen(response, said)):
        return part.end(part.size)
    part.begin(_Seen())
    raise _AgainError("the file on the server is no longer the one begun")


def _check_answer(url: str, response: httpx.Response) -> None:
    said = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in _PASSING or response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _AgainError(said)
    if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise _failed(url, said)
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise _failed(url, "the server sent a web page in place of the file")


def check_redirect(asked: str, answered: str) -> None:
    """Refuse an ``answered`` address that anybody on the way could have answered for, where ``asked`` was a safe one."""
    unsafe = httpx.URL(asked).scheme == "https" and httpx.URL(answered).scheme != "https"
    require(not unsafe, f"{asked} leads to {answered}, which is not encrypted", "Give a safe address with --url URL.")


def _check_room(part: _Part) -> None:
    if part.total is None:
        return
    free = shutil.disk_usage(part.path.parent).free
    missing = part.total - part.size
    problem = f"{missing:,} bytes are to come, and {part.path.parent} has room for {free:,}"
    require(missing <= free, problem, _ROOM)


def _seen(response: httpx.Response, total: str) -> _Seen:
    headers = response.headers
    return _Seen(headers.get("ETag", ""), headers.get("Last-Modified", ""), int(total) if total.isdecimal() else -1)


def _same(one: _Seen, other: _Seen) -> bool:
    """Whether two answers can be of the same file: nothing that both say differs."""
    tags = not one.etag or not other.etag or one.etag == other.etag
    times = not one.last_modified or not other.last_modified or one.last_modified == other.last_modified
    return tags and times and (one.total < 0 or other.total < 0 or one.total == other.total)


def _so_far(part: _Part) -> str:
    return f"{part.size:,} of {part.total:,} bytes are there" if part.total is not None else f"{part.size:,} bytes are there"


def _endless(url: str) -> tuple[str, str]:
    return f"{url} sends more than {MAX_BYTES:,} bytes", "No weights are as large. Check the address."


def _failed(url: str, said: str) -> LanternError:
    remedy = "Try again later (what has come is kept), or give another address with --url URL or a copy with --from FILE."
    return LanternError(f"{url} could not be downloaded ({said})", remedy)
