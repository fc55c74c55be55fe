"""Arrays as the pictures and words of the page: the strip, an atlas entry, the cards of the mask sheet, the funnel."""

from __future__ import annotations

import functools
import html
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from explorer.views import MaskSheet

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

INK, PAPER, FAINT, AMBER = (24, 22, 20), (245, 240, 230), (168, 158, 142), (246, 168, 35)
KEPT, DROPPED = (86, 180, 233), (230, 97, 0)
"""Sky blue and orange: apart for every kind of colour vision; what is dropped is hatched besides."""
STRIP_CELL, CARD_CELL, RECONSTRUCTION_CELL, GAP = 124, 96, 192, 4
# A cell and its gap are 128 pixels and so whole blocks of a JPEG: equal images in different columns stay equal.
_HEADER, _PAD, _CAPTION = 32, 8, 52
_REASON_WORDS = {
    "generated": "made",
    "size": "rejected by size",
    "histogram": "rejected by histogram",
    "empty": "rejected as empty",
    "kept": "kept",
}


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


def mask_cards(sheet: MaskSheet, columns: int = 3) -> Pixels:
    """The samples of ``sheet`` as one picture (H, W, 3): image, shifted image and mask of each, and under them the verdict."""
    images, shifted = enlarge(sheet.images, CARD_CELL), enlarge(sheet.shifted, CARD_CELL)
    triples = np.stack([images, shifted, mask_overlay(images, sheet.raw_mask, sheet.mask)], axis=1)
    strips = [triptych(triple) for triple in triples]
    width, height = strips[0].shape[1] + 2 * _PAD, CARD_CELL + _CAPTION + 2 * _PAD
    rows = -(-len(strips) // columns)
    canvas = Image.new("RGB", (columns * (width + _PAD) + _PAD, rows * (height + _PAD) + _PAD), INK)
    for number, picture in enumerate(strips):
        row, column = divmod(number, columns)
        corner = (_PAD + column * (width + _PAD), _PAD + row * (height + _PAD))
        card = _card(number, picture, sheet.rejected_by[number], sheet.explanations[number], (width, height))
        canvas.paste(card, corner)
    return np.asarray(canvas)


def _card(number: int, picture: Pixels, reason: str, explanation: str, size: tuple[int, int]) -> Image.Image:
    card = Image.new("RGB", size, (34, 31, 28))
    shown = Image.fromarray(picture)
    card.paste(Image.blend(shown, Image.new("RGB", shown.size, INK), 0.4) if reason else shown, (_PAD, _PAD))
    pen = ImageDraw.Draw(card)
    colour = FAINT if reason else KEPT
    _frame(pen, size, colour, dashed=bool(reason))
    if reason:
        left, end = _PAD + shown.width - CARD_CELL, _PAD + shown.width
        pen.line((left, _PAD, end, _PAD + CARD_CELL), FAINT, 2)
        pen.line((left, _PAD + CARD_CELL, end, _PAD), FAINT, 2)
    verdict, _, detail = explanation.partition(": ")
    top = 2 * _PAD + CARD_CELL
    heading = verdict if reason else "kept"
    _sign(pen, (_PAD, top), colour, crossed=bool(reason))
    pen.text((_PAD + 18, top - 2), f"{heading}   #{number}", PAPER, _font(14))
    small = _font(12)
    for line, words in enumerate(_wrapped(detail, small, size[0] - 2 * _PAD)[:2]):
        pen.text((_PAD, top + 17 + 15 * line), words, (214, 206, 192), small)
    return card


def _frame(pen: ImageDraw.ImageDraw, size: tuple[int, int], colour: Colour, *, dashed: bool) -> None:
    width, height = size[0] - 1, size[1] - 1
    if not dashed:
        pen.rectangle((0, 0, width, height), outline=colour, width=2)
        return
    for start in range(0, max(width, height), 10):
        for line in ((start, 0, start + 5, 0), (start, height, start + 5, height)):
            pen.line(line, colour)
        for line in ((0, start, 0, start + 5), (width, start, width, start + 5)):
            pen.line(line, colour)


def _sign(pen: ImageDraw.ImageDraw, corner: tuple[int, int], colour: Colour, *, crossed: bool) -> None:
    left, top = corner
    if crossed:
        pen.line((left + 1, top + 1, left + 11, top + 11), colour, 2)
        pen.line((left + 1, top + 11, left + 11, top + 1), colour, 2)
    else:
        pen.line((left, top + 6, left + 4, top + 11, left + 12, top), colour, 3, joint="curve")


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    words = text.split()
    # Measuring is slow, and most explanations fit on a line.
    if words and font.getlength(" ".join(words)) <= width:
        return [" ".join(words)]
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def funnel_table(funnel: Mapping[str, int]) -> str:
    """HTML: the acceptance rate in large type and, below, how many samples each step took."""
    made, kept = funnel["generated"], funnel["kept"]
    rows = "".join(
        f'<tr class="{name}"><th scope="row">{html.escape(_REASON_WORDS.get(name, name))}</th>'
        f'<td class="bar"><span style="width:{100 * count / max(made, 1):.1f}%"></span></td><td>{count}</td></tr>'
        for name, count in funnel.items()
    )
    share = f"{100 * kept / max(made, 1):.0f}%"
    return (
        f'<p class="rate"><strong>{share}</strong> acceptance rate<br><small>{kept} of {made} samples are kept</small></p>'
        f'<table class="funnel"><caption>Where the samples go</caption>{rows}</table>'
    )


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
