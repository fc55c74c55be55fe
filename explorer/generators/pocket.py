"""The pocket generator: small enough to ship, with an encoder, and fitted to anybody's photographs.

A latent code becomes a map of 8x8 (``LatentGenerator``), the map an image (``Decoder``). Backwards, a photograph becomes
a map (``Analysis``) and the map a latent code (``MapEncoder``).
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.configuration import Config, check_range
from segmentation.errors import require
from segmentation.tensors import fingerprint, half, load_into, load_tensors, save_tensors

MAP_SIDE = 8
_WIDTHS = (16, 32, 64, 128)


@dataclasses.dataclass(frozen=True)
class PocketConfig(Config):
    """The shape of a pocket generator."""

    latent_dim: int = 120
    """Length d of a latent code."""
    resolution: int = 64
    """Side of an image in pixels: 64 or 128."""
    map_channels: int = 16
    """Channels of the 8x8 map between latent code and image."""
    width: int = 96
    """Channels inside the latent generator; a multiple of 8."""

    def __post_init__(self) -> None:
        check_range("latent_dim", self.latent_dim, 1, 4096)
        check_range("map_channels", self.map_channels, 1, 256)
        check_range("width", self.width, 8, 2048)
        require(self.resolution in (64, 128), f"resolution is {self.resolution}", "Choose 64 or 128.")
        require(self.width % 8 == 0, f"width is {self.width}", "Choose a multiple of 8.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of decoder and analysis from half the image's side down to 8x8."""
        return _WIDTHS[-3:] if self.resolution == 64 else _WIDTHS


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the side."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Residual(nn.Module):
    """x plus two 3x3 convolutions of it; (B, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv3(channels, channels), conv3(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """The block's value."""
        return features + self.second(F.silu(self.first(F.silu(features))))


class Modulated(nn.Module):
    """A residual block whose normalised input is scaled and shifted by the latent code's style."""

    def __init__(self, channels: int, style_width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels, affine=False)
        self.style = nn.Linear(style_width, 2 * channels)
        self.first, self.second = conv3(channels, channels), conv3(channels, channels)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Features (B, C, H, W) under a style (B, S)."""
        gain, bias = self.style(style)[:, :, None, None].chunk(2, 1)
        return features + self.second(F.silu(self.first(F.silu(self.norm(features) * (1 + gain) + bias))))


class LatentGenerator(nn.Module):
    """Latent codes (B, d) to standardised maps (B, C, 8, 8)."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        self.width = config.width
        style = 2 * config.width
        self.first = nn.Linear(config.latent_dim, config.width * 16)
        self.style = nn.Sequential(nn.Linear(config.latent_dim, style), nn.SiLU(), nn.Linear(style, style), nn.SiLU())
        self.low = nn.ModuleList([Modulated(config.width, style) for _ in range(2)])
        self.high = nn.ModuleList([Modulated(config.width, style) for _ in range(2)])
        self.out = nn.Sequential(nn.GroupNorm(8, config.width), nn.SiLU(), conv3(config.width, config.map_channels))

    def forward(self, codes: Tensor) -> Tensor:
        """Maps for ``codes``."""
        style, features = self.style(codes), self.first(codes).view(-1, self.width, 4, 4)
        for block in self.low:
            features = block(features, style)
        features = F.interpolate(features, scale_factor=2)
        for block in self.high:
            features = block(features, style)
        mapped: Tensor = self.out(features)
        return mapped


