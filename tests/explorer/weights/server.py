"""A web server on this machine that serves one file, and misbehaves as it is told."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclasses.dataclass
class Answer:
    """How one request is answered; by default as it should be."""

    status: int = 0
    """In place of 200 or 206; then there is no file in the answer."""
    cut: int | None = None
    """The connection ends after so many bytes of the body."""
    promise: int | None = None
    """The length announced, in place of the true one."""
    start: int = 0
    """How far from where it should start a part starts."""
    ranges: bool = True
    """Whether parts are served."""
    length: bool = True
    """Whether the length is announced; if not, the end of the connection ends the body."""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    """Put in place of the usual ones; empty: left out."""
    content: bytes | None = None
    """What the server has from this answer on, under another tag."""
    stall: threading.Event | None = None
    """Waited for in the middle of the body."""


class FileServer(ThreadingHTTPServer):
    """Serves ``content`` under any path; ``answers`` are used up one a request."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.etag, self.modified = '"one"', ""
        self.answers: list[Answer] = []
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.npy"

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.asked]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        answer = self.server.answers.pop(0) if self.server.answers else Answer()
        if answer.content is not None:
            self.server.content, self.server.etag = answer.content, f'"{hashlib.sha256(answer.content).hexdigest()}"'
        content = self.server.content
        start = self._start(answer)
        if answer.status:
            self._send(answer, answer.status, b"", {})
        elif start is None:
            self._send(answer, 200, content, {})
        elif start >= len(content):
            self._send(answer, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            start += answer.start
            extent = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._send(answer, 206, content[start:], extent)

    def _start(self, answer: Answer) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        proof = self.headers.get("If-Range")
        known = proof is None or proof in (self.server.etag, self.server.modified)
        return int(match[1]) if match and answer.ranges and known else None

    def _send(self, answer: Answer, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        if answer.length:
            headers["Content-Length"] = str(len(body) if answer.promise is None else answer.promise)
        headers |= {"ETag": self.server.etag, "Last-Modified": self.server.modified, "Connection": "close", **answer.headers}
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        sent = body if answer.cut is None else body[: answer.cut]
        if answer.stall is not None:
            self.wfile.write(sent[: len(sent) // 2])
            answer.stall.wait(30)
            sent = sent[len(sent) // 2 :]
        self.wfile.write(sent)
