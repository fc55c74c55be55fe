"""The pocket generator: small enough to ship, with an encoder, and fitted to anybody's photographs.

A latent code has two parts. The first says what is where: it becomes a map of 8x8 (``LatentGenerator``). The second, the
appearance, says in what colours and light: it scales and shifts the features of the ``Decoder`` that makes an image of the map,
at every place alike. Backwards, a photograph becomes a map (``Analysis``), the map the first part (``MapEncoder``), and the
photograph's pooled features the second (``AppearanceEncoder``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explorer.generators.pocket_network import (
    Analysis,
    AppearanceEncoder,
    Decoder,
    LatentGenerator,
    MapEncoder,
    PocketConfig,
)
from segmentation.errors import require
from segmentation.tensors import fingerprint, half, load_into, load_tensors, save_tensors

__all__ = ["PocketConfig", "PocketGenerator", "load_pocket", "save_pocket"]


class PocketGenerator(nn.Module):
    """All five networks and the statistics that standardise maps and appearances.

    See :class:`explorer.generators.base.Generator`.
    """

    mean: Tensor
    std: Tensor
    appearance_mean: Tensor
    appearance_root: Tensor
    appearance_inverse: Tensor

    def __init__(self, config: PocketConfig, name: str = "pocket") -> None:
        super().__init__()
        self.config, self.name = config, name
        self.latent_dim, self.resolution = config.latent_dim, config.resolution
        self.latent, self.decoder = LatentGenerator(config), Decoder(config)
        self.analysis, self.encoder = Analysis(config), MapEncoder(config)
        self.appearance = AppearanceEncoder(config) if config.appearance_dim else None
        self.register_buffer("mean", torch.zeros(1, config.map_channels, 1, 1))
        self.register_buffer("std", torch.ones(1, config.map_channels, 1, 1))
        if config.appearance_dim:
            self.register_buffer("appearance_mean", torch.zeros(config.appearance_dim))
            self.register_buffer("appearance_root", torch.eye(config.appearance_dim))
            self.register_buffer("appearance_inverse", torch.eye(config.appearance_dim))
        self.fingerprint = "unsaved"

    def generate(self, codes: Tensor) -> Tensor:
        """Images (B, 3, R, R) in [-1, 1] for ``codes`` (B, d)."""
        structures, standard = self.parts(codes)
        return self.decode(self.latent(structures), self.appearances_of(standard))

    def forward(self, codes: Tensor) -> Tensor:
        """The same as :meth:`generate`, for wrappers that call modules."""
        return self.generate(codes)

    def parts(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts (B, structure_dim) and (B, appearance_dim) of ``codes`` (B, d)."""
        return codes[:, : self.config.structure_dim], codes[:, self.config.structure_dim :]

    def appearances_of(self, standard: Tensor) -> Tensor:
        """Appearances as the decoder takes them, for the second parts of codes (B, appearance_dim), which are N(0, I)."""
        if self.appearance is None:
            return standard
        return self.appearance_mean + standard.float() @ self.appearance_root

    def standardise(self, appearances: Tensor) -> Tensor:
        """The second parts of codes for ``appearances`` (B, appearance_dim): what :meth:`appearances_of` undoes."""
        if self.appearance is None:
            return appearances
        return (appearances.float() - self.appearance_mean) @ self.appearance_inverse

    def latent_weights(self) -> Tensor:
        """The weights (rows, d) that meet a latent code first, see :mod:`explorer.directions.decompositions`.

        Those of ``latent.first`` and ``latent.style`` for the first part, those of ``decoder.style`` behind
        :meth:`appearances_of` for the second.
        """
        style = self.latent.style[0]
        assert isinstance(style, nn.Linear)
        parts = [torch.cat([self.latent.first.weight, style.weight])]
        if self.appearance is not None:
            meets = self.decoder.style[0]
            assert isinstance(meets, nn.Linear)
            parts.append(meets.weight @ self.appearance_root.T)
        return torch.block_diag(*parts)

    def fit_appearances(self, mean: Tensor, covariance: Tensor) -> None:
        """Let N(0, I) become the Gaussian of ``mean`` (A,) and ``covariance`` (A, A), A being appearance_dim, float64."""
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp(min=1e-6)
        self.appearance_mean.copy_(mean)
        self.appearance_root.copy_(vectors @ values.sqrt().diag() @ vectors.T)
        self.appearance_inverse.copy_(vectors @ values.rsqrt().diag() @ vectors.T)

    def decode(self, maps: Tensor, appearances: Tensor) -> Tensor:
        """Images for standardised ``maps`` (B, C, 8, 8) in ``appearances`` (B, appearance_dim)."""
        images: Tensor = self.decoder(maps.float() * self.std + self.mean, appearances)
        return images

    def appearances(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, appearance_dim) of the appearances of ``images``; empty (B, 0) without appearance."""
        if self.appearance is None:
            nothing = images.new_zeros(len(images), 0)
            return nothing, nothing
        mean, log_variance = self.appearance(images)
        return mean, log_variance

    def encode(self, images: Tensor) -> Tensor:
        """Mean latent codes (B, d) for ``images`` (B, 3, R, R) in [-1, 1]."""
        structures, _ = self.encoder((self.analysis(images) - self.mean) / self.std)
        return torch.cat([structures, self.standardise(self.appearances(images)[0])], 1)


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
    config = header.get("config")
    if isinstance(config, dict):
        # Files from before there was an appearance do not speak of it.
        config = {"appearance_dim": 0, **config}
    generator = PocketGenerator(PocketConfig.from_json(config), str(header.get("name", path.stem)))
    load_into(generator, tensors, str(path))
    generator.fingerprint = fingerprint(tensors, header)
    return generator.eval().requires_grad_(False)
