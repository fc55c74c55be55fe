from __future__ import annotations

import resource
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from explorer.picture_files import read_stamp, spelled, write_gif, write_png, write_webp
from segmentation.errors import LanternError

NOISE = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), dtype=np.uint8)
STAMP = {"generator": "süß 漢", "direction": "3 4", "command": "python -m explorer atlas --label 'a b'"}


def png(path: Path, frames: NDArray[np.uint8]) -> None:
    write_png(path, frames[0], STAMP)


def gif(path: Path, frames: NDArray[np.uint8]) -> None:
    write_gif(path, list(frames), STAMP, [100] * len(frames))


def webp(path: Path, frames: NDArray[np.uint8]) -> None:
    write_webp(path, list(frames), STAMP, [100] * len(frames))


def still_webp(path: Path, frames: NDArray[np.uint8]) -> None:
    write_webp(path, [frames[0]], STAMP)


WRITERS = [(png, "a.png"), (gif, "a.gif"), (webp, "a.webp"), (still_webp, "b.webp")]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_picture_says_what_made_it(tmp_path: Path, write: Callable, name: str) -> None:
    write(tmp_path / name, NOISE)
    assert read_stamp(tmp_path / name) == STAMP
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_png_keeps_every_pixel_and_any_program_reads_its_text(tmp_path: Path) -> None:
    png(tmp_path / "a.png", NOISE)
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), NOISE[0])
        assert {name: picture.info[name] for name in STAMP} == STAMP


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, write: Callable, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(LanternError, match=name):
            write(path, NOISE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_of_others_say_nothing_and_other_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.gif", "a.webp", "a.jpg"):
        Image.fromarray(NOISE[0]).save(tmp_path / name)
        assert read_stamp(tmp_path / name) == {}
    Image.fromarray(NOISE[0]).save(tmp_path / "b.gif", comment=b"[1, 2]")
    assert read_stamp(tmp_path / "b.gif") == {}
    Image.fromarray(NOISE[0]).save(tmp_path / "b.gif", comment=b"\xff made by hand")
    assert read_stamp(tmp_path / "b.gif") == {}
    (tmp_path / "words.png").write_text("words")
    for name in ("words.png", "none.png"):
        with pytest.raises(LanternError, match=name):
            read_stamp(tmp_path / name)


def test_a_webp_larger_than_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match=r"16384 x 1 pixels is too large"):
        write_webp(tmp_path / "a.webp", [np.zeros((1, 16384, 3), np.uint8)], {})


def test_a_command_is_spelled_as_it_would_be_typed() -> None:
    options = {
        "generator": "/elsewhere/my generator.safetensors",
        "directions": Path("runs/mine"),
        "engine.batch_size": 8,
        "size": False,
        "rejected": True,
        "engine.fast": False,
        "only": (3, 5),
        "status": (),
        "label": "",
        "magnitude": None,
        "seed": 0,
        "out": Path("/tmp/out.png"),
    }
    expected = (
        "python -m explorer figure --generator 'my generator.safetensors' --directions runs/mine --engine.batch-size 8"
        " --no-size --rejected --engine.no-fast --only 3 5 --seed 0 --out out.png"
    )
    assert spelled("figure", options) == expected
    assert shlex.split(expected)[5] == "my generator.safetensors"
