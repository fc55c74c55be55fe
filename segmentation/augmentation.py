"""Images with their masks, changed at random while a network is trained on them; the paper trains without (off by default)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segmentation.configuration import Config, check_range


@dataclasses.dataclass(frozen=True)
class AugmentationConfig(Config):
    """How images are changed before each step; the defaults change nothing."""

    flips: bool = False
    """Mirror half of the images left to right."""
    crop: float = 1.0
    """Least side of the part that is cut out, over the image's; the part is scaled back to the whole. 1: no cutting."""
    stretch: float = 1.0
    """Most that such a part is stretched to one side or the other, as a ratio of its sides; it never leaves the image."""
    colour: float = 0.0
    """How strongly brightness, contrast, saturation and tint are changed, as a standard deviation; 0: not at all."""
    negatives: float = 0.0
    """Share of the images whose light and dark change places; their colours stay."""
    blur: float = 0.0
    """Widest blur, as the standard deviation of a Gaussian in pixels; each image has one between 0 and this."""
    noise: float = 0.0
    """Strongest noise, as a standard deviation in values from -1 to 1; each image has one between 0 and this."""

    def __post_init__(self) -> None:
        check_range("crop", self.crop, 0.1, 1)
        check_range("stretch", self.stretch, 1, 4)
        check_range("colour", self.colour, 0, 1)
        check_range("negatives", self.negatives, 0, 1)
        check_range("blur", self.blur, 0, 8, "pixels")
        check_range("noise", self.noise, 0, 2)

    @property
    def nothing(self) -> bool:
        """Whether images stay as they are."""
        return self == AugmentationConfig()


def augment_pairs(
    images: Tensor,
    masks: Tensor,
    config: AugmentationConfig,
    source: torch.Generator,
    rows: Sequence[int] | None = None,
    whole: int | None = None,
) -> tuple[Tensor, Tensor]:
    """``images`` (B, 3, H, W) in [-1, 1] and ``masks`` (B, H, W) bool, changed alike; the same shapes, ranges and kinds.

    ``source`` gives the randomness, on the CPU, so that the same one gives the same changes on every device. Where they are
    the ``rows`` of a batch of ``whole`` samples, they are changed as they would be among all of these.
    """
    if config.nothing:
        return images, masks
    count = len(images)
    chosen = list(range(count)) if rows is None else list(rows)
    boxes = _boxes(whole or count, config, source)[chosen].to(images.device)
    if not (config.crop == 1 and config.stretch == 1 and not config.flips):
        grid = F.affine_grid(boxes, [count, 1, *images.shape[2:]], align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        moved = F.grid_sample(masks[:, None].float(), grid, padding_mode="border", align_corners=False)
        masks = moved[:, 0] > 0.5
    if config.colour:
        numbers = torch.randn(whole or count, 6, 1, 1, generator=source)[chosen].mul(config.colour)
        images = _coloured(images, numbers.to(images.device))
    if config.negatives:
        inverted = torch.rand(whole or count, 1, 1, 1, generator=source)[chosen] < config.negatives
        images = _inverted(images, inverted.to(images.device))
    if config.blur:
        widths = torch.rand(whole or count, generator=source)[chosen].mul(config.blur)
        images = _blurred(images, widths.to(images.device), config.blur)
    if config.noise:
        strengths = torch.rand(whole or count, 1, 1, 1, generator=source)[chosen].mul(config.noise)
        grain = torch.randn(whole or count, *images.shape[1:], generator=source)[chosen].mul(strengths)
        images = (images + grain.to(images.device)).clamp(-1, 1)
    return images, masks


def _boxes(count: int, config: AugmentationConfig, source: torch.Generator) -> Tensor:
    """Which part of each image is seen, as ``affine_grid`` takes it: (B, 2, 3)."""
    numbers = torch.rand(count, 5, generator=source)
    side = config.crop + (1 - config.crop) * numbers[:, 0]
    ratio = torch.exp((2 * numbers[:, 1] - 1) * math.log(config.stretch) / 2)
    sizes = torch.stack([side * ratio, side / ratio], 1).clamp(max=1)
    centres = (2 * numbers[:, 2:4] - 1) * (1 - sizes)
    mirror = torch.where(numbers[:, 4] < 0.5, -1.0, 1.0) if config.flips else torch.ones(count)
    boxes = torch.zeros(count, 2, 3)
    boxes[:, 0, 0], boxes[:, 1, 1], boxes[:, :, 2] = sizes[:, 0] * mirror, sizes[:, 1], centres
    return boxes


def _coloured(images: Tensor, numbers: Tensor) -> Tensor:
    """``images`` with brightness, contrast, saturation and tint changed by ``numbers`` (B, 6, 1, 1), cut to [-1, 1]."""
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * numbers[:, 0:1].exp()
    level = images.mean((1, 2, 3), keepdim=True)
    images = level + (images - level) * numbers[:, 1:2].exp()
    return (images + numbers[:, 2:3] + 0.5 * numbers[:, 3:6]).clamp(-1, 1)


def _inverted(images: Tensor, inverted: Tensor) -> Tensor:
    """``images`` with their grey level turned round where ``inverted`` (B, 1, 1, 1) bool says so, cut to [-1, 1]."""
    grey = images.mean(1, keepdim=True)
    return torch.where(inverted, (images - 2 * grey).clamp(-1, 1), images)


def _blurred(images: Tensor, widths: Tensor, widest: float) -> Tensor:
    """``images`` (B, 3, H, W), each under a Gaussian of its own of ``widths`` (B,) pixels, at most ``widest``."""
    count, _, height, width = images.shape
    # What a Gaussian holds beyond three standard deviations is not seen; the edge cannot be mirrored beyond the image.
    radius = min(math.ceil(3 * widest), height - 1, width - 1)
    distances = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (distances / widths.clamp(min=0.05)[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    # One group of the convolution for each image, its colours as the batch.
    maps = F.pad(images, [radius] * 4, mode="reflect").transpose(0, 1)
    maps = F.conv2d(maps, weights[:, None, None, :], groups=count)
    maps = F.conv2d(maps, weights[:, None, :, None], groups=count)
    return maps.transpose(0, 1).contiguous()
