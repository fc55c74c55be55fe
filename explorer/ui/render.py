"""Arrays as the pictures and words of the page: the strip, an atlas entry, a reconstruction, masks over their images."""

from __future__ import annotations

import functools
import html
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

INK, PAPER, AMBER = (24, 22, 20), (245, 240, 230), (246, 168, 35)
KEPT, DROPPED = (86, 180, 233), (230, 97, 0)
"""Sky blue and orange: apart for every kind of colour vision; what is dropped is hatched besides."""
STRIP_CELL, CARD_CELL, RECONSTRUCTION_CELL, GAP = 124, 96, 192, 4
# A cell and its gap are 128 pixels and so whole blocks of a JPEG: equal images in different columns stay equal.
_HEADER = 32


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def enlarge(pictures: Pixels, side: int) -> Pixels:
    """Pictures (B, R, R, 3) as (B, ``side``, ``side``, 3)."""
    if pictures.shape[1] == side:
        return pictures
    resized = [Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in resized])


def strip(pictures: Pixels, magnitudes: Sequence[float]) -> Pixels:
    """A walk (count, steps, R, R, 3) as one picture (H, W, 3): a code a row, its magnitude above each column."""
    count, steps = pictures.shape[:2]
    cells = enlarge(pictures.reshape(-1, *pictures.shape[2:]), STRIP_CELL).reshape(count, steps, STRIP_CELL, STRIP_CELL, 3)
    pitch = STRIP_CELL + GAP
    canvas = np.full((_HEADER + count * pitch, steps * pitch + GAP, 3), INK, np.uint8)
    for row in range(count):
        for column in range(steps):
            top, left = _HEADER + row * pitch, GAP + column * pitch
            canvas[top : top + STRIP_CELL, left : left + STRIP_CELL] = cells[row, column]
    drawn = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(drawn), _font(19)
    for column, magnitude in enumerate(magnitudes):
        centre = (GAP + column * pitch + STRIP_CELL // 2, _HEADER // 2)
        words = f"{magnitude:+.3g}" if magnitude else "0"
        pen.text(centre, words, AMBER if magnitude else PAPER, font, anchor="mm")
    return np.asarray(drawn)


def strip_row(height: int) -> int:
    """Which row of a strip, from 0 on, is ``height`` pixels below its upper edge."""
    return max(0, height - _HEADER) // (STRIP_CELL + GAP)


def reconstruction(square: Pixels, image: Pixels) -> Pixels:
    """A photograph's ``square`` and its reconstruction ``image``, each (R, R, 3), side by side: (H, W, 3)."""
    return triptych(enlarge(np.stack([square, image]), RECONSTRUCTION_CELL))


def about_error(error: float) -> str:
    """Markdown: what a reconstruction's mean squared ``error``, of pixels in [-1, 1], means."""
    levels = 127.5 * error**0.5
    return (
        f"Left what the encoder sees, right what the generator makes of its code. Mean squared error **{error:.3f}**, "
        f"of pixels from -1 to 1: a colour is off by {levels:.0f} of 255 levels (root mean square)."
    )


def triptych(pictures: Pixels) -> Pixels:
    """Pictures (N, R, R, 3) side by side with a thin line between them: (R, W, 3)."""
    _, side, _, channels = pictures.shape
    line = np.full((side, 2, channels), INK, np.uint8)
    parts = [piece for picture in pictures for piece in (picture, line)]
    return np.concatenate(parts[:-1], axis=1)


def mask_overlay(pictures: Pixels, raw_masks: NDArray[np.bool_], masks: NDArray[np.bool_]) -> Pixels:
    """``pictures`` (B, S, S, 3) in grey, their ``masks`` (B, R, R) in blue, the rest of the raw ones hatched in orange."""
    side = pictures.shape[1]
    kept, dropped = _stretch(masks, side), _stretch(raw_masks & ~masks, side)
    grey = pictures.mean(axis=3, keepdims=True) * 0.6 + 20
    drawn = np.broadcast_to(grey, pictures.shape).copy()
    drawn[kept] = 0.35 * drawn[kept] + 0.65 * np.array(KEPT)
    rows, columns = np.indices((side, side))
    stripes = (rows + columns) % 6 < 3
    drawn[dropped & stripes] = DROPPED
    return drawn.round().astype(np.uint8)


def _stretch(masks: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    index = np.arange(side) * masks.shape[1] // side
    return masks[:, index][:, :, index]


def about_direction(title: str, notes: str, scores: Mapping[str, float]) -> str:
    """Markdown: what is known about a direction, in a line."""
    figures = ", ".join(f"{plain(key)} {value:.3g}" for key, value in scores.items())
    return " · ".join(part for part in (f"**Direction {plain(title)}**", plain(notes.rstrip(".")), figures) if part)


def plain(text: str) -> str:
    """Words of a catalogue, of anybody's making, without effect on the page."""
    escaped = html.escape(text)
    for sign in "\\`*_[]#|":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
