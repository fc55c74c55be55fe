"""Discovery by several processes, over gloo."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from explorer.directions.catalogue import load_catalogue
from explorer.directions.discovering import discover
from explorer.directions.discovery import Discoverer, DiscoveryConfig
from segmentation.errors import LanternError
from segmentation.processes import Several, join
from tests.explorer.directions.test_discovery import QUICK, Watching, factors
from tests.segmentation.forked import ended, together

pytestmark = pytest.mark.timeout(300)

CPU = torch.device("cpu")
CONFIG = DiscoveryConfig(directions_count=5, steps=6, **{**QUICK, "batch_size": 5, "checkpoint_every": 3})


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmentation.precision.has_fast_bfloat16", lambda device: False)


def test_two_processes_discover_what_one_does(tmp_path: Path) -> None:
    def work(index: int) -> None:
        processes, _ = join(CPU)
        watcher = Watching()
        assert discover(factors(), CONFIG, tmp_path / "two", watcher, processes) is not None
        assert bool(watcher.figures) == bool(watcher.pictures) == (index == 0)
        if index == 0:
            (tmp_path / "figures").write_text(json.dumps(watcher.figures))

    processes = together(work)
    alone = Watching()
    discover(factors(), CONFIG, tmp_path / "one", alone)
    assert ended(processes) == [0, 0]
    found = {int(step): figures for step, figures in json.loads((tmp_path / "figures").read_text()).items()}
    assert found.keys() == alone.figures.keys() == set(range(1, 7))
    for step, figures in alone.figures.items():
        assert found[step] == pytest.approx(figures, rel=1e-4, abs=1e-5)
    one, two = (load_catalogue(tmp_path / name / "directions").directions for name in ("one", "two"))
    assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("killed", [0, 1])
def test_if_one_of_two_is_killed_the_other_ends_with_an_error_and_a_resume_goes_on(tmp_path: Path, killed: int) -> None:
    class Dying(Watching):
        """Dies after step 4, and asks for what the processes decide together before."""

        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            super().advance(step, steps, figures)
            if step == 4:
                os.kill(os.getpid(), signal.SIGKILL)

    def work(index: int) -> None:
        processes, _ = join(CPU)
        generator = factors()
        if index == killed == 1:
            # The second is told nothing: it dies in the middle of its work.
            made = generator.generator.generate
            calls = [0]

            def dying(codes: torch.Tensor) -> torch.Tensor:
                calls[0] += 1
                if calls[0] == 10:
                    os.kill(os.getpid(), signal.SIGKILL)
                return made(codes)

            generator.generator.generate = dying  # type: ignore[method-assign]
        try:
            discover(generator, CONFIG, tmp_path / "two", Dying() if index == killed == 0 else Watching(), processes)
        except LanternError as error:
            sys.exit(2 if "another of the 2 processes has ended" in str(error) else 3)

    codes = ended(together(work))
    assert (codes[killed], codes[1 - killed]) == (-signal.SIGKILL, 2)
    alone, rest = Watching(), Watching()
    discover(factors(), CONFIG, tmp_path / "one", alone)
    discover(factors(), CONFIG, tmp_path / "two", rest)
    assert sorted(rest.figures) == [4, 5, 6]
    assert rest.figures[6] == pytest.approx(alone.figures[6], rel=1e-4, abs=1e-5)


def test_more_processes_than_pairs_are_refused() -> None:
    with pytest.raises(LanternError, match="6 processes are to share batches of 5 pairs"):
        Discoverer(factors(), CONFIG, Several(0, 6, CPU))
