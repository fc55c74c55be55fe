"""Saliency drawn to the edges of its image afterwards: off unless asked for, and named in every row that it made."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import require

KINDS = ("none", "bilateral", "crf")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_Map = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class RefinementConfig(Config):
    """What is done to a saliency map after the network or method has made it."""

    kind: str = "none"
    """``none``; ``bilateral``: each pixel takes the mean of what is near it and as light; ``crf``: mean-field steps of a
    conditional random field with such a neighbourhood and a plain one."""
    space: float = 0.04
    """How far near is: a standard deviation, as a share of the image's longer side."""
    light: float = 0.08
    """How alike as light is: a standard deviation, as a share of the range from black to white."""
    steps: int = 5
    """Mean-field steps of ``crf``."""
    strength: float = 4.0
    """Weight of the neighbourhood in ``crf``, beside 1 for what the map says by itself."""

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        check_range("space", self.space, 0.002, 1)
        check_range("light", self.light, 0.01, 1)
        check_range("steps", self.steps, 1, 100)
        check_range("strength", self.strength, 0, 100)

    @property
    def title(self) -> str:
        """How a row that was refined is called, "" if nothing is done."""
        return {"none": "", "bilateral": "bilateral refinement", "crf": "CRF-like refinement"}[self.kind]


def refine(image: NDArray[np.uint8], saliency: _Map, config: RefinementConfig) -> _Map:
    """``saliency`` (H, W) in [0, 1] as ``config`` has it drawn to the edges of ``image`` (H, W, 3) uint8; also in [0, 1].

    Neighbourhoods are blurred in a bilateral grid of place and luma (Chen, Paris and Durand, 2007), not pair by pixel pair;
    ``crf`` is the mean field of Krähenbühl and Koltun (2011) with one lightness in place of three colours. Errors:
    :class:`LanternError` if the shapes differ.
    """
    fits = image.ndim == 3 and image.shape[2] == 3 and image.shape[:2] == saliency.shape
    require(fits, f"the image has the shape {image.shape}, the saliency {saliency.shape}", "Give the image it was made from.")
    if config.kind == "none":
        return saliency
    grid = _Grid(image, config)
    if config.kind == "bilateral":
        return grid.blurred(saliency).clip(0, 1)
    own: _Map = np.log(saliency.clip(1e-3, 1 - 1e-3) / (1 - saliency).clip(1e-3, 1 - 1e-3))
    belief = saliency
    for _ in range(config.steps):
        votes = 2 * belief - 1
        around = 0.75 * grid.blurred(votes) + 0.25 * ndimage.gaussian_filter(votes, 1.5)
        belief = (1 / (1 + np.exp(-(own + config.strength * around)))).astype(np.float32)
    return belief


class _Grid:
    """A bilateral grid over an image: one cell a standard deviation, so that a blur of one cell is the neighbourhood."""

    def __init__(self, image: NDArray[np.uint8], config: RefinementConfig) -> None:
        cell = max(1.0, config.space * max(image.shape[:2]))
        luma = image.astype(np.float32) @ _LUMA / 255
        rows, columns = np.indices(luma.shape, np.float32)
        # Two cells on every side, so that the blur does not meet the grid's end.
        self._places = np.stack([rows / cell + 2, columns / cell + 2, luma / config.light + 2])
        nearest = np.rint(self._places).astype(int)
        self._shape = tuple(int(axis.max()) + 3 for axis in nearest)
        self._cells = np.ravel_multi_index(tuple(nearest), self._shape).ravel()
        weight = self._read(self._blur(np.ones(luma.shape, np.float32)))
        self._weight: _Map = np.maximum(weight, 1e-6).astype(np.float32)

    def blurred(self, values: _Map) -> _Map:
        """The mean of ``values`` (H, W) over each pixel's neighbourhood."""
        means: _Map = self._read(self._blur(values)) / self._weight
        return means

    def _blur(self, values: _Map) -> _Map:
        cells = np.bincount(self._cells, values.ravel(), int(np.prod(self._shape))).reshape(self._shape)
        blurred: _Map = ndimage.gaussian_filter(cells, 1.0, mode="constant", truncate=2.0).astype(np.float32)
        return blurred

    def _read(self, cells: _Map) -> _Map:
        read: _Map = ndimage.map_coordinates(cells, self._places, order=1)
        return read
