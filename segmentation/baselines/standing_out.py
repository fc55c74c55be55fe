"""What stands out in an image by its colours alone: two classical measures of saliency, added and cut."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from segmentation.baselines.border_colour import border_colour_saliency, otsu_masks
from segmentation.baselines.minimum_barrier import minimum_barrier_saliency
from segmentation.components import drop_small, find_components

_PART = 0.2


def colour_saliency(images: Tensor) -> Tensor:
    """Saliency (B, H, W) in [0, 1], float32, of ``images`` (B, 3, H, W) in [-1, 1], by colour alone.

    The mean of two classical measures, the minimum barrier distance and the distance from the border's colours, divided by the
    largest value in its image.
    """
    saliency = minimum_barrier_saliency(images) + border_colour_saliency(images)
    return saliency / saliency.amax((1, 2), keepdim=True).clamp(min=1e-12)


def standing_out(images: Tensor) -> Tensor:
    """Masks, bool (B, H, W), of what stands out in ``images`` (B, 3, H, W) in [-1, 1], by colour alone.

    Otsu's threshold on :func:`colour_saliency`; holes are filled, and parts smaller than a fifth of the largest left out.
    """
    return solid(otsu_masks(colour_saliency(images)))


def solid(masks: Tensor) -> Tensor:
    """``masks`` (B, H, W) bool with their holes filled and without parts smaller than a fifth of the largest."""
    filled = [torch.from_numpy(ndimage.binary_fill_holes(mask)) for mask in masks.cpu().numpy()]
    return drop_small(find_components(torch.stack(filled).to(masks.device)), _PART, strict=False)
