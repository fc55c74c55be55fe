"""What pictures with words on them are made of: a font, colours, words that fit, images of another size."""

from __future__ import annotations

import functools
import unicodedata
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from segmentation.configuration import check_range
from segmentation.errors import require

Pictures: TypeAlias = NDArray[np.uint8]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
SHEET, INK, FAINT, MARK = (255, 255, 255), (24, 22, 20), (96, 90, 82), (0, 98, 155)
"""Dark on white, and a blue for what is chosen: every pair of them is readable, printed too."""
MAX_IMAGES = 4096
"""Images in one picture."""
_MAX_PIXELS = 2**26
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212"


@functools.cache
def font(size: int) -> Font:
    """The font that comes with Pillow, ``size`` pixels high."""
    return ImageFont.load_default(size)


@functools.cache
def _drawable(character: str) -> str:
    """``character``, or what stands in for it where the font does not have it."""
    if _known(character):
        return character
    if not character.isprintable() or character.isspace():
        return " "
    if character in _DASHES:
        return "-"
    for similar in (character, character.casefold()):
        bare = "".join(part for part in unicodedata.normalize("NFKD", similar) if not unicodedata.combining(part))
        if all(map(_known, bare)):
            return bare
    return "?"


def _known(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    # A font draws everything that it does not have as the same box.
    drawn, box = (font(16).getmask(text) for text in (character, "\U0010fffe"))
    return (drawn.size, bytes(drawn)) != (box.size, bytes(box))


def drawable(text: str) -> str:
    """``text`` on one line, with characters that the font has."""
    return " ".join("".join(map(_drawable, text)).split())


def fitted(text: str, size: int, width: float) -> str:
    """``text`` as :func:`drawable`, cut short where it is wider than ``width`` pixels in the font of ``size``."""
    text = drawable(text)
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(f"{text}...") > width:
        text = text[:-1].rstrip()
    return f"{text}..."


def enlarge(pictures: Pictures, side: int) -> Pictures:
    """Pictures (B, R, R, 3) as (B, ``side``, ``side``, 3)."""
    if pictures.shape[1] == side:
        return pictures
    resized = [Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in resized])


def shown_side(resolution: int, side: int | None, least: int) -> int:
    """The side at which images of ``resolution`` are shown: ``side``, by default as they are, but ``least`` at least."""
    if side is None:
        return max(resolution, least)
    check_range("side", side, 16, 1024, "pixels")
    return side


def blank(width: int, height: int) -> Image.Image:
    """A white picture."""
    return Image.new("RGB", (width, height), SHEET)


def check_images(count: int, side: int) -> None:
    """Refuse, before they are made, more images of ``side`` pixels than a picture can hold that programs like to open."""
    fewer = "fewer directions (a page), codes or images a row"
    require(count <= MAX_IMAGES, f"a picture of {count} images is too large", f"Choose at most {MAX_IMAGES}: {fewer}.")
    problem = f"a picture of {count} images of {side} pixels a side is too large"
    require(count * side**2 <= _MAX_PIXELS, problem, f"Choose {fewer}, or a smaller side.")
