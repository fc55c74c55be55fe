"""Photographs found in folders and tars, and read one at a time."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.generators import listing
from explorer.generators.listing import Listing, decode_square
from explorer.generators.photographs import centre_square, load_photographs, paper_square
from segmentation.datasets import list_images
from segmentation.errors import LanternError

RNG = np.random.default_rng(8)


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("b.png", "a/2.png", "a/10.jpg", "a.png", "a-b/x.PNG", "c/d/e.webp", ".hidden/x.png", "a/._2.png", "notes.txt")
    for name in names:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(40, 30))
    return tmp_path / "images"


def names(found: Listing) -> list[str]:
    return [found.name(index) for index in range(len(found))]


def test_a_folder_has_the_images_of_load_photographs_in_their_order(folder: Path) -> None:
    found = Listing([folder])
    assert names(found) == [path.relative_to(folder).as_posix() for path in list_images(folder)]
    assert names(found) == load_photographs(folder, 32)[1]
    assert found.collections == ["images"]
    for index in range(len(found)):
        assert found.fetch(index)() == (folder / found.name(index)).read_bytes()


@pytest.mark.parametrize("kind", ["", "gz", "xz"])
def test_a_tar_has_the_images_of_load_photographs_in_their_order(folder: Path, kind: str) -> None:
    path = folder.parent / "images.tar"
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
        archive.add(folder, "images")
    found = Listing([path])
    images, expected, _ = load_photographs(path, 32)
    assert names(found) == expected and len(expected) == 6
    for index in (0, 3, 5, 1):
        square = decode_square(found.fetch(index)(), found.name(index), centre_square, 32)
        assert np.array_equal(square.transpose(2, 0, 1), images[index].numpy())
    found.close()


def test_of_several_every_image_says_which_it_is_from(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.gif").write_bytes(png(9, 9))
    other = tmp_path / "more" / "images"
    other.mkdir(parents=True)
    (other / "b.png").write_bytes(png(9, 9))
    found = Listing([tmp_path / "one.gif", folder, other])
    assert names(found)[0] == "one.gif/one.gif"
    assert names(found)[-1] == f"{other.as_posix()}/b.png" and f"{folder.as_posix()}/b.png" in names(found)
    assert found.fetch(7)() == (other / "b.png").read_bytes()
    assert found.describe()["count"] == 8


def test_the_description_follows_names_and_their_order(folder: Path) -> None:
    before = Listing([folder]).describe()
    assert Listing([folder]).describe() == before
    (folder / "b.png").rename(folder / "bb.png")
    after = Listing([folder]).describe()
    assert after["count"] == before["count"] and after["sha256"] != before["sha256"]


def test_a_name_that_is_no_text_is_shown_and_read(tmp_path: Path) -> None:
    with (tmp_path / os.fsdecode(b"caf\xe9.png")).open("wb") as stream:
        stream.write(b"content")
    found = Listing([tmp_path])
    assert found.name(0) == "caf�.png"
    assert found.fetch(0)() == b"content"
    assert found.describe()["count"] == 1


def test_a_file_that_went_away_is_said_and_a_folder_that_did_is_an_error(folder: Path) -> None:
    found = Listing([folder])
    last = len(found) - 1
    (folder / found.name(last)).unlink()
    with pytest.raises(LanternError, match=r"c/d/e.webp cannot be read \(No such file"):
        found.fetch(last)()
    folder.rename(folder.parent / "elsewhere")
    with pytest.raises(FileNotFoundError):
        found.fetch(0)()


@pytest.mark.parametrize("kind", ["missing", "empty", "no tar", "damaged"])
def test_nothing_to_read_is_said(folder: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "empty":
        path.mkdir()
    if kind == "no tar":
        path.write_bytes(b"x" * 2000)
    if kind == "damaged":
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, "images")
        path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(LanternError, match=str(path)):
        Listing([path])
    with pytest.raises(LanternError, match="no photographs are named"):
        Listing([])


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_names_alone_are_held(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "many"
    if kind == "folder":
        path.mkdir()
        for number in range(3000):
            (path / f"photograph-{number:06d}.jpg").touch()
    else:
        with tarfile.open(path, "w") as archive:
            for number in range(3000):
                archive.addfile(tarfile.TarInfo(f"photograph-{number:06d}.jpg"))
    tracemalloc.start()
    try:
        found = Listing([path])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(found) == 3000
    # At 200 bytes each, 1.3 million take a quarter of a gigabyte.
    assert held < 3000 * 200


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (100, 37), (300, 256), (257, 999)])
def test_the_papers_square_is_the_middle_of_the_scaled_photograph(size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(png(*size)))
    width, height = (256 * length // min(size) for length in size)
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    left, top = round((width - 256) / 2), round((height - 256) / 2)
    square = np.asarray(paper_square(image, 256)).astype(int)
    assert square.shape == (256, 256, 3)
    assert np.abs(square - scaled[top : top + 256, left : left + 256]).max() <= 1


def test_an_image_a_pixel_wide_does_not_fill_the_memory() -> None:
    image = Image.new("RGB", (1, 1_000_000), (7, 8, 9))
    assert np.unique(np.asarray(paper_square(image, 256)).reshape(-1, 3), axis=0).tolist() == [[7, 8, 9]]


def test_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (4000, 2500)).save(tmp_path / "large.png")
    content = (tmp_path / "large.png").read_bytes()
    seen = []

    def cut(image: Image.Image, side: int) -> Image.Image:
        seen.append(listing._alone.locked())
        return centre_square(image, side)

    assert decode_square(content, "large.png", cut, 8).shape == (8, 8, 3)
    decode_square(png(40, 40), "small.png", cut, 8)
    assert seen == [True, False]
    with pytest.raises(LanternError, match="bad.png is no image"):
        decode_square(b"no image", "bad.png", cut, 8)
