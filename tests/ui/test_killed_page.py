"""The page is killed while a run that it started is at work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gradio_client import Client

from explorer.directions.catalogue import load_catalogue
from explorer.runs.listing import metrics, view
from tests.explorer.runs.waiting import until, until_state, until_step

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"steps": 150, "batch-size": 4, "held-out": 4, "unet.width": 4, "synthesis.candidates": 8, "streams": 1}


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(400)
def test_a_run_goes_on_when_the_page_that_started_it_is_killed(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    surroundings = {**os.environ, "LANTERN_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    surroundings |= {"GRADIO_TEMP_DIR": str(tmp_path / "gradio"), "GRADIO_ANALYTICS_ENABLED": "False"}
    page = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    folder = tmp_path / "runs" / "mine"
    try:
        until(lambda: answers(port) or page.poll() is not None, "the page")
        lighting = load_catalogue(ROOT / "assets" / "pocket-directions").lighting
        client = Client(f"http://127.0.0.1:{port}/", verbose=False)
        assert client.predict(lighting, 5.0, SETTINGS, name="mine", api_name="/train") == "mine"
        begun = until_step(folder, 1)
        assert begun.state == "running" and begun.step < SETTINGS["steps"]
    finally:
        os.killpg(page.pid, signal.SIGKILL)
        page.wait()
    assert not answers(port)
    done = until_state(folder, "done", "failed", "dead", "stopped")
    assert (done.state, done.step, done.process) == ("done", SETTINGS["steps"], begun.process)
    assert [line["step"] for line in metrics(folder)] == list(range(1, int(SETTINGS["steps"]) + 1))
    assert view(folder).command[0] == "train"
