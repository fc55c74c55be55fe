"""BigBiGAN's generator of 128 px layer for layer, under the names of the ported checkpoint (Donahue and Simonyan, 2019).

Weights are divided by their spectral norm at every use, as in training. This says what a checkpoint means; what makes images is
the folded form in ``bigbigan_folding.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.configuration import check_range

LATENT_DIM, CHUNK, SHARED, RESOLUTION, SIDE = 120, 20, 128, 128, 4
MIN_WIDTH = 4
"""With fewer channels the attention has no query."""
FACTORS = (16, 16, 8, 4, 2, 1)
"""Channels before and after the five blocks, in widths."""
_CLASSES = 1000
_ATTENTION = 3


def spectral_norm(weight: Tensor, left: Tensor) -> Tensor:
    """The scalar that ``weight`` (out, ...) is divided by: one power iteration from the stored vector ``left`` (1, out)."""
    matrix = weight.flatten(1)
    right = _normalised(left @ matrix)
    along = right @ matrix.T
    return (along @ _normalised(along).T).squeeze()


def _normalised(vector: Tensor) -> Tensor:
    return vector / vector.norm().clamp(min=1e-4)


class SpectralConv2d(nn.Conv2d):
    """A convolution that keeps the side, with spectral normalisation."""

    u0: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2, bias=bias)
        self.register_buffer("u0", torch.randn(1, outputs))
        self.register_buffer("sv0", torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        return self._conv_forward(features, self.weight / spectral_norm(self.weight, self.u0), self.bias)


class SpectralLinear(nn.Linear):
    """A linear layer with spectral normalisation."""

    u0: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.register_buffer("u0", torch.randn(1, outputs))
        self.register_buffer("sv0", torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in) to (B, out)."""
        return F.linear(features, self.weight / spectral_norm(self.weight, self.u0), self.bias)


class ConditionalNorm(nn.Module):
    """Normalisation by stored statistics, then gain and bias that are linear in a condition (B, 148)."""

    stored_mean: Tensor
    stored_var: Tensor
    eps = 1e-4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = SpectralLinear(SHARED + CHUNK, channels, bias=False)
        self.bias = SpectralLinear(SHARED + CHUNK, channels, bias=False)
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        normal = F.batch_norm(features, self.stored_mean, self.stored_var, eps=self.eps)
        return normal * (1 + self.gain(condition))[:, :, None, None] + self.bias(condition)[:, :, None, None]


class OutputNorm(nn.Module):
    """Normalisation by stored statistics with a plain gain and bias."""

    stored_mean: Tensor
    stored_var: Tensor
    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return F.batch_norm(features, self.stored_mean, self.stored_var, self.gain, self.bias, eps=self.eps)


class Block(nn.Module):
    """A residual block that doubles the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = SpectralConv2d(inputs, outputs, 3), SpectralConv2d(outputs, outputs, 3)
        self.conv_sc = SpectralConv2d(inputs, outputs, 1)
        self.bn1, self.bn2 = ConditionalNorm(inputs), ConditionalNorm(outputs)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B, in, H, W) under a condition (B, 148) to (B, out, 2H, 2W)."""
        inner = self.conv1(F.interpolate(F.relu(self.bn1(features, condition)), scale_factor=2))
        inner = self.conv2(F.relu(self.bn2(inner, condition)))
        return inner + self.conv_sc(F.interpolate(features, scale_factor=2))


class Attention(nn.Module):
    """Every place looks at every place, on half the side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = SpectralConv2d(channels, channels // 8, 1, bias=False)
        self.phi = SpectralConv2d(channels, channels // 8, 1, bias=False)
        self.g = SpectralConv2d(channels, channels // 2, 1, bias=False)
        self.o = SpectralConv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        queries = self.theta(features).flatten(2)
        keys = F.max_pool2d(self.phi(features), 2).flatten(2)
        values = F.max_pool2d(self.g(features), 2).flatten(2)
        weights = (queries.transpose(1, 2) @ keys).softmax(2)
        seen = (values @ weights.transpose(1, 2)).unflatten(2, features.shape[2:])
        return features + self.gamma * self.o(seen)


class BigBiGAN(nn.Module):
    """The generator with ``width`` channels before the output, 96 in the published one. Unfitted until it is given a state.

    Errors: :class:`LanternError` if ``width`` is below 4.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        check_range("width", width, MIN_WIDTH, 4096)
        self.width = width
        # Zeros, because to draw an embedding takes a second where only shapes are wanted.
        self.shared = nn.Embedding.from_pretrained(torch.zeros(_CLASSES, SHARED))
        self.linear = SpectralLinear(CHUNK, FACTORS[0] * width * SIDE**2)
        levels: list[list[nn.Module]] = [[Block(wide * width, narrow * width)] for wide, narrow in pairwise(FACTORS)]
        levels[_ATTENTION].append(Attention(FACTORS[_ATTENTION + 1] * width))
        self.blocks = nn.ModuleList(nn.ModuleList(layers) for layers in levels)
        self.output_layer = nn.Sequential(OutputNorm(width), nn.ReLU(), SpectralConv2d(width, 3, 3))

    def forward(self, codes: Tensor) -> Tensor:
        """Images (B, 3, 128, 128) in [-1, 1] for ``codes`` (B, 120)."""
        first, *chunks = codes.split(CHUNK, 1)
        shared = self.shared.weight[0].expand(len(codes), -1)
        features = self.linear(first).view(len(codes), -1, SIDE, SIDE)
        for (block, attention), chunk in zip(self.levels(), chunks, strict=True):
            features = block(features, torch.cat([shared, chunk], 1))
            features = features if attention is None else attention(features)
        return torch.tanh(self.output_layer(features))

    def levels(self) -> Iterator[tuple[Block, Attention | None]]:
        """The block of every side from 4 px on, with the attention that follows it, if any."""
        for layers in self.blocks:
            block, attention, *_ = *layers.children(), None
            assert isinstance(block, Block)
            assert attention is None or isinstance(attention, Attention)
            yield block, attention


def bigbigan_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Every key that a checkpoint of this ``width`` must have, with its shape."""
    return {name: shape for name, shape in _shapes(width).items() if not optional(name)}


def optional_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """The keys that it may also have, with their shapes: ``sv0``, where training logged the norms."""
    return {name: shape for name, shape in _shapes(width).items() if optional(name)}


def optional(name: str) -> bool:
    """Whether a checkpoint may lack the key ``name``."""
    return name.endswith(".sv0")


def _shapes(width: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in BigBiGAN(width).state_dict().items()}
