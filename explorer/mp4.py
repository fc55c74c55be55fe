"""MP4 files of a movie (H.264), by PyAV, which is 36 MB to install and so is left to whoever wants one."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.picture_files import Stamp
from segmentation.errors import LanternError
from segmentation.files import replacing

INSTALL = "Install PyAV: pip install -r requirements-mp4.txt; or write a .webp or .gif."
"""What to do where there is no encoder."""


def can_write_mp4() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def check_mp4() -> None:
    """Refuse an MP4, before its frames are made, where PyAV is not installed."""
    if not can_write_mp4():
        raise LanternError("there is no encoder for MP4 here", INSTALL)


def write_mp4(path: Path, frames: Sequence[NDArray[np.uint8]], stamp: Stamp, rate: float) -> None:
    """Replace the file ``path`` by ``frames`` (H, W, 3), ``rate`` of them a second, with ``stamp`` as its comment.

    Sides that are odd lose a line, as H.264 wants even ones. Errors: :class:`LanternError` if PyAV is not installed, or the
    file cannot be written.
    """
    check_mp4()
    import av

    height, width = (side - side % 2 for side in frames[0].shape[:2])
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        container.metadata["comment"] = json.dumps(dict(stamp))
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # At 16, what is lost is hard to see; movies of a walk are small anyhow.
        stream.options = {"crf": "16", "preset": "medium"}
        for frame in frames:
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
