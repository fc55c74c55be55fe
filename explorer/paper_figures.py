"""The paper's Figures 1 and 2 for any generator: interpretable directions as strips; images, shifted images and masks."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from explorer.atlas import StripConfig, draw_strips
from explorer.directions.catalogue import MAX_MAGNITUDE, Catalogue
from explorer.directions.samples import Samples, find_samples
from explorer.drawing import FAINT, INK, Pictures, blank, check_images, drawable, enlarge, fitted, font, shown_side
from explorer.engine import Engine
from explorer.starts import Start
from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.filters import FilterConfig
from segmentation.progress import Watcher

_LEAST_SIDE, _GAP, _TITLE, _SIDEBAR, _CAPTION = 64, 16, 30, 84, 24
_ROWS = ("G(z)", "G(z + h)", "mask")


@dataclasses.dataclass(frozen=True)
class FigureConfig(Config):
    """What stands in a figure."""

    only: tuple[int, ...] = ()
    """With directions: the indices; by default all that have a label and are not rejected."""
    across: int = 2
    """With directions: strips side by side."""
    samples: int = 8
    """With lighting: how many samples."""
    tries: int = 512
    """With lighting: how many samples are made at most to find so many accepted ones."""
    rejected: bool = False
    """With lighting: show the samples as they come, and under those that are rejected which filter does it."""

    def __post_init__(self) -> None:
        check_range("across", self.across, 1, 16)
        check_range("samples", self.samples, 1, 256)
        check_range("tries", self.tries, 1, 1_000_000)

    def directions(self, catalogue: Catalogue) -> list[int]:
        """The directions of Figure 1; :class:`LanternError` if there are none."""
        for index in self.only:
            catalogue.direction(index)
        labelled = [i for i, entry in enumerate(catalogue.entries) if entry.label and entry.status != "rejected"]
        require(bool(self.only or labelled), "no direction has a label", "Label some, or name them with --only.")
        return list(self.only) or labelled


def directions_figure(
    engine: Engine,
    catalogue: Catalogue,
    start: Start,
    strips: StripConfig,
    config: FigureConfig,
    watcher: Watcher | None = None,
) -> Pictures:
    """Directions as strips under their labels, some of them side by side, (H, W, 3) (paper, Figure 1).

    Errors: as of :func:`explorer.atlas.draw_strips` and :meth:`FigureConfig.directions`.
    """
    indices = config.directions(catalogue)
    pictures = draw_strips(engine, catalogue, indices, start, strips, watcher)
    height, width, _ = pictures[0].shape
    across = min(config.across, len(pictures))
    down = -(-len(pictures) // across)
    sheet = blank(across * (width + _GAP) + _GAP, down * (height + _TITLE + _GAP))
    pen = ImageDraw.Draw(sheet)
    for place, (index, picture) in enumerate(zip(indices, pictures, strict=True)):
        row, column = divmod(place, across)
        left, top = _GAP + column * (width + _GAP), row * (height + _TITLE + _GAP)
        label = drawable(catalogue.entries[index].label)
        title = fitted(f"{label} ({index})" if label else f"direction {index}", 18, width)
        pen.text((left, top + _TITLE - 12), title, INK, font(18), anchor="lm")
        sheet.paste(Image.fromarray(picture), (left, top + _TITLE))
    return np.asarray(sheet)


def lighting_samples(
    engine: Engine,
    catalogue: Catalogue,
    index: int,
    magnitude: float,
    start: Start,
    filters: FilterConfig,
    config: FigureConfig,
    watcher: Watcher | None = None,
) -> Samples:
    """The samples of Figure 2: the first accepted ones of those that ``start`` draws, or, with the rejected, as they come.

    Errors: :class:`LanternError` if none is accepted, or a number is out of range.
    """
    check_range("magnitude", magnitude, 0, MAX_MAGNITUDE)
    wanted = config.samples
    codes = start.draw(engine, wanted if config.rejected else max(config.tries, wanted))
    direction = catalogue.direction(index)
    only = not config.rejected
    found = find_samples(engine, direction, magnitude, codes, filters, wanted, accepted_only=only, watcher=watcher)
    remedy = "Show them with --rejected, look at more with --tries, or choose another direction or magnitude."
    require(bool(found.rejected_by), f"the filters reject all of {found.looked_at} samples of direction {index}", remedy)
    return found


def lighting_figure(samples: Samples, side: int | None = None) -> Pictures:
    """Rows of images, shifted images and masks, (H, W, 3) (paper, Figure 2); under samples stands what rejects them."""
    count, resolution = samples.images.shape[:2]
    side = shown_side(resolution, side, _LEAST_SIDE)
    check_images(3 * count, side)
    masks = np.repeat(samples.masks[..., None] * np.uint8(255), 3, axis=3)
    captions = _CAPTION if any(samples.rejected_by) else 0
    sheet = blank(_SIDEBAR + count * (side + 2), 3 * (side + 2) + captions)
    pen = ImageDraw.Draw(sheet)
    for row, pictures in enumerate((samples.images, samples.shifted, masks)):
        top = row * (side + 2)
        pen.text((_SIDEBAR - 8, top + side / 2), _ROWS[row], INK, font(16), anchor="rm")
        for column, picture in enumerate(_mask_sized(pictures, side) if row == 2 else enlarge(pictures, side)):
            sheet.paste(Image.fromarray(picture), (_SIDEBAR + column * (side + 2), top))
    if captions:
        pen.text((_SIDEBAR - 8, sheet.height - captions / 2), "rejected by", FAINT, font(13), anchor="rm")
    for column, reason in enumerate(samples.rejected_by):
        middle = (_SIDEBAR + column * (side + 2) + side / 2, sheet.height - captions / 2)
        if captions:
            pen.text(middle, fitted(reason or "-", 13, side), INK if reason else FAINT, font(13), anchor="mm")
    return np.asarray(sheet)


def _mask_sized(masks: Pictures, side: int) -> Pictures:
    """Masks as pictures (B, R, R, 3) at another side, still black and white."""
    near = np.arange(side) * masks.shape[1] // side
    return masks[:, near][:, :, near]
