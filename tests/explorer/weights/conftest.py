"""A home for weights of its own for every test, and a server with 3,000 latent codes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.explorer.weights.server import FileServer, serving


def latent_codes(seed: int = 0, rows: int = 3000) -> bytes:
    """A ``.npy`` file of ``rows`` latent codes; its header has 128 bytes."""
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(seed).standard_normal((rows, 120)).astype(np.float32))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANTERN_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(latent_codes()) as server:
        yield server
