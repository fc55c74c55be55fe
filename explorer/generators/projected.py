"""The adversary of a pocket generator: a projected discriminator (Sauer et al., 2021) on features that stay as they are.

The features are learned without labels (:mod:`explorer.generators.features`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from explorer.generators.features import WIDTHS, FeatureNetwork, load_features
from explorer.generators.photographs import to_signed
from explorer.generators.pocket_network import conv3
from explorer.generators.seeds import Draws, source_for

_NARROW = (48, 48, 64, 96)
_MEASURED = 256


class Features(nn.Module):
    """What a discriminator sees images through: images (B, 3, H, W) in [-1, 1] to four maps, finest first.

    The maps have the widths that :class:`Heads` takes, and sides that halve from one to the next.
    """

    def taps(self, images: Tensor) -> list[Tensor]:
        """The maps that two images are compared by; here the same."""
        maps: list[Tensor] = self(images)
        return maps


class ProjectedFeatures(Features):
    """Images (B, 3, H, W) in [-1, 1] to four randomly projected, cross-scale mixed feature maps, finest first.

    The scale of the maps is measured on at most 256 of ``photographs`` (N, 3, R, R) uint8, evenly spread; the
    projection follows from ``seed``: the same of both give the same features. ``network`` is the shipped one unless another is
    given.
    """

    scales: Tensor

    def __init__(self, photographs: Tensor, seed: int, network: FeatureNetwork | None = None) -> None:
        super().__init__()
        self.network = load_features() if network is None else network
        self.lateral = nn.ModuleList([nn.Conv2d(wide, narrow, 1) for wide, narrow in zip(WIDTHS, _NARROW, strict=True)])
        self.mix = nn.ModuleList([conv3(_NARROW[i + 1], _NARROW[i]) for i in range(3)])
        source = source_for(seed, "projection")
        for layer in (*self.lateral, *self.mix):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear", generator=source)
            nn.init.zeros_(layer.bias)
        self.register_buffer("scales", _scales(self.network, photographs[:: -(-len(photographs) // _MEASURED)]))
        self.eval().requires_grad_(False)

    def taps(self, images: Tensor) -> list[Tensor]:
        """The network's maps (B, C, H / stride, W / stride), each divided by its root mean square on the photographs."""
        return [tap / scale for tap, scale in zip(self.network(images), self.scales, strict=True)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four maps."""
        maps = [layer(tap) for layer, tap in zip(self.lateral, self.taps(images), strict=True)]
        for i in (2, 1, 0):
            coarse = F.interpolate(maps[i + 1], size=maps[i].shape[2:], mode="bilinear", align_corners=False)
            # Of two maps as strong as each other the sum is as strong again.
            maps[i] = (maps[i] + self.mix[i](coarse)) * math.sqrt(0.5)
        return maps


@torch.no_grad()
def _scales(network: FeatureNetwork, photographs: Tensor) -> Tensor:
    squares = [
        torch.stack([tap.double().pow(2).mean((1, 2, 3)) for tap in network(to_signed(part))], 1)
        for part in photographs.split(64)
    ]
    return torch.cat(squares).mean(0).sqrt().clamp(min=1e-6).float()


class Heads(nn.Module):
    """Four small spectrally normalised discriminators, one a feature map; returns their maps of logits."""

    GUESSING = 10.0
    """The loss of logits that are 0 everywhere: of each head 1 for photographs, 1 for samples, half for reconstructions."""

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


def augment(images: Tensor, draws: Draws) -> Tensor:
    """Differentiable augmentation (Zhao et al., 2020): brightness, saturation, contrast, translation and a cut-out.

    (B, 3, H, W) to the same; ``draws`` gives the randomness and lives where the images are.
    """
    count, height = len(images), images.shape[2]

    def uniform() -> Tensor:
        return draws.uniform(count, 1, 1, 1)

    images = images + (uniform() - 0.5) * 0.6
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (uniform() * 1.4 + 0.3) + grey
    level = images.mean((1, 2, 3), keepdim=True)
    images = (images - level) * (uniform() * 0.6 + 0.7) + level
    moved = _translated(images, draws.integers(2 * (height // 10) + 1, count, 2) - height // 10)
    far = (torch.arange(height, device=images.device) - draws.integers(height, count, 2, 1)).abs() > height // 4 // 2
    keep = far[:, 0, :, None] | far[:, 1, None, :]
    return (moved * keep[:, None]).contiguous(memory_format=torch.channels_last)


def _translated(images: Tensor, offsets: Tensor) -> Tensor:
    """Square ``images`` (B, C, H, H) moved up and left by ``offsets`` (B, 2) pixels, mirrored at the edges."""
    side = images.shape[2]
    places = (torch.arange(side, device=images.device) + offsets[:, :, None]).abs()
    places = places.where(places < side, 2 * (side - 1) - places)
    # By rows and then by columns: going back, every pixel is reached from two at most, so that no order of adding matters.
    moved = images.gather(2, places[:, 0, None, :, None].expand_as(images))
    return moved.gather(3, places[:, 1, None, None, :].expand_as(images))
