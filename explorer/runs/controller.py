"""``python -m explorer.runs.controller FOLDER``: looks after the processes of a run on this machine, until they have ended.

It is submitit's controller of local jobs: it starts the processes, warns them before the time limit, passes signals on, and
ends what is left over. What it does otherwise: no process has a log of its own, and one that fails takes the others along,
which would wait for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from submitit.local.local import Controller

_ASKED_EVERY = 0.1
_GRACE = 15.0


class RunController(Controller):
    """The controller of one run; the environment says what to start and for how long, as submitit's executor sets it."""

    def start_tasks(self) -> None:
        """Start the processes; they print where this one prints."""
        for index in range(self.ntasks):
            named = {"SUBMITIT_LOCAL_LOCALID": str(index), "SUBMITIT_LOCAL_GLOBALID": str(index)}
            environment = {**os.environ, **named, "SUBMITIT_LOCAL_JOB_ID": self.pid}
            self.tasks.append(subprocess.Popen(self.command, env=environment, stdin=subprocess.DEVNULL))

    def wait(self, freq: int = 24) -> Sequence[int | None]:
        """Wait until all have ended, or the time is over; their exit codes, None of those that still run."""
        began = time.monotonic()
        warned, failed = False, None
        while True:
            codes = [task.poll() for task in self.tasks]
            now = time.monotonic()
            if None not in codes or now - began >= self.timeout_s:
                return codes
            if not warned and now - began >= self.timeout_s - self.signal_delay_s:
                warned = True
                self._tell(signal.SIGUSR2)
            if failed is None and any(codes):
                failed = now
                print(f"one of {self.ntasks} processes failed ({_told(codes)}), ending the others", flush=True)
                self._tell(signal.SIGTERM)
            if failed is not None and now - failed >= _GRACE:
                return codes
            time.sleep(_ASKED_EVERY)

    def _tell(self, number: signal.Signals) -> None:
        for task in self.tasks:
            if task.poll() is None:
                task.send_signal(number)


def _told(codes: Sequence[int | None]) -> str:
    code = next(code for code in codes if code)
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def main() -> None:
    """Wait until whoever launched it has written down that it did, then run."""
    sys.stdin.buffer.read()
    RunController(Path(sys.argv[1])).run()


if __name__ == "__main__":
    main()
