"""What a score was measured on: hardware and versions, in plain words."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "pillow")


def surroundings() -> dict[str, str | int]:
    """Processor, cores, threads, GPU, and the versions of Python and of the packages that compute."""
    described: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return {**described, **{name: importlib.metadata.version(name) for name in _PACKAGES}}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"
