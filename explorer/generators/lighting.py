"""Photographs under light that falls on what stands out in them, so that a generator learns what such light does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.generators.photographs import to_signed
from explorer.generators.seeds import Draws
from segmentation.baselines.standing_out import standing_out

SMALLEST, LARGEST = 0.03, 0.6
"""Shares of the image that what stands out may take up; a photograph with less or more gets no light of its own."""
_CHUNK = 256
_KNEE = 0.97


def light_fields(photographs: Tensor) -> Tensor:
    """Where the light of each of ``photographs`` (N, 3, R, R) uint8 falls: (N, 1, R, R) int8, on the CPU.

    127 on what stands out, -127 elsewhere, with edges a pixel soft; 0 everywhere in a photograph where what stands out is
    smaller or larger than :data:`SMALLEST` or :data:`LARGEST` allow.
    """
    fields = []
    for part in photographs.cpu().split(_CHUNK):
        masks = standing_out(to_signed(part))[:, None].float()
        area = masks.mean((1, 2, 3), keepdim=True)
        soft = F.avg_pool2d(F.pad(masks, (1, 1, 1, 1), mode="replicate"), 3, 1)
        fields.append(((2 * soft - 1) * ((area >= SMALLEST) & (area <= LARGEST)) * 127).round().to(torch.int8))
    return torch.cat(fields)


def relit(images: Tensor, fields: Tensor, amounts: Tensor, exposure: Tensor | None = None) -> Tensor:
    """``images`` (B, 3, H, W) in [-1, 1] with light added along a tone curve, so that none is lost at the ends.

    ``amounts`` (B, 1, 1, 1) of the light of ``fields`` (B, 1, H, W) int8: positive makes lighter what stands out, and the rest
    darker. ``exposure`` (B, 3, 1, 1) is added to whole channels. The images come back in [-1, 1].
    """
    light = amounts * (fields.float() / 127)
    if exposure is not None:
        light = light + exposure
    return torch.tanh(torch.atanh(images.clamp(-_KNEE, _KNEE)) + light)


def random_exposure(count: int, draws: Draws) -> Tensor:
    """Exposures and tints for ``count`` images, (``count``, 3, 1, 1), for :func:`relit`."""
    return 0.4 * draws.normal(count, 1, 1, 1) + 0.15 * draws.normal(count, 3, 1, 1)
