"""Picture files that say what made them: PNG (text), GIF (comment), WebP (Exif description)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageStat
from PIL.PngImagePlugin import PngInfo

from segmentation.errors import LanternError, require
from segmentation.files import replacing

Stamp = Mapping[str, str]
"""What made a picture, by name: generator, fingerprint, direction, magnitude, seed, command."""
_DESCRIPTION = ExifTags.Base.ImageDescription
_WEBP_LONGEST = 16383
_COLOURS_FROM = 2**17
"""Pixels of which the colours of a GIF are chosen: all would take seconds, and give much the same."""


def write_png(path: Path, picture: NDArray[np.uint8], stamp: Stamp) -> None:
    """Replace the file ``path`` by ``picture`` (H, W, 3), with a text for each entry of ``stamp``."""
    text = PngInfo()
    for name, value in stamp.items():
        text.add_itxt(name, value)
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, "PNG", pnginfo=text, optimize=True)


def write_webp(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    stamp: Stamp,
    milliseconds: Sequence[int] = (),
    quality: int = 90,
) -> None:
    """Replace the file ``path`` by ``frames`` (H, W, 3); several are shown for ``milliseconds`` each, again and again.

    ``quality`` is 0 to 100, as of JPEG. Errors: :class:`LanternError` if the file cannot be written or a side is too long.
    """
    height, width = frames[0].shape[:2]
    fits = max(height, width) <= _WEBP_LONGEST
    require(fits, f"a WebP of {width} x {height} pixels is too large", f"Choose at most {_WEBP_LONGEST} a side.")
    exif = Image.Exif()
    exif[_DESCRIPTION] = json.dumps(dict(stamp))
    options: dict[str, Any] = {"quality": quality, "method": 4, "exif": exif}
    first, *others = [Image.fromarray(frame) for frame in frames]
    if others:
        options |= {"save_all": True, "append_images": others, "duration": list(milliseconds), "loop": 0}
    with replacing(path) as temporary:
        first.save(temporary, "WEBP", **options)


def write_gif(path: Path, frames: Sequence[NDArray[np.uint8]], stamp: Stamp, milliseconds: Sequence[int]) -> None:
    """Replace the file ``path`` by ``frames`` (H, W, 3), shown for ``milliseconds`` (multiples of 10) each, again and again.

    The 256 colours of the format are chosen once for all frames, so that what stands still does not flicker.
    """
    palette = _common_palette(frames)
    first, *others = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with replacing(path) as temporary:
        first.save(
            temporary,
            "GIF",
            save_all=True,
            append_images=others,
            duration=list(milliseconds),
            loop=0,
            comment=json.dumps(dict(stamp)).encode(),
        )


def _common_palette(frames: Sequence[NDArray[np.uint8]]) -> Image.Image:
    spread = np.linspace(0, len(frames) - 1, min(len(frames), 9)).round().astype(int)
    pixels = np.concatenate([frames[index] for index in spread]).reshape(1, -1, 3)
    some = Image.fromarray(np.ascontiguousarray(pixels[:, :: -(-pixels.shape[1] // _COLOURS_FROM)]))
    # The octree is better where there are many colours, the median cut where there are few or none.
    palettes = [some.quantize(256, method) for method in (Image.Quantize.FASTOCTREE, Image.Quantize.MEDIANCUT)]
    return min(palettes, key=lambda palette: _difference(some, some.quantize(palette=palette, dither=Image.Dither.NONE)))


def _difference(first: Image.Image, second: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(first, second.convert("RGB"))).sum2)


def read_stamp(path: Path) -> dict[str, str]:
    """What made the picture ``path``, as :func:`write_png` and the others wrote it; empty if nobody did.

    Errors: :class:`LanternError` if the file is missing or no picture.
    """
    require(path.is_file(), f"{path} does not exist", "Check the path.")
    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                return {str(name): str(value) for name, value in image.info.items() if isinstance(value, str)}
            said = image.info.get("comment", b"{}") if image.format == "GIF" else image.getexif().get(_DESCRIPTION, "{}")
    except (OSError, SyntaxError) as error:
        raise LanternError(f"{path} is no picture ({error})", "Give a PNG, GIF or WebP.") from error
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def spelled(command: str, options: Mapping[str, object], *, whole: bool = False) -> str:
    """The command line ``python -m explorer COMMAND`` with ``options`` by their names.

    Those that are None or empty are left out. Of an absolute path only the name is told, because pictures are passed on, unless
    the ``whole`` of it is asked for.
    """
    words, word = ["python", "-m", "explorer", command], str if whole else _word
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            # --engine.no-x, not --no-engine.x.
            place, _, last = flag.rpartition(".")
            words.append("--" + (f"{place}." if place else "") + (last if value else f"no-{last}"))
        elif isinstance(value, tuple | list):
            words += [f"--{flag}", *map(word, value)] if value else []
        elif value is not None and value != "":
            words += [f"--{flag}", word(value)]
    return shlex.join(words)


def _word(value: object) -> str:
    if isinstance(value, Path | str) and Path(value).is_absolute():
        return Path(value).name
    return str(value)
