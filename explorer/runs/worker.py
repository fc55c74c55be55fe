"""``python -m explorer.runs.worker FOLDER``: becomes the command of the run in ``FOLDER``, as one of its processes.

Started by submitit, on this machine or in a task of a Slurm job; it tells PyTorch and Accelerate which process it is.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Before all that takes time to load: a warning that comes meanwhile waits until the command can hear it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2))

import os
import sys
from pathlib import Path

from explorer.runs.command import LAUNCHED, LIMIT, read_command
from explorer.runs.outcome import starting
from segmentation.errors import LanternError


def environment(folder: Path, given: dict[str, str]) -> dict[str, str]:
    """What the command is told by its environment: the run's ``folder``, and its place among the run's processes."""
    local = given.get("SUBMITIT_EXECUTOR") == "local"
    names = ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS") if local else ("SLURM_PROCID", "SLURM_NTASKS")
    index, count = (int(given.get(name) or default) for name, default in zip(names, (0, 1), strict=True))
    told = {**given, LAUNCHED: str(folder.absolute()), "PYTHONUNBUFFERED": "1"}
    if count > 1:
        told |= _together(given, index, count)
        cores = os.cpu_count() or 1
        told.setdefault("OMP_NUM_THREADS", str(max(1, cores // int(told["LOCAL_WORLD_SIZE"]))))
    return told


def _together(given: dict[str, str], index: int, count: int) -> dict[str, str]:
    if given.get("SUBMITIT_EXECUTOR") == "local":
        own, here = index, count
        address, port = given.get("MASTER_ADDR", "127.0.0.1"), given.get("MASTER_PORT", "29500")
    else:
        from submitit.helpers import TorchDistributedEnvironment

        found = TorchDistributedEnvironment()
        own, here, address, port = found.local_rank, found.local_world_size, found.master_addr, str(found.master_port)
    place = {"RANK": index, "WORLD_SIZE": count, "LOCAL_RANK": own, "LOCAL_WORLD_SIZE": here}
    return {**{name: str(value) for name, value in place.items()}, "MASTER_ADDR": address, "MASTER_PORT": port}


def hold_back() -> None:
    """Keep a warning that the time is nearly over for when the command can hear it, see :mod:`explorer.runs.terminal`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, LIMIT)


def main() -> None:
    """Become the command; comes back only if there is none, with exit code 2."""
    folder = Path(sys.argv[1])
    try:
        found = read_command(folder)
        if found is None:
            raise LanternError(f"{folder} does not say which command is to run", "Start it again.")
        os.chdir(found.directory)
    except (LanternError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    told = environment(folder, dict(os.environ))
    if int(told.get("RANK", "0")) == 0:
        starting(folder)
    hold_back()
    os.execve(sys.executable, [sys.executable, "-m", "explorer", *found.arguments], told)


if __name__ == "__main__":
    main()
