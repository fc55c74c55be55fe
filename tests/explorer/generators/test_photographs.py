from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.generators.batches import Batches
from explorer.generators.photographs import describe_photographs, hold_out, load_collections, load_photographs, to_signed
from explorer.generators.pocket import PocketConfig
from explorer.generators.recipe import FitConfig
from segmentation.errors import LanternError
from tests.segmentation.test_datasets import blank_png


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
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    (tmp_path / "half.png").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    images, names, unreadable = load_photographs(tmp_path, 64)
    assert names == ["good.png"]
    assert sorted(unreadable) == ["bad.jpg", "half.png"]
    assert len(images) == 1


def with_a_broken_chunk() -> bytes:
    """A PNG of which the second chunk's length and name are no longer any."""
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), (9, 9, 9)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[33:41] = b"\x00\x00\x00\x10\x01\x02\x03\x04"
    return bytes(data)


def postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_damaged_disguised_and_huge_images_are_passed_over(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "images"
    write(folder / "good.png", (1, 2, 3))
    (folder / "chunk.png").write_bytes(with_a_broken_chunk())
    (folder / "script.png").write_bytes(postscript())
    blank_png(folder / "bomb.png", 9000, 9000)
    blank_png(folder / "larger.png", 60000, 60000)
    if kind == "tar":
        with tarfile.open(tmp_path / "images.tar", "w") as archive:
            archive.add(folder, "images")
    images, names, unreadable = load_photographs(folder if kind == "folder" else tmp_path / "images.tar", 64)
    assert [Path(name).name for name in names] == ["good.png"] and len(images) == 1
    assert sorted(Path(name).name for name in unreadable) == ["bomb.png", "chunk.png", "larger.png", "script.png"]


@pytest.mark.parametrize("compression", ["gz", "xz", "bz2"])
@pytest.mark.parametrize("damage", ["overwritten", "cut short"])
def test_a_damaged_tar_is_said(tmp_path: Path, compression: str, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    path = tmp_path / f"images.tar.{compression}"
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        for number in range(3):
            archive.add(tmp_path / "noise.png", f"{number}.png")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle:] = b"" if damage == "cut short" else b"\xff" * 200 + data[middle + 200 :]
    path.write_bytes(data)
    with pytest.raises(LanternError, match=r"images\.tar.* damaged or cut short"):
        load_photographs(path, 64)


def test_a_tar_with_a_damaged_header_does_not_end_there_unnoticed(tmp_path: Path) -> None:
    write(tmp_path / "a.png", (1, 2, 3))
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.add(tmp_path / "a.png", name)
    data = bytearray(path.read_bytes())
    data[data.index(b"b.png")] = ord("x")
    path.write_bytes(data)
    with pytest.raises(LanternError, match="damaged or cut short.*is no member"):
        load_photographs(path, 64)


def test_hidden_files_are_left_out_of_folders_and_tars_alike(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for name in ("a.png", "._a.png", ".hidden/b.png"):
        write(folder / name, (1, 2, 3))
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(folder, ".")
    for path, name in ((folder, "a.png"), (tmp_path / "images.tar", "./a.png")):
        assert load_photographs(path, 64)[1:] == ([name], [])


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


def test_several_folders_come_one_after_the_other(tmp_path: Path) -> None:
    for folder, name, colour in (("b", "1.png", 10), ("b", "2.png", 20), ("a", "3.png", 30)):
        write(tmp_path / folder / name, (colour, 0, 0))
    (tmp_path / "a" / "bad.png").write_bytes(b"no image")
    images, names, unreadable = load_collections([tmp_path / "b", tmp_path / "a"], 32)
    assert images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert (names, unreadable) == (["1.png", "2.png", "3.png"], ["bad.png"])
    with pytest.raises(LanternError, match="no photographs are named"):
        load_collections([], 32)


def numbered(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 3, 64, 64).contiguous()


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.05, 5), (0.5, 50)])
def test_a_share_is_held_out_and_the_rest_is_not(share: float, held: int) -> None:
    parts = [set(part[:, 0, 0, 0].tolist()) for part in hold_out(numbered(100), share, 3)]
    assert [len(part) for part in parts] == [held, 100 - held]
    assert parts[0] | parts[1] == set(range(100))


def test_the_photographs_held_out_are_those_that_a_fit_holds_out() -> None:
    config = FitConfig(pocket=PocketConfig(latent_dim=8, appearance_dim=3, map_channels=4, width=16), held_out=0.1, seed=6)
    batches = Batches(config, numbered(100), torch.device("cpu"))
    held, fitted = hold_out(numbered(100), 0.1, 6)
    assert torch.equal(batches.held_out, held) and torch.equal(batches.photographs, fitted)
    assert not torch.equal(held, hold_out(numbered(100), 0.1, 7)[0])


def test_a_description_follows_every_pixel() -> None:
    photographs = numbered(3)
    before = describe_photographs(photographs)
    photographs[2, 1, 5, 5] += 1
    assert before["count"] == 3
    assert describe_photographs(photographs)["sha256"] != before["sha256"]


def test_images_are_scaled_to_minus_one_and_one() -> None:
    assert to_signed(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([-1, -0.6, 1])
