"""Photographs with their colours and light taken at random, to learn from what stays: what is where."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.generators.seeds import Draws

_LIGHTS = 4


def randomise_light(images: Tensor, draws: Draws) -> Tensor:
    """``images`` (B, 3, H, W) in [-1, 1] with mixed channels, half of them as negatives, under a smooth random light.

    (B, 3, H, W) in [-1.5, 1.5]. Each image has its own mixture, contrast, and a field of light that varies over a quarter
    of the side; whether an object is lighter than its background can no longer be told. ``draws`` gives the randomness and
    lives where the images are.
    """
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return draws.uniform(count, 1, 1, 1) * (high - low) + low

    mixture = 0.25 * draws.normal(count, 3, 3) + 0.8 * torch.eye(3, device=images.device)
    mixed = torch.einsum("bij,bjhw->bihw", mixture, images)
    sign = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    light = F.interpolate(
        0.6 * draws.normal(count, 1, _LIGHTS, _LIGHTS), size=images.shape[2:], mode="bicubic", align_corners=False
    )
    lit = sign * mixed * uniform(0.6, 1.3) + light + uniform(-0.3, 0.3)
    return lit.clamp(-1.5, 1.5).contiguous(memory_format=torch.channels_last)
