"""Discovery by several processes, over gloo."""

from __future__ import annotations

import json
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


def test_more_processes_than_pairs_are_refused() -> None:
    with pytest.raises(LanternError, match="6 processes are to share batches of 5 pairs"):
        Discoverer(factors(), CONFIG, Several(0, 6, CPU))
