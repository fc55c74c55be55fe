"""What a run survives: a kill at any operation on a file, a disk that is full, a checkpoint cut in half, a clock that jumps."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.generators.feature_fitting import FeatureConfig, fit_features
from explorer.runs.listing import metrics, tail, view
from explorer.runs.store import Run
from explorer.runs.terminal import recorded
from segmentation.checkpoints import NAME, previous
from segmentation.errors import LanternError
from segmentation.tensors import load_tensors
from tests.segmentation.forked import in_a_process

CPU = torch.device("cpu")
STEPS = 6
_OPERATIONS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate")
CONFIG = FeatureConfig(resolution=32, batch_size=4, steps=STEPS, warm_up=2, checkpoint_every=2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit that nothing happened to."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    fit(photographs, folder)
    return folder


def fit(photographs: Path, folder: Path) -> bool:
    """Fit, as the command does; False if stopped."""
    with recorded(Run(folder, "fit-features")) as watcher:
        return fit_features([photographs], folder, CONFIG, watcher, CPU) is not None


def fit_until(photographs: Path, folder: Path, when: int, what: Callable[[], None]) -> None:
    """Fit, and do ``what`` after step ``when``."""

    class Interrupted(Run):
        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            super().advance(step, steps, figures)
            if step == when:
                what()

    with recorded(Interrupted(folder, "fit-features")) as watcher:
        fit_features([photographs], folder, CONFIG, watcher, CPU)


def check_same(folder: Path, uninterrupted: Path) -> None:
    """The weights and the figures are those of the fit that nothing happened to."""
    one, other = (load_tensors(place / "features.safetensors")[0] for place in (folder, uninterrupted))
    assert all(torch.equal(one[name], other[name]) for name in other)
    figures = [[{**line, "milliseconds": 0} for line in metrics(place)] for place in (folder, uninterrupted)]
    assert figures[0] == figures[1]
    assert (view(folder).state, view(folder).step) == ("done", STEPS)


def operations(folder: Path, limit: int | None) -> list[int]:
    """Count what this process does to files in ``folder``; at operation ``limit`` the process is killed."""
    counted = [0]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate") and str(folder) in str(
            arguments[0]
        ):
            counted[0] += 1
            if counted[0] == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return counted


@pytest.fixture(scope="module")
def count(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many operations on files a fit takes."""
    folder = tmp_path_factory.mktemp("counted")

    def counting() -> None:
        counted = operations(folder / "run", None)
        fit(photographs, folder / "run")
        (folder / "count").write_text(str(counted[0]))

    assert in_a_process(counting) == 0
    return int((folder / "count").read_text())


@pytest.mark.parametrize("share", [0.02, 0.2, 0.34, 0.47, 0.6, 0.73, 0.86, 0.99])
def test_a_kill_at_any_operation_costs_steps_and_nothing_else(
    photographs: Path, tmp_path: Path, uninterrupted: Path, count: int, share: float
) -> None:
    folder = tmp_path / "run"
    assert count > 60
    # The operations of the beat come when they will: what is hit is somewhere near the share.
    limit = max(1, round(share * count))

    def killed() -> None:
        operations(folder, limit)
        fit(photographs, folder)

    assert in_a_process(killed) in (-signal.SIGKILL, 0)
    if (folder / "status.json").exists():
        assert view(folder).state in ("dead", "done")
    fit(photographs, folder)
    check_same(folder, uninterrupted)


