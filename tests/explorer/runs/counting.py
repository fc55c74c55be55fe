"""A run that counts, with a checkpoint of one number: what the launcher starts in tests in place of a slow command.

``python -m tests.explorer.runs.counting FOLDER STEPS SECONDS [DEVICE]`` takes SECONDS a step.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from explorer.runs.terminal import recorded_by_first
from segmentation.files import read_json, write_json
from segmentation.progress import Watcher

ROOT = Path(__file__).parents[3]


def work(folder: Path, steps: int, seconds: float, watcher: Watcher) -> bool:
    """Count to ``steps`` from where the folder says; False if stopped before."""
    checkpoint = folder / "count.json"
    step = read_json(checkpoint) if checkpoint.exists() else 0
    if step:
        watcher.resume(step, steps)
    while step < steps:
        time.sleep(seconds)
        step += 1
        stop = watcher.stop_requested()
        if stop or step == steps or step % 5 == 0:
            write_json(checkpoint, step)
        watcher.advance(step, steps, {"square": float(step * step)})
        if stop and step < steps:
            return False
    return True


def main() -> None:
    folder, steps, seconds, *devices = sys.argv[1:]
    first = int(os.environ.get("RANK") or 0) == 0
    place = Path(folder)
    with recorded_by_first(place, "count", first, devices) as watcher:
        if first:
            print(f"rank {os.environ.get('RANK', 'alone')} of {os.environ.get('WORLD_SIZE', '1')}")
            work(place, int(steps), float(seconds), watcher)
        else:
            print(f"rank {os.environ['RANK']} is here")
            if os.environ.get("COUNTING_FAILS"):
                os.kill(os.getpid(), 9)


def worker(folder: Path, steps: int, seconds: float, *devices: str) -> list[str]:
    """The command line that counts in ``folder``."""
    return [sys.executable, "-m", "tests.explorer.runs.counting", str(folder), str(steps), str(seconds), *devices]


if __name__ == "__main__":
    main()
