"""Reading images and masks of every mode, and pairing two folders."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentation.datasets import (
    MaskedImages,
    by_stem,
    few,
    list_images,
    read_grey,
    read_image,
    read_mask,
    to_rgb,
)
from segmentation.errors import LanternError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
MASK = RNG.integers(0, 2, (6, 9)).astype(bool)


def save(path: Path, array: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **options)
    return path


def blank_png(path: Path, width: int, height: int) -> Path:
    """A PNG that claims to be large, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b""))
    return path


# What the eight EXIF orientations do to an upright array when the camera stores it.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", sorted(STORED))
def test_images_are_read_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", np.ascontiguousarray(STORED[orientation](COLOURS)), exif=exif)
    image = read_image(path)
    assert image.dtype == np.uint8 and np.array_equal(image, COLOURS)


@pytest.mark.parametrize("suffix", ["png", "bmp", "PNG"])
def test_colours_come_back(tmp_path: Path, suffix: str) -> None:
    assert np.array_equal(read_image(save(tmp_path / f"a.{suffix}", COLOURS)), COLOURS)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_colours_come_back_nearly(tmp_path: Path, suffix: str) -> None:
    smooth = np.linspace(0, 255, 32 * 40 * 3).reshape(32, 40, 3).astype(np.uint8)
    image = read_image(save(tmp_path / f"a.{suffix}", smooth, quality=95))
    assert np.abs(image.astype(int) - smooth).mean() < 3


def test_grey_is_repeated(tmp_path: Path) -> None:
    grey = COLOURS[..., 0]
    assert np.array_equal(read_image(save(tmp_path / "a.png", grey)), np.repeat(grey[..., None], 3, 2))


def test_palette_is_looked_up(tmp_path: Path) -> None:
    indices = RNG.integers(0, 3, (6, 9)).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    colours = np.array([[10, 20, 30], [200, 100, 0], [255, 255, 255]], np.uint8)
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours.ravel().tolist())
    assert np.array_equal(read_image(save(tmp_path / "a.png", image)), colours[indices])


def test_ink_becomes_light(tmp_path: Path) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, 8:] = (0, 0, 0, 255)
    inks[:8, :8] = (0, 255, 255, 0)
    image = read_image(save(tmp_path / "a.jpg", Image.fromarray(inks, "CMYK"), quality=100)).astype(int)
    assert np.abs(image[2, 2] - (255, 0, 0)).max() < 12
    assert np.abs(image[12, 2] - 255).max() < 12
    assert image[2, 14].max() < 12


def test_transparency_shows_white(tmp_path: Path) -> None:
    alpha = np.where(MASK, 255, 0).astype(np.uint8)
    path = save(tmp_path / "a.png", np.dstack([COLOURS, alpha]))
    assert np.array_equal(read_image(path), np.where(MASK[..., None], COLOURS, 255))


def test_half_transparency_is_half_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((2, 2, 4), (0, 100, 200, 128), np.uint8))
    assert np.abs(read_image(path)[0, 0] - np.array([127.0, 177.2, 227.4])).max() < 1.5


def test_a_transparent_palette_entry_shows_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putdata([0, 1])
    image.putpalette([9, 9, 9, 40, 50, 60])
    assert read_image(save(tmp_path / "a.png", image, transparency=0)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 1000, 32767], [32768, 65280, 65535]], np.uint16)
    path = save(tmp_path / f"a.{suffix}", deep)
    assert np.array_equal(read_image(path)[..., 1], np.round(deep / 257))
    np.testing.assert_allclose(read_grey(path), deep / 65535, rtol=1e-6)
    assert np.array_equal(read_mask(path), deep > 32767)


