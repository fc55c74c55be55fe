"""Saliency as distance from the border's colours, times a centred Gaussian: what a segmenter has to beat."""

from __future__ import annotations

import torch
from skimage.filters import threshold_otsu
from torch import Tensor

from segmentation.errors import require

_BORDER = 0.05
_SIGMA = 0.35
_STEADY = 4e-3


def border_colour_saliency(images: Tensor) -> Tensor:
    """Saliency (B, H, W) in [0, 1], float32, of ``images`` (B, 3, H, W) in [-1, 1].

    A pixel's Mahalanobis distance from the colours within 5% of the shorter side from the border, times a Gaussian of 0.35
    of each side; divided by the largest value in its image. Errors: :class:`LanternError` if the shape is another.
    """
    fits = images.dim() == 4 and images.shape[1] == 3 and len(images) > 0 and min(images.shape[2:]) >= 3
    require(fits, f"the images have shape {tuple(images.shape)}", "Give (B, 3, H, W), sides of 3 pixels or more.")
    height, width = images.shape[2:]
    colours = images.double().permute(0, 2, 3, 1)
    band = max(1, round(_BORDER * min(height, width)))
    border = torch.ones(height, width, dtype=torch.bool, device=images.device)
    border[band:-band, band:-band] = False
    outside = colours[:, border]
    mean = outside.mean(1, keepdim=True)
    spread = outside - mean
    covariance = spread.mT @ spread / (outside.shape[1] - 1)
    # Keeps a border of one colour from making every other colour infinitely far.
    covariance = covariance + _STEADY * torch.eye(3, dtype=torch.float64, device=images.device)
    centred = colours.flatten(1, 2) - mean
    squares = ((centred @ torch.linalg.inv(covariance)) * centred).sum(2)
    distance = squares.clamp(min=0).sqrt().view(-1, height, width)
    rows, columns = (((torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5) ** 2 for side in (height, width))
    weight = torch.exp(-(rows[:, None] + columns[None, :]) / (2 * _SIGMA**2)).to(images.device)
    saliency = distance * weight
    return (saliency / saliency.amax((1, 2), keepdim=True).clamp(min=1e-12)).float()


def otsu_masks(saliency: Tensor) -> Tensor:
    """Masks, bool (B, H, W), of ``saliency`` (B, H, W), each split by Otsu's threshold; on the saliency's device."""
    masks = [torch.from_numpy(image > threshold_otsu(image)) for image in saliency.cpu().numpy()]
    return torch.stack(masks).to(saliency.device)
