from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.generators.photographs import load_photographs
from segmentation.errors import LanternError


def write(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (90, 70)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_a_folder_with_subfolders_in_the_order_of_the_names(tmp_path: Path) -> None:
    write(tmp_path / "b.png", (255, 0, 0))
    write(tmp_path / "a" / "x.jpg", (0, 0, 255))
    (tmp_path / "notes.txt").write_text("no image")
    images, names, unreadable = load_photographs(tmp_path, 64)
    assert names == ["a/x.jpg", "b.png"]
    assert unreadable == []
    assert images.shape == (2, 3, 64, 64)
    assert images[1, :, 30, 30].tolist() == [255, 0, 0]


def test_a_tar_gives_what_its_folder_gives(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "images" / f"{number}.png", (40 * number, 10, 200), (80 + 9 * number, 70))
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        for number in range(3):
            archive.add(tmp_path / "images" / f"{number}.png", f"{number}.png")
    from_folder, from_tar = (load_photographs(tmp_path / name, 64)[0] for name in ("images", "images.tar"))
    assert (from_folder == from_tar).all()


def test_the_square_is_cut_from_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((64, 192, 3), np.uint8)
    pixels[:, 64:128, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    images, _, _ = load_photographs(tmp_path, 64)
    assert (images[0, 1] == 255).all()
    assert (images[0, 0] == 0).all()


def test_what_is_no_image_is_named_and_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "good.png", (1, 2, 3))
    (tmp_path / "bad.jpg").write_bytes(b"not a jpeg")
    data = (tmp_path / "good.png").read_bytes()
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    (tmp_path / "half.png").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    assert data
    images, names, unreadable = load_photographs(tmp_path, 64)
    assert names == ["good.png"]
    assert sorted(unreadable) == ["bad.jpg", "half.png"]
    assert len(images) == 1


@pytest.mark.parametrize("kind", ["missing", "empty", "no images", "no tar"])
def test_nothing_to_read_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind != "missing":
        path.mkdir()
    if kind == "no images":
        (path / "a.jpg").write_bytes(b"x")
    if kind == "no tar":
        path = path / "file.tar"
        path.write_bytes(b"x" * 2000)
    with pytest.raises(LanternError, match=str(path)):
        load_photographs(path, 64)
