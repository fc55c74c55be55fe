"""A run that is handed in to Slurm from the page, as far as the batch file: what stands in for Slurm keeps it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import ACTION_MILLISECONDS, running_app
from tests.browser.tabs import open_tab

pytestmark = pytest.mark.timeout(400)
STAND_IN = {
    "sbatch": 'cp "$1" "$KEPT"; echo Submitted batch job 42',
    "srun": "exit 1",
    "squeue": "echo 42 PENDING",
    "scancel": "exit 0",
}


def test_a_training_is_handed_in_to_slurm_with_what_the_page_says(browser: Browser, tmp_path: Path) -> None:
    programs, kept = tmp_path / "bin", tmp_path / "batch.sh"
    programs.mkdir()
    for name, text in STAND_IN.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "KEPT": str(kept),
        "LANTERN_RUNS": str(tmp_path / "runs"),
        "GRADIO_TEMP_DIR": str(tmp_path / "temporary"),
    }
    with running_app(tmp_path / "log.txt", environment) as url:
        page = browser.new_page(base_url=url)
        page.set_default_timeout(ACTION_MILLISECONDS)
        page.goto("/")
        open_tab(page, "Train")
        page.get_by_role("button", name="Where it runs").locator("visible=true").click()
        page.locator("#train-cluster input[value=slurm]").check()
        page.locator("#train-partition input, #train-partition textarea").first.fill("long")
        page.locator("#train-gpus input").fill("2")
        page.locator("#train-minutes input").fill("90")
        page.locator("#train-name input, #train-name textarea").first.fill("queued")
        page.locator("#train-go").click()
        expect(page.locator("#train-about")).to_contain_text("queued is queued")
        expect(page.locator("#train-about")).to_contain_text("Slurm job 42")
        expect(page.locator("#train-list")).to_contain_text("waits for Slurm (job 42)")
        page.close()
    batch = kept.read_text()
    assert "#SBATCH --partition=long" in batch and "#SBATCH --time=90" in batch and "--job-name=lantern-train" in batch
    assert "gpus" in batch and str(tmp_path / "runs" / "queued") in batch
