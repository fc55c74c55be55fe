from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.runs import identity as module
from explorer.runs.identity import alive, identity


def test_this_process_lives() -> None:
    told = identity()
    assert told["process"] == os.getpid()
    assert alive(told) is True
    boot = Path("/proc/stat").read_text().split("btime ")[1].split()[0]
    # The ticks are those since the boot: this process is younger than the machine, and older than now.
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert int(boot) > 0
    assert 0 < told["process_started"] / os.sysconf("SC_CLK_TCK") <= uptime


def test_one_that_has_ended_does_not_live_whether_or_not_anybody_waited_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        told = identity(process.pid)
        assert alive(told) is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert alive(told) is False
    assert alive(told) is False


def test_another_process_with_its_number_is_not_it() -> None:
    told = identity()
    assert alive({**told, "process_started": told["process_started"] - 1}) is False


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"boot": "before"}, {"namespace": "pid:[1]"}, {"process": None}])
def test_of_another_machine_boot_or_container_it_cannot_be_seen(change: dict[str, object]) -> None:
    assert alive({**identity(), **change}) is None


def test_without_proc_the_number_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PROC", tmp_path)
    module._place.cache_clear()
    try:
        told = identity()
        assert (told["boot"], told["process_started"]) == ("", 0)
        assert alive(told) is True
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        assert alive({**told, "process": process.pid}) is False
    finally:
        module._place.cache_clear()
