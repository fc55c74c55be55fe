"""How far samples are from photographs while a generator is fitted: what the state to keep is chosen by."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from explorer.generators.features import FeatureNetwork, load_features, pooled_features
from explorer.generators.photographs import to_signed
from explorer.generators.pocket import PocketGenerator
from explorer.generators.quality import frechet_distance, near_duplicates, neighbour_distances
from explorer.generators.seeds import source_for
from segmentation.precision import autocast

_BATCH = 128
_MOST = 2048


class Judge:
    """Compares a generator's samples with as many ``photographs`` (N, 3, R, R) uint8, at most 2,048.

    The samples' latent codes follow from ``seed`` and are the same every time. Features are the shipped ones unless
    ``network`` is given.
    """

    def __init__(self, photographs: Tensor, seed: int, device: torch.device, network: FeatureNetwork | None = None) -> None:
        self.seed, self.device = seed, device
        self.network = (load_features() if network is None else network).to(device)
        own = photographs[:_MOST]
        self._features = pooled_features(self.network, (to_signed(part) for part in own.split(_BATCH)))
        self._nearest = neighbour_distances(self._features, 1)[:, 0]

    def judge(self, generator: PocketGenerator) -> dict[str, float]:
        """The Frechet distance of samples and photographs, smaller is better, and the samples' share of near-duplicates.

        See :func:`explorer.generators.quality.frechet_distance` and :func:`~explorer.generators.quality.near_duplicates`.
        """
        own = pooled_features(self.network, self._samples(generator))
        nearest = neighbour_distances(own, 1)[:, 0]
        return {"frechet": frechet_distance(own, self._features), "near_duplicates": near_duplicates(nearest, self._nearest)}

    def _samples(self, generator: PocketGenerator) -> Iterator[Tensor]:
        codes = torch.randn(len(self._features), generator.latent_dim, generator=source_for(self.seed, "judged"))
        for part in codes.split(_BATCH):
            with torch.no_grad(), autocast(self.device, "float32"):
                images = generator.generate(part.to(self.device))
            yield images
