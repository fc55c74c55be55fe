"""What stands out in an image by its colours alone: two classical measures of saliency, added and cut."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from segmentation.baselines.border_colour import border_colour_saliency, otsu_masks
from segmentation.baselines.minimum_barrier import minimum_barrier_saliency
from segmentation.components import drop_small, find_components

_PART = 0.2


def standing_out(images: Tensor) -> Tensor:
    """Masks, bool (B, H, W), of what stands out in ``images`` (B, 3, H, W) in [-1, 1], by colour alone.

    Otsu's threshold on the mean of two classical measures, the minimum barrier distance and the distance from the border's
    colours; holes are filled, and parts smaller than a fifth of the largest left out.
    """
    masks = otsu_masks(minimum_barrier_saliency(images) + border_colour_saliency(images))
    filled = [torch.from_numpy(ndimage.binary_fill_holes(mask)) for mask in masks.cpu().numpy()]
    return drop_small(find_components(torch.stack(filled).to(images.device)), _PART, strict=False)
