"""Photographs under light that falls on the objects in them, so that a generator learns what such light does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.generators.seeds import Draws

SMALLEST, LARGEST = 0.03, 0.6
"""Shares of the image that an object may take up; a photograph with less or more gets no light."""
_CHUNK = 256
_KNEE = 0.97


def fits(masks: Tensor) -> Tensor:
    """Which of ``masks`` (N, R, R) are neither too small nor too large for an object, bool (N,)."""
    area = masks.float().mean((1, 2))
    return (area >= SMALLEST) & (area <= LARGEST)


def light_fields(masks: Tensor) -> Tensor:
    """Where the light of photographs falls whose objects have ``masks`` (N, R, R) bool: (N, 1, R, R) int8, on the CPU.

    127 on the object, -127 elsewhere, with edges a pixel soft; 0 everywhere in a photograph whose object is smaller or larger
    than :func:`fits` allows.
    """
    fields = []
    for part in masks.cpu().split(_CHUNK):
        soft = F.avg_pool2d(F.pad(part[:, None].float(), (1, 1, 1, 1), mode="replicate"), 3, 1)
        fields.append(((2 * soft - 1) * fits(part)[:, None, None, None] * 127).round().to(torch.int8))
    return torch.cat(fields)


def relit(images: Tensor, fields: Tensor, amounts: Tensor, exposure: Tensor | None = None) -> Tensor:
    """``images`` (B, 3, H, W) in [-1, 1] with light added along a tone curve, so that none is lost at the ends.

    ``amounts`` (B, 1, 1, 1) of the light of ``fields`` (B, 1, H, W) int8: positive makes lighter the object, and the rest
    darker. ``exposure`` (B, 3, 1, 1) is added to whole channels. The images come back in [-1, 1].
    """
    light = amounts * (fields.float() / 127)
    if exposure is not None:
        light = light + exposure
    return torch.tanh(torch.atanh(images.clamp(-_KNEE, _KNEE)) + light)


def random_exposure(count: int, draws: Draws) -> Tensor:
    """Exposures and tints for ``count`` images, (``count``, 3, 1, 1), for :func:`relit`."""
    return 0.4 * draws.normal(count, 1, 1, 1) + 0.15 * draws.normal(count, 3, 1, 1)
