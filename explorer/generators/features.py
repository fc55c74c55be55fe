"""Image features learned without labels: what a discriminator sees images through, and what images are compared by.

The network is fitted by :mod:`explorer.generators.feature_fitting`, to photographs of which nothing else is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.registry import ASSETS
from segmentation.errors import require
from segmentation.precision import autocast, placed
from segmentation.tensors import fingerprint, half, load_into, load_tensors, save_tensors

WIDTHS = (32, 64, 128, 256)
"""Channels of the four maps, finest first; their strides are 2, 4, 8 and 16."""
POOLED = WIDTHS[-2] + WIDTHS[-1]
"""Length of a row of :func:`pooled_features`."""
_SMALLEST = 32


class Block(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut; (B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """The block's value, at least 0."""
        inner = F.relu(self.first_norm(self.first(features)))
        # Rounded up as the convolution does it, so that odd sides fit.
        near = F.avg_pool2d(features, self.stride, ceil_mode=True) if self.stride > 1 else features
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(near))


class FeatureNetwork(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], H and W at least 32, to four maps; see ``WIDTHS``.

    ``resolution`` is the side of the photographs that it was fitted to, ``fingerprint`` changes with any weight.
    """

    def __init__(self, resolution: int = 64) -> None:
        super().__init__()
        self.resolution, self.fingerprint = resolution, "unsaved"
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        inputs = (WIDTHS[0], *WIDTHS)
        self.blocks = nn.ModuleList([Block(inputs[i], WIDTHS[i], 2 if i else 1) for i in range(len(WIDTHS))])

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four maps, (B, C, H / stride, W / stride), at least 0, finest first."""
        fits = images.dim() == 4 and images.shape[1] == 3 and min(images.shape[2:]) >= _SMALLEST
        remedy = f"Features are of images (N, 3, H, W), H and W at least {_SMALLEST}."
        require(fits, f"the images have shape {tuple(images.shape)}", remedy)
        features = F.relu(self.stem_norm(self.stem(images)))
        maps = []
        for block in self.blocks:
            features = block(features)
            maps.append(features)
        return maps


def save_features(network: FeatureNetwork, path: Path, provenance: dict[str, Any] | None = None) -> None:
    """Write ``network`` to ``path``: safetensors, float16; its resolution and what made it in the header."""
    header = {"kind": "feature network", "resolution": network.resolution, "provenance": provenance or {}}
    save_tensors(path, half(network.state_dict()), header)


def load_features(path: Path = ASSETS / "features.safetensors") -> FeatureNetwork:
    """The feature network in ``path``, ready to use and frozen, float32 in memory; by default the shipped one.

    Errors: :class:`LanternError` if the file is missing, cut short, or holds something else.
    """
    tensors, header = load_tensors(path)
    require(
        header.get("kind") == "feature network",
        f"{path} holds {header.get('kind', 'something else')}, not a feature network",
        "Give a file that fit-features wrote (features.safetensors).",
    )
    network = FeatureNetwork(int(header.get("resolution", 64)))
    load_into(network, tensors, str(path))
    network.fingerprint = fingerprint(tensors, header)
    return placed(network.eval().requires_grad_(False), torch.device("cpu"))


@torch.no_grad()
def pooled_features(network: FeatureNetwork, batches: Iterable[Tensor]) -> Tensor:
    """The spatial means of the two deepest maps, (N, 384) float32 on the CPU, of images that come in batches.

    Images (B, 3, H, W) in [-1, 1] of any side are first scaled to the network's resolution, so that generators of different
    sides are measured alike. They are moved to where the network is.
    """
    parts = [torch.empty(0, POOLED)]
    for images in batches:
        own = at_resolution(network, images)
        with autocast(own.device, "float32"):
            deepest = network(own)[-2:]
        parts.append(torch.cat([features.float().mean((2, 3)) for features in deepest], 1).cpu())
    return torch.cat(parts)


def at_resolution(network: FeatureNetwork, images: Tensor) -> Tensor:
    """``images`` (B, 3, H, W) scaled to the side that ``network`` was fitted to, and on its device."""
    images = images.to(network.stem.weight.device)
    side = (network.resolution, network.resolution)
    if images.shape[2:] == side:
        return images
    return F.interpolate(images, size=side, mode="bilinear", align_corners=False, antialias=True)


def feature_distance(network: FeatureNetwork, images: Tensor, others: Tensor) -> Tensor:
    """How unlike ``images`` and ``others``, both (B, 3, H, W) in [-1, 1], look: (B,) between 0 and 2, differentiable.

    In each map every position's features are scaled to length 1, and their squared distances are averaged over the map;
    the distance is the mean over the maps (the unweighted form of Zhang et al., 2018, "The Unreasonable Effectiveness of
    Deep Features as a Perceptual Metric").
    """
    pairs = zip(network(images), network(others), strict=True)
    distances = [(F.normalize(a.float()) - F.normalize(b.float())).pow(2).sum(1).mean((1, 2)) for a, b in pairs]
    return torch.stack(distances).mean(0)