class Decoder(nn.Module):
    """Maps (B, C, 8, 8) to images (B, 3, R, R) in (-1, 1). Upsampling by interpolation only: no checkerboard."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        layers: list[nn.Module] = [conv3(config.map_channels, widths[0]), Residual(widths[0]), Residual(widths[0])]
        for wide, narrow in pairwise(widths):
            layers += [nn.Upsample(scale_factor=2), conv3(wide, narrow), Residual(narrow), Residual(narrow)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Sequential(conv3(widths[-1], 16), nn.SiLU(), conv3(16, 3))

    def forward(self, maps: Tensor) -> Tensor:
        """Images for ``maps``."""
        features = F.interpolate(self.layers(maps), scale_factor=2, mode="bilinear", align_corners=False)
        return torch.tanh(self.last(features))


class Analysis(nn.Module):
    """Images (B, 3, R, R) in [-1, 1] to maps (B, C, 8, 8) in (-3, 3)."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        widths = config.widths
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), conv3(12, widths[0]), Residual(widths[0])]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1), Residual(wide)]
        layers += [Residual(widths[-1]), nn.Conv2d(widths[-1], config.map_channels, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Maps for ``images``; float32 whatever the precision inside."""
        return torch.tanh(self.layers(images).float() / 3) * 3


class MapEncoder(nn.Module):
    """Standardised maps (B, C, 8, 8) to mean and log-variance of their latent codes, (B, d) each."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv3(config.map_channels, 96),
            Residual(96),
            nn.Conv2d(96, 128, 4, 2, 1),
            Residual(128),
            nn.Flatten(),
            nn.Linear(128 * 16, 512),
            nn.SiLU(),
            nn.Linear(512, 2 * config.latent_dim),
        )

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, the latter kept within [-8, 4]; float32."""
        mean, log_variance = self.layers(maps).float().chunk(2, 1)
        return mean, log_variance.clamp(-8, 4)


class PocketGenerator(nn.Module):
    """All four networks and the statistics that standardise the maps. See :class:`explorer.generators.base.Generator`."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: PocketConfig, name: str = "pocket") -> None:
        super().__init__()
        self.config, self.name = config, name
        self.latent_dim, self.resolution = config.latent_dim, config.resolution
        self.latent, self.decoder = LatentGenerator(config), Decoder(config)
        self.analysis, self.encoder = Analysis(config), MapEncoder(config)
        self.register_buffer("mean", torch.zeros(1, config.map_channels, 1, 1))
        self.register_buffer("std", torch.ones(1, config.map_channels, 1, 1))
        self.fingerprint = "unsaved"

    def generate(self, codes: Tensor) -> Tensor:
        """Images (B, 3, R, R) in [-1, 1] for ``codes`` (B, d)."""
        images: Tensor = self.decoder(self.latent(codes) * self.std + self.mean)
        return images

    def forward(self, codes: Tensor) -> Tensor:
        """The same as :meth:`generate`, for wrappers that call modules."""
        return self.generate(codes)

    def encode(self, images: Tensor) -> Tensor:
        """Mean latent codes (B, d) for ``images`` (B, 3, R, R) in [-1, 1]."""
        mean, _ = self.encoder((self.analysis(images) - self.mean) / self.std)
        codes: Tensor = mean
        return codes


def save_pocket(generator: PocketGenerator, path: Path, provenance: dict[str, Any] | None = None) -> None:
    """Write ``generator`` to ``path``: safetensors, float16; its configuration, name and what made it in the header."""
    header = {"kind": "pocket generator", "name": generator.name, "config": generator.config.to_json()}
    save_tensors(path, half(generator.state_dict()), {**header, "provenance": provenance or {}})


def load_pocket(path: Path) -> PocketGenerator:
    """The pocket generator in ``path``, ready to use, float32 in memory.

    Errors: :class:`LanternError` if the file is missing, cut short, or holds something else.
    """
    tensors, header = load_tensors(path)
    require(
        header.get("kind") == "pocket generator",
        f"{path} holds {header.get('kind', 'something else')}, not a pocket generator",
        "Give a file that fit-generator wrote (generator.safetensors).",
    )
    generator = PocketGenerator(PocketConfig.from_json(header.get("config")), str(header.get("name", path.stem)))
    load_into(generator, tensors, str(path))
    generator.fingerprint = fingerprint(tensors, header)
    return generator.eval().requires_grad_(False)
