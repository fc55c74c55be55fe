from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from explorer.runs import beat
from explorer.runs.beat import SILENCE, Beat, Listener
from tests.explorer.runs.waiting import until


def beaten(folder: Path, least: int) -> bool:
    return (beat._read(folder / "beat") or 0) >= least


def test_it_beats_until_it_is_stopped_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat, "EVERY", 0.01)
    before = 0
    for _ in range(2):
        own, first = Beat(tmp_path), before
        own.start()
        until(partial(beaten, tmp_path, first + 3), "three beats")
        own.stop()
        seen = beat._read(tmp_path / "beat")
        assert seen is not None and before + 3 <= seen < before + 1000
        before = seen
    assert (tmp_path / "beat").stat().st_size == 21


def test_where_it_cannot_be_written_nothing_happens(tmp_path: Path) -> None:
    own = Beat(tmp_path / "nowhere")
    own.start()
    own.stop()
    assert not (tmp_path / "nowhere").exists()


def test_only_a_count_that_stands_still_is_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("explorer.runs.beat.time.monotonic", lambda: now[0])
    listener, path = Listener(), tmp_path / "beat"
    for count in range(3):
        path.write_text(f"{count:020d}\n")
        assert not listener.silent(tmp_path)
        now[0] += SILENCE - 0.1
        assert not listener.silent(tmp_path)
        now[0] += 0.05
    now[0] += 0.2
    assert listener.silent(tmp_path)
    path.write_text(f"{7:020d}\n")
    assert not listener.silent(tmp_path)
    assert SILENCE < 5
