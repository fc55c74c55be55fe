"""The photographs of a fit, as a batch shows them: drawn at random, under random light, half of them mirrored."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.generators.lighting import light_fields, random_exposure, relit
from explorer.generators.photographs import hold_out, to_signed
from explorer.generators.recipe import FitConfig
from explorer.generators.seeds import Draws


class Batches:
    """Photographs (N, 3, R, R) uint8, of which some are held out and the others drawn from, near to ``device``.

    The last ``favoured`` of them are drawn more often, as the configuration says. No light falls before :meth:`light` has said
    where.
    """

    def __init__(self, config: FitConfig, photographs: Tensor, device: torch.device, favoured: int = 0) -> None:
        self.config, self.device = config, device
        held, kept = hold_out(torch.arange(len(photographs)), config.held_out, config.seed)
        self.held_out, self.photographs = photographs[held], _near(photographs[kept], device)
        self.favoured = (kept >= len(photographs) - favoured).nonzero()[:, 0].to(device)
        self.fields: Tensor | None = None

    def light(self, masks: Tensor) -> None:
        """Let light fall on the objects, whose ``masks`` are (M, R, R) bool, M being the number of photographs fitted to."""
        self.fields = _near(light_fields(masks), self.device)

    def __len__(self) -> int:
        return len(self.photographs)

    def index(self, count: int, draws: Draws) -> Tensor:
        """The numbers (``count``,) of photographs drawn at random."""
        everywhere = draws.integers(len(self.photographs), count)
        if not len(self.favoured) or not self.config.favoured_share:
            return everywhere
        # The favoured are drawn among all as well, so that this many more make up their share.
        common = len(self.favoured) / len(self.photographs)
        share = max(0.0, (self.config.favoured_share - common) / max(1 - common, 1e-9))
        chosen = self.favoured[draws.integers(len(self.favoured), count)]
        return chosen.where(draws.uniform(count) < share, everywhere)

    def lit(self, index: Tensor, draws: Draws, times: float = 1.0, exposed: bool = False) -> Tensor:
        """The photographs ``index`` (B,), (B, 3, R, R), under a random light ``times`` as strong as the configuration's.

        ``exposed``: under a random exposure and tint as well.
        """
        images = to_signed(self.photographs[index.to(self.photographs.device)].to(self.device))
        if self.fields is None:
            return images
        fields = self.fields[index.to(self.fields.device)].to(self.device)
        amounts = times * self.config.light * draws.normal(len(index), 1, 1, 1)
        return relit(images, fields, amounts, random_exposure(len(index), draws) if exposed else None)

    def take(self, count: int, draws: Draws) -> Tensor:
        """``count`` photographs (B, 3, R, R) under random light, half of them mirrored."""
        index = self.index(count, draws)
        return mirrored(self.lit(index, draws), draws.uniform(count, 1, 1, 1) < 0.5)

    def take_twice(self, count: int, draws: Draws, hiding: float) -> tuple[Tensor, Tensor]:
        """As :meth:`take`, and the same photographs under another light, ``hiding`` times as strong, and exposure.

        The latter is strong enough to say nothing of the former. Where there is no appearance, they are the same images.
        """
        index, mirror = self.index(count, draws), draws.uniform(count, 1, 1, 1) < 0.5
        images = mirrored(self.lit(index, draws), mirror)
        if not self.config.pocket.appearance_dim:
            return images, images
        return images, mirrored(self.lit(index, draws, hiding, exposed=True), mirror)


def mirrored(images: Tensor, mirror: Tensor) -> Tensor:
    """``images`` (B, 3, H, W), those of ``mirror`` (B, 1, 1, 1) left to right."""
    return images.flip(3).where(mirror, images).contiguous(memory_format=torch.channels_last)


def _near(photographs: Tensor, device: torch.device) -> Tensor:
    """``photographs`` on ``device``, unless they would take more than half of the memory that is free there."""
    if device.type != "cuda":
        return photographs
    free, _ = torch.cuda.mem_get_info(device)
    return photographs.to(device) if photographs.nbytes < free / 2 else photographs