def test_of_a_checkpoint_cut_in_half_the_one_before_is_used_and_said(
    photographs: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    folder = tmp_path / "run"

    def killed() -> None:
        fit_until(photographs, folder, 5, lambda: os.kill(os.getpid(), signal.SIGKILL))

    assert in_a_process(killed) == -signal.SIGKILL
    assert [load_tensors(path)[1]["step"] for path in (previous(folder / NAME), folder / NAME)] == [2, 4]
    whole = (folder / NAME).read_bytes()
    (folder / NAME).unlink()
    (folder / NAME).write_bytes(whole[: len(whole) // 2])
    fit(photographs, folder)
    check_same(folder, uninterrupted)
    log = "\n".join(tail(folder))
    assert "cut short" in log and "going on from the checkpoint before it, checkpoint.previous.safetensors" in log
    assert "resuming at step 2 of 6" in log


@pytest.fixture
def small_disk(tmp_path: Path, uninterrupted: Path) -> Iterator[Path]:
    """A folder with room for a few checkpoints: a disk of its own where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    size = f"size={8 * (uninterrupted / NAME).stat().st_size}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], capture_output=True, check=False)
    yield place
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_said_and_what_was_saved_stays(photographs: Path, small_disk: Path, uninterrupted: Path) -> None:
    folder = small_disk / "run"
    need = (uninterrupted / NAME).stat().st_size
    filler = small_disk / "filler"

    def fill() -> None:
        # Where the disk is not one of its own, a limit on the length of a file does as well.
        if os.path.ismount(small_disk):
            room = os.statvfs(small_disk)
            filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - need // 2)))
        else:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (need // 2, need // 2))

    def filled() -> None:
        fit_until(photographs, folder, 3, fill)

    assert in_a_process(filled) == 1
    run = view(folder)
    assert (run.state, run.step) == ("failed", 4)
    assert run.error is not None and "the disk is full" in run.error and NAME in run.error
    assert run.remedy is not None and "Free some space" in run.remedy
    assert load_tensors(folder / NAME)[1]["step"] == 2
    filler.unlink(missing_ok=True)
    for spare in (*folder.glob("*.previous.*"), *folder.glob(".*.fresh*")):
        spare.unlink()
    fit(photographs, folder)
    check_same(folder, uninterrupted)


def fill_up(path: Path) -> None:
    """Write to ``path`` until there is no room."""
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(4096)):
            pass


def test_a_disk_with_no_room_at_all_for_a_status_still_tells_the_error(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        # No disk of its own: the error comes from a device that is always full.
        place = tmp_path
    error = None
    try:
        with Run(place / "run", "train") as run:
            run.advance(1, 9, {})
            if mounted.returncode:
                (place / "run" / "metrics.jsonl").unlink()
                (place / "run" / "metrics.jsonl").symlink_to("/dev/full")
            else:
                fill_up(place / "filler")
            for step in range(2, 2000):
                run.advance(step, 9999, {"loss": 1.0})
    except LanternError as caught:
        error = caught
    finally:
        told = view(place / "run")
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
    assert error is not None and told.error == error.problem
    assert told.state == "failed" and "No space left on device" in (told.error or "")


def test_a_clock_that_jumps_changes_no_speed_and_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady, day = [0.0], [1_700_000_000.0]
    monkeypatch.setattr("explorer.runs.store.time.monotonic", lambda: steady[0])
    monkeypatch.setattr("explorer.runs.events.time.time_ns", lambda: int(day[0] * 1e9))
    monkeypatch.setattr(time, "time", lambda: day[0])
    for jump, first in ((0.0, 1), (-86400.0, 4), (86400.0 * 400, 7)):
        day[0] += jump
        with Run(tmp_path, "train") as run:
            if first > 1:
                run.resume(first - 2, 9)
            for step in range(first - (first > 1), first + 3):
                steady[0] += 2.0
                day[0] += 3600.0 * (-1) ** step
                run.advance(step, 9, {"loss": float(step + 100 * first)})
            assert run.status.steps_per_second == pytest.approx(0.5)
            assert run.status.seconds_left == pytest.approx(2.0 * (9 - step))
        assert view(tmp_path).state == "done"
    # TensorBoard reads the files in the order of their names, which has to be that in which they were written.
    events = sorted(tmp_path.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in events] == sorted(path.name for path in events)
    assert len(events) == 3
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, 10))
    assert json.loads((tmp_path / "status.json").read_text())["step"] == 9
