"""The Slurm that ``setup.sh`` has started; elsewhere these tests skip, and LANTERN_REQUIRE_SLURM makes that a failure."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


@pytest.fixture(scope="session")
def slurm_node() -> str:
    """The name of the one node of a Slurm that answers, with the partitions low and high."""
    if shutil.which("sinfo") is None or not os.environ.get("SLURM_CONF"):
        pytest.skip("SLURM_CONF names no Slurm (tests/slurm/setup.sh start)")
    asked = ["sinfo", "--noheader", "--format=%n %P"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.split()
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"Slurm does not answer ({error})")
    if not {"low*", "high"} <= set(told):
        pytest.skip(f"another Slurm than that of tests/slurm/setup.sh ({told})")
    return told[0]
