"""The networks of the pocket generator, and their shape; :mod:`explorer.generators.pocket` says what each is for."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.configuration import Config, check_range
from segmentation.errors import require


@dataclasses.dataclass(frozen=True)
class PocketConfig(Config):
    """The shape of a pocket generator."""

    latent_dim: int = 120
    """Length d of a latent code."""
    appearance_dim: int = 16
    """How many of its last entries are the appearance; 0: none, the map alone makes the image."""
    resolution: int = 64
    """Side of an image in pixels: 64 or 128."""
    map_channels: int = 16
    """Channels of the 8x8 map between latent code and image."""
    width: int = 96
    """Channels inside the latent generator; a multiple of 8."""
    channels: int = 128
    """Channels of decoder and analysis at 8x8, half as many at each doubling of the side; a multiple of 16. The encoders have
    theirs in proportion."""

    def __post_init__(self) -> None:
        check_range("latent_dim", self.latent_dim, 1, 4096)
        check_range("appearance_dim", self.appearance_dim, 0, self.latent_dim - 1, "and less than latent_dim")
        check_range("map_channels", self.map_channels, 1, 256)
        check_range("width", self.width, 8, 2048)
        check_range("channels", self.channels, 16, 2048)
        require(self.channels % 16 == 0, f"channels is {self.channels}", "Choose a multiple of 16.")
        require(self.resolution in (64, 128), f"resolution is {self.resolution}", "Choose 64 or 128.")
        require(self.width % 8 == 0, f"width is {self.width}", "Choose a multiple of 8.")

    @property
    def structure_dim(self) -> int:
        """Length of the first part of a latent code."""
        return self.latent_dim - self.appearance_dim

    @property
    def style_width(self) -> int:
        """Length of the appearance's style, 0 without appearance."""
        return self.width if self.appearance_dim else 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of decoder and analysis from half the image's side down to 8x8."""
        return tuple(self.channels // part for part in ((4, 2, 1) if self.resolution == 64 else (8, 4, 2, 1)))


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the side."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Film(nn.Linear):
    """Scales and shifts features (B, C, H, W) by what it makes of a style (B, S); close to doing nothing at first."""

    def __init__(self, style_width: int, channels: int) -> None:
        super().__init__(style_width, 2 * channels)
        nn.init.normal_(self.weight, std=0.5 * style_width**-0.5)
        nn.init.zeros_(self.bias)

    def modulate(self, features: Tensor, style: Tensor) -> Tensor:
        """The features under ``style``."""
        gain, bias = self(style)[:, :, None, None].chunk(2, 1)
        return features * (1 + gain) + bias


class Residual(nn.Module):
    """x plus two 3x3 convolutions of it; (B, C, H, W) to the same. With a style, that stands between the two."""

    def __init__(self, channels: int, style_width: int = 0) -> None:
        super().__init__()
        self.first, self.second = conv3(channels, channels), conv3(channels, channels)
        self.film = Film(style_width, channels) if style_width else None

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """The block's value."""
        inner = self.first(F.silu(features))
        if self.film is not None and style is not None:
            inner = self.film.modulate(inner, style)
        return features + self.second(F.silu(inner))


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
    """The first parts of latent codes, (B, structure_dim), to standardised maps (B, C, 8, 8)."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        self.width = config.width
        style = 2 * config.width
        self.first = nn.Linear(config.structure_dim, config.width * 16)
        self.style = nn.Sequential(nn.Linear(config.structure_dim, style), nn.SiLU(), nn.Linear(style, style), nn.SiLU())
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
    """Maps (B, C, 8, 8), and appearances (B, appearance_dim), to images (B, 3, R, R) in (-1, 1).

    Upsampling by interpolation only: no checkerboard.
    """

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        widths, style = config.widths[::-1], config.style_width
        layers: list[nn.Module] = [conv3(config.map_channels, widths[0])]
        layers += [Residual(widths[0], style), Residual(widths[0], style)]
        for wide, narrow in pairwise(widths):
            layers += [nn.Upsample(scale_factor=2), conv3(wide, narrow), Residual(narrow, style), Residual(narrow, style)]
        self.layers = nn.ModuleList(layers)
        self.last = nn.Sequential(conv3(widths[-1], 16), nn.SiLU(), conv3(16, 3))
        if style:
            self.style = nn.Sequential(nn.Linear(config.appearance_dim, style), nn.SiLU(), nn.Linear(style, style), nn.SiLU())
            self.last_film = Film(style, 16)

    def forward(self, maps: Tensor, appearances: Tensor) -> Tensor:
        """Images for ``maps`` in ``appearances``; float32 whatever the precision inside."""
        style = self.style(appearances) if appearances.shape[1] else None
        features = maps
        for layer in self.layers:
            features = layer(features, style) if isinstance(layer, Residual) else layer(features)
        features = self.last[0](F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False))
        if style is not None:
            features = self.last_film.modulate(features, style)
        return torch.tanh(self.last[2](self.last[1](features)).float())


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
    """Standardised maps (B, C, 8, 8) to mean and log-variance of the first parts of their codes, (B, structure_dim) each."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        wide = config.channels
        self.layers = nn.Sequential(
            conv3(config.map_channels, 3 * wide // 4),
            Residual(3 * wide // 4),
            nn.Conv2d(3 * wide // 4, wide, 4, 2, 1),
            Residual(wide),
            nn.Flatten(),
            nn.Linear(wide * 16, 4 * wide),
            nn.SiLU(),
            nn.Linear(4 * wide, 2 * config.structure_dim),
        )

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, the latter kept within [-8, 4]; float32."""
        mean, log_variance = self.layers(maps).float().chunk(2, 1)
        return mean, log_variance.clamp(-8, 4)


class AppearanceEncoder(nn.Module):
    """Images (B, 3, R, R) in [-1, 1] to mean and log-variance of their appearances, (B, appearance_dim) each.

    Features are pooled under eight learned weightings of the places, and only that is looked at: what is where has no way in.
    """

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        widths = tuple(config.channels * part // 8 for part in (3, 6, 10))
        layers: list[nn.Module] = [nn.PixelUnshuffle(2 if config.resolution == 64 else 4)]
        layers += [conv3(12 if config.resolution == 64 else 48, widths[0]), Residual(widths[0])]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1), Residual(wide)]
        self.layers = nn.Sequential(*layers, Residual(widths[-1]))
        self.attention = nn.Conv2d(widths[-1], 8, 1)
        self.out = nn.Sequential(
            nn.Linear(8 * widths[-1], 2 * config.channels), nn.SiLU(), nn.Linear(2 * config.channels, 2 * config.appearance_dim)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, the latter kept within [-8, 4]; float32."""
        features = self.layers(images)
        weights = self.attention(features).float().flatten(2).softmax(2)
        pooled = torch.einsum("bkn,bcn->bkc", weights, features.float().flatten(2)).flatten(1)
        mean, log_variance = self.out(pooled).float().chunk(2, 1)
        return mean, log_variance.clamp(-8, 4)