def test_grey_levels_are_shares_of_full_scale(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey = read_grey(save(tmp_path / "a.png", ramp))
    assert grey.dtype == np.float32 and np.array_equal(grey, (ramp / 255).astype(np.float32))


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "webp"])
def test_masks_of_0_and_255(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    mask = read_mask(save(tmp_path / f"a.{suffix}", MASK.astype(np.uint8) * 255, **options))
    assert mask.dtype == np.bool_ and np.array_equal(mask, MASK)


def test_masks_of_one_bit(tmp_path: Path) -> None:
    assert np.array_equal(read_mask(save(tmp_path / "a.png", Image.fromarray(MASK))), MASK)


def test_masks_split_at_half(tmp_path: Path) -> None:
    assert read_mask(save(tmp_path / "a.png", np.array([[0, 126, 127, 128, 255]], np.uint8))).tolist() == [
        [False, False, False, True, True]
    ]


def test_masks_through_a_palette(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([0, 0, 0, 255, 255, 0, 0, 0, 255])  # the luma of yellow is 226, of blue 29
    assert read_mask(save(tmp_path / "a.png", image)).tolist() == [[False, True, False]]


def test_masks_turn_with_their_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", np.ascontiguousarray(np.rot90(MASK, 1)).astype(np.uint8) * 255, exif=exif)
    assert np.array_equal(read_mask(path), MASK)


def test_an_empty_mask_is_a_mask(tmp_path: Path) -> None:
    assert not read_mask(save(tmp_path / "a.png", np.zeros((4, 5), np.uint8))).any()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_labels_are_no_mask(tmp_path: Path, kind: type) -> None:
    path = save(tmp_path / "a.png", MASK.astype(kind))
    with pytest.raises(LanternError, match=r"a\.png holds only 0 and 1.*255"):
        read_mask(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    for read in (read_image, read_mask, read_grey):
        with pytest.raises(LanternError, match=r"bad\.png is no image"):
            read(tmp_path / "bad.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_images_cut_short_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"cut.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(LanternError, match=rf"cut\.{suffix}"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (10000, 9500), (60000, 60000)])
def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path, width: int, height: int) -> None:
    with pytest.raises(LanternError, match=r"bomb\.png has.*pixels.*64 megapixels"):
        read_image(blank_png(tmp_path / "bomb.png", width, height))


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")


def test_to_rgb_leaves_its_argument_alone() -> None:
    image = Image.fromarray(COLOURS[..., 0])
    assert to_rgb(image).mode == "RGB" and image.mode == "L"


def test_images_are_listed_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "sub/c.webp", "._a.jpg", ".cache/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == ["a.JPG", "b.png", "sub/c.webp"]


def test_a_hidden_parent_hides_nothing(tmp_path: Path) -> None:
    save(tmp_path / ".data" / "a.png", COLOURS)
    assert len(list_images(tmp_path / ".data")) == 1


def test_folders_missing_and_empty_are_named(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="none does not exist"):
        list_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("x")
    with pytest.raises(LanternError, match=r"empty has no images.*\.jpg"):
        list_images(tmp_path / "empty")


def test_two_files_of_one_stem_are_named(tmp_path: Path) -> None:
    for name in ("x/a.jpg", "x/a.png", "a.png"):
        save(tmp_path / name, COLOURS)
    with pytest.raises(LanternError, match=r"two files called x/a: a\.jpg and a\.png"):
        by_stem(tmp_path)


@pytest.mark.parametrize(("count", "text"), [(1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2 and 1 more"), (0, "")])
def test_few(count: int, text: str) -> None:
    assert few([str(number) for number in range(count)]) == text


def test_pairs_are_matched_by_stem(tmp_path: Path) -> None:
    names = ["birds/003", "birds/1.b", "cat"]
    images = {name: RNG.integers(0, 256, (4 + index, 5, 3), dtype=np.uint8) for index, name in enumerate(names)}
    for index, name in enumerate(names):
        save(tmp_path / "images" / f"{name}.{('png', 'bmp', 'PNG')[index]}", images[name])
        mask = images[name][..., 0] > 127
        save(tmp_path / "masks" / f"{name}.{('gif', 'png', 'bmp')[index]}", mask.astype(np.uint8) * 255)
    pairs = MaskedImages(tmp_path / "images", tmp_path / "masks")
    assert len(pairs) == 3 and pairs.names == names
    for name, pair in zip(names, pairs, strict=True):
        assert pair.name == name
        assert np.array_equal(pair.image, images[name])
        assert np.array_equal(pair.mask, images[name][..., 0] > 127)
    assert pairs[-1].name == "cat"


def test_partners_missing_are_counted_and_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        save(tmp_path / "images" / f"{name}.png", COLOURS)
    for name in ("e", "f"):
        save(tmp_path / "masks" / f"{name}.png", MASK)
    words = r"4 of 5 images have no mask \(a, b, c and 1 more\); 1 of 2 masks have no image \(f\)"
    with pytest.raises(LanternError, match=words):
        MaskedImages(tmp_path / "images", tmp_path / "masks")


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", COLOURS)
    save(tmp_path / "masks" / "a.png", MASK.T.copy())
    pairs = MaskedImages(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(LanternError, match=r"masks/a\.png is 6x9 pixels, its image 9x6"):
        pairs[0]
