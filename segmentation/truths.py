"""What a data set says of an image: a mask, several masks with regions to ignore, or boxes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from segmentation.datasets import open_image, read_grey, read_image, read_mask, to_rgb
from segmentation.errors import LanternError, require

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels from the upper left corner; x1 and y1 still belong to the box."""
_BLUE = (0, 0, 254)
_NEAR_BLUE = 60


class Sample(NamedTuple):
    """An image with what is true of it."""

    name: str
    """The image's name within its data set."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    mask: NDArray[np.bool_] | None
    """(H, W), True on the object; None where there are boxes alone."""
    ignored: NDArray[np.bool_] | None
    """(H, W), True where nothing is counted; None: everything is."""
    boxes: tuple[Box, ...]
    """The objects' boxes, where the data set has boxes."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """Where the truth of an image lies; read when it is asked for."""

    masks: tuple[Path, ...] = ()
    """Files of masks; of several the union counts (instances of a class)."""
    ignore: Path | None = None
    """A mask of what is not counted, as far as it is not object."""
    boxes: tuple[Box, ...] = ()
    """Boxes, in pixels of the image."""
    blue_ground: bool = False
    """The masks are pictures of the object on a blue ground, as those of Flowers-102 are."""

    def read(self, name: str, image: Path) -> Sample:
        """The sample called ``name`` whose image lies in ``image``.

        Errors: :class:`LanternError` if a file is missing or unreadable, or a mask is not as large as its image.
        """
        pixels = read_image(image)
        shape = (pixels.shape[0], pixels.shape[1])
        read = _read_blue_ground if self.blue_ground else read_mask
        masks = [_fitting(path, read(path), shape) for path in self.masks]
        mask = np.logical_or.reduce(masks) if masks else None
        ignored = None
        if self.ignore is not None and mask is not None:
            ignored = (_fitting(self.ignore, read_grey(self.ignore) > 0, shape)) & ~mask
        for box in self.boxes:
            fits = 0 <= box[0] <= box[2] and 0 <= box[1] <= box[3] and box[0] < shape[1] and box[1] < shape[0]
            require(fits, f"the box {box} of {image} lies outside its {shape[1]}x{shape[0]} pixels", "Mend its annotation.")
        return Sample(name, pixels, mask, ignored, self.boxes)


def _fitting(path: Path, mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    if mask.shape != shape:
        raise LanternError(
            f"the mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels, its image {shape[1]}x{shape[0]}",
            "Masks are as large as their images, upright as these are shown.",
        )
    return mask


def _read_blue_ground(path: Path) -> NDArray[np.bool_]:
    """True where the picture in ``path`` is not the blue (0, 0, 254) that Flowers-102 puts behind its flowers.

    JPEG smears the blue, so what is within 60 of it, as a Euclidean distance, is ground too.
    """
    with open_image(path) as image:
        colours = np.asarray(to_rgb(ImageOps.exif_transpose(image)), np.int32)
    away: NDArray[np.bool_] = ((colours - np.array(_BLUE)) ** 2).sum(2) > _NEAR_BLUE**2
    return away
