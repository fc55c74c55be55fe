"""The sheet of samples as HTML: a card each, its pictures inside it, so that a moved slider leaves nothing on the disk."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
from PIL import Image, ImageDraw

from explorer.closer import FAILED, OFF, CloserLook
from explorer.estimates import Estimate, duration
from explorer.ui import render
from explorer.views import MaskSheet

CHOOSE = """
element.addEventListener("click", (event) => {
  const card = event.target.closest("[data-sample]");
  if (!card) return;
  for (const other of element.querySelectorAll("[data-sample]")) other.setAttribute("aria-pressed", String(other === card));
  trigger("click", { sample: Number(card.dataset.sample) });
  if (window.innerWidth < 900) document.querySelector("#closer")?.scrollIntoView({ behavior: "smooth" });
});
"""
"""Runs in the browser: a click on a card says which it was."""
LOOK_SIDE = 168
_CONTROL = re.compile(r'(?<=</)button(?=>)|(?<=<)button type="button"(?= class="sample)')
_SIGNS = {"passed": "✓", FAILED: "✕", OFF: "–"}


def data_uri(pixels: render.Pixels, file_format: str = "JPEG") -> str:
    """``pixels`` (H, W, 3) as an address that holds the picture itself; no file is made."""
    stream = io.BytesIO()
    if file_format == "JPEG":
        # A sheet goes to the browser with every move of a slider: at 70 it is half as large as at 90, and looks the same.
        Image.fromarray(pixels).save(stream, "JPEG", quality=70)
    else:
        Image.fromarray(pixels).save(stream, file_format)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def mask_cards(sheet: MaskSheet, chosen: int | None) -> str:
    """The samples of ``sheet``, a card each; the one ``chosen`` for a closer look is marked. None: they are only looked at."""
    images, shifted = (render.enlarge(pictures, render.CARD_CELL) for pictures in (sheet.images, sheet.shifted))
    triples = np.stack([images, shifted, render.mask_overlay(images, sheet.raw_mask, sheet.mask)], axis=1)
    cards = "".join(
        _card(number, render.triptych(triple), sheet.rejected_by[number], sheet.explanations[number], number == chosen)
        for number, triple in enumerate(triples)
    )
    shown = f'<ol class="sheet">{cards}</ol>'
    return shown if chosen is not None else _CONTROL.sub("div", shown)


def _card(number: int, picture: render.Pixels, reason: str, explanation: str, chosen: bool) -> str:
    verdict, _, detail = explanation.partition(": ")
    picture = _crossed(picture) if reason else picture
    height, width = picture.shape[:2]
    state, sign, heading = ("rejected", "✕", verdict) if reason else ("kept", "✓", "kept")
    return (
        f'<li><button type="button" class="sample {state}" data-sample="{number}" aria-pressed="{str(chosen).lower()}">'
        f'<img src="{data_uri(picture)}" width="{width}" height="{height}" decoding="sync"'
        f' alt="Sample {number}: image, shifted image, mask">'
        f'<span class="verdict"><span aria-hidden="true">{sign}</span> {html.escape(heading)} <small>#{number}</small></span>'
        f'<span class="why">{html.escape(detail)}</span></button></li>'
    )


def _crossed(picture: render.Pixels) -> render.Pixels:
    """The mask of a rejected sample, the rightmost of its pictures, with a cross over it."""
    drawn = Image.fromarray(picture)
    pen, (width, height) = ImageDraw.Draw(drawn), drawn.size
    for line in ((width - height, 0, width, height), (width - height, height, width, 0)):
        pen.line(line, render.INK, 4)
        pen.line(line, render.PAPER, 2)
    return np.asarray(drawn)


def acceptance(found: Estimate, kept: int, made: int, seconds_per_pair: float) -> str:
    """The acceptance rate in large type, how sure it is, and what a run of ``found.wanted`` samples takes."""
    share = f'<p class="rate"><strong>{100 * found.rate:.0f}%</strong> acceptance rate</p>'
    sure = f"{kept} of {made} samples are kept; the true rate is between {100 * found.low:.0f}% and {100 * found.high:.0f}%"
    if found.candidates is None or found.seconds is None:
        run = f"At this rate {found.wanted:,} accepted samples never come: loosen a threshold, or change the direction."
    else:
        run = (
            f"{found.wanted:,} accepted samples take about {found.candidates:,} pairs, about"
            f" <strong>{duration(found.seconds)}</strong> on this machine ({1000 * seconds_per_pair:.1f} ms a pair)."
        )
    return f'{share}<p>{sure} <small>(95%)</small>.</p><p class="estimate">{run}</p>'


def closer(look: CloserLook, absent: int | None = None) -> str:
    """A sample's pictures in large, and what each filter says of it; ``absent`` is the number of one that was asked for."""
    side = LOOK_SIDE
    images = render.enlarge(np.stack([look.image, look.shifted]), side)
    overlay = render.mask_overlay(images[:1], look.raw_mask[None], look.mask[None])[0]
    pictures = (("image", images[0]), ("shifted", images[1]), ("mask", overlay))
    figures = "".join(
        f'<figure><img src="{data_uri(picture)}" width="{side}" height="{side}" decoding="sync"'
        f' alt="Sample {look.number}: {name}"><figcaption>{name}</figcaption></figure>'
        for name, picture in pictures
    )
    rows = "".join(
        f'<tr class="{check.state}"><th scope="row"><span aria-hidden="true">{_SIGNS[check.state]}</span> {check.name}</th>'
        f"<td>{check.state}</td><td>{html.escape(check.words)}</td></tr>"
        for check in look.checks
    )
    state, sign = ("rejected", "✕") if look.rejected_by else ("kept", "✓")
    said = "" if absent is None else f"<p>There is no sample {absent}: the last one, {look.number}, is shown.</p>"
    return (
        f'{said}<p class="verdict {state}"><span aria-hidden="true">{sign}</span> Sample {look.number}:'
        f" {html.escape(look.explanation)}</p>"
        f'<div class="figures">{figures}</div><table><caption>What each filter says</caption>{rows}</table>'
    )
