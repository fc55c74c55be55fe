"""A folder belongs to one configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segmentation.errors import require
from segmentation.files import read_json, write_json


def claim(out: Path, described: dict[str, Any]) -> None:
    """Write ``described`` to ``config.json`` in ``out``, unless the folder already belongs to something else."""
    path = out / "config.json"
    if path.exists():
        same = read_json(path) == described
        require(same, f"{out} holds a run with another configuration", "Choose another folder, or repeat that configuration.")
    else:
        write_json(path, described)
