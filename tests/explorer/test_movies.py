from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from explorer.directions.catalogue import Catalogue, Entry
from explorer.engine import Engine
from explorer.movies import MovieConfig, movie_frames, write_movie
from explorer.starts import Start
from segmentation.errors import LanternError
from tests.analytic import DiscGenerator, lighting

KNOWN = Catalogue(lighting()[None], (Entry(sign=-1, magnitude=3),), "known", "disc-1")


def frames_in(path: Path) -> tuple[list[NDArray[np.uint8]], list[int]]:
    with Image.open(path) as movie:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(movie):
            frames.append(np.asarray(frame.convert("RGB")))
            durations.append(frame.info["duration"])
    return frames, durations


@given(st.integers(4, 300), st.floats(0.1, 20), st.sampled_from([1, 10]))
def test_a_movie_goes_there_and_back_in_its_time(frames: int, magnitude: float, unit: int) -> None:
    config = MovieConfig(frames, seconds=frames / 30)
    lengths = config.lengths(magnitude)
    assert len(lengths) == frames
    assert lengths[0] == -magnitude
    assert max(lengths) == pytest.approx(magnitude * (1 if frames % 2 == 0 else math.cos(math.pi / frames)))
    assert lengths[1:] == lengths[:0:-1]
    # Smooth: no step is longer than the steepest part of a cosine.
    steps = np.diff([*lengths, lengths[0]])
    assert np.abs(steps).max() <= 2 * math.pi * magnitude / frames + 1e-9
    shown = config.milliseconds(unit)
    assert len(shown) == frames
    assert min(shown) >= 20 and max(shown) - min(shown) <= unit
    assert all(duration % unit == 0 for duration in shown)
    assert sum(shown) == pytest.approx(1000 * frames / 30, abs=unit)


@pytest.mark.parametrize("frames", [7, 8])
def test_the_frames_are_the_engines_images(frames: int) -> None:
    engine = Engine(DiscGenerator(8, 16))
    config = MovieConfig(frames, 1, columns=2, side=16)
    made = movie_frames(engine, KNOWN, 0, 3.0, Start(codes=3, seed=2), config)
    assert len(made) == frames
    for step, frame in enumerate(made):
        assert frame.shape == (32, 32, 3)
        length = -3 * math.cos(2 * math.pi * step / frames)
        images = engine.images(engine.codes(3, 2) - length * lighting())
        expected = np.rint((images.numpy() + 1) * 127.5).transpose(0, 2, 3, 1)
        for code, (top, left) in enumerate(((0, 0), (0, 16), (16, 0))):
            assert np.abs(frame[top : top + 16, left : left + 16].astype(int) - expected[code]).max() <= 1
        assert not frame[16:, 16:].any()


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF"])
def test_a_movie_file_has_the_frames_the_time_and_what_made_it(tmp_path: Path, suffix: str) -> None:
    engine, config = Engine(DiscGenerator(8, 16)), MovieConfig(frames=14, seconds=0.99, side=24)
    made = movie_frames(engine, KNOWN, 0, 3.0, Start(codes=2), config)
    path = tmp_path / f"walk{suffix}"
    write_movie(path, made, config, {"seed": "0", "command": "python -m explorer movie"})
    frames, durations = frames_in(path)
    assert len(frames) == 14
    assert sum(durations) == 990
    assert max(durations) - min(durations) <= 10
    for found, expected in zip(frames, made, strict=True):
        assert np.abs(found.astype(float) - expected).mean() < 3
    with Image.open(path) as movie:
        assert movie.info["loop"] == 0
        said = movie.info["comment"] if path.suffix.lower() == ".gif" else movie.getexif()[270]
    assert json.loads(said) == {"seed": "0", "command": "python -m explorer movie"}


def test_what_stands_still_does_not_flicker(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)
    frames = [ground.copy() for _ in range(6)]
    for number, frame in enumerate(frames):
        frame[:, :16] = 40 * number
    config = MovieConfig(6, 1)
    write_movie(tmp_path / "walk.gif", frames, config, {})
    found, _ = frames_in(tmp_path / "walk.gif")
    assert all(np.array_equal(frame[:, 16:], found[0][:, 16:]) for frame in found)
    assert not np.array_equal(found[0][:, :16], found[5][:, :16])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"frames": 1}, "frames is 1"),
        ({"seconds": 0}, "seconds is 0"),
        ({"columns": 0}, "columns is 0"),
        ({"side": 2000}, "side is 2000"),
        ({"frames": 101, "seconds": 2}, "101 frames in 2 seconds are too fast.*at most 50 frames a second"),
    ],
)
def test_a_movie_out_of_range_is_refused(values: dict, said: str) -> None:
    with pytest.raises(LanternError, match=said):
        MovieConfig(**values)


def test_a_movie_of_nothing_or_too_much_is_refused() -> None:
    engine = Engine(DiscGenerator(8, 16))
    with pytest.raises(LanternError, match="there is no direction 1"):
        movie_frames(engine, KNOWN, 1, 3.0, Start(), MovieConfig())
    with pytest.raises(LanternError, match="magnitude is 21"):
        movie_frames(engine, KNOWN, 0, 21, Start(), MovieConfig())
    with pytest.raises(LanternError, match="256 codes of 512 pixels a side is too large"):
        movie_frames(engine, KNOWN, 0, 3.0, Start(codes=256), MovieConfig(side=512))
    with pytest.raises(LanternError, match="codes is 0"):
        Start(codes=0)


def test_a_movie_can_start_from_a_code() -> None:
    engine = Engine(DiscGenerator(8, 16))
    origin = (2.0, -2.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0)
    first = movie_frames(engine, KNOWN, 0, 2.0, Start(codes=2, origin=origin), MovieConfig(4, 1, side=16))[0][:, :16]
    expected = engine.images(torch.tensor([origin]) + 2 * lighting())[0].numpy()
    assert np.abs(first.astype(int) - np.rint((expected + 1) * 127.5).transpose(1, 2, 0)).max() <= 1
