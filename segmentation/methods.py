"""What can be scored: trained networks and classical methods, behind one face."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.baselines.border_colour import border_colour_saliency, otsu_masks
from segmentation.baselines.centre import centre_saliency
from segmentation.baselines.hierarchical import hierarchical_saliency
from segmentation.baselines.minimum_barrier import minimum_barrier_saliency
from segmentation.baselines.robust_background import robust_background_saliency
from segmentation.baselines.sparse_coding import sparse_coding_saliency
from segmentation.baselines.superpixels import check_picture
from segmentation.errors import LanternError
from segmentation.inference import Prepared, Segmenter

KeyT = TypeVar("KeyT")
_Map = NDArray[np.float32]
_Image = NDArray[np.uint8]


class Method(Protocol):
    """Images in, saliency out."""

    @property
    def title(self) -> str:
        """What its row is called."""

    def prepare(self, image: _Image) -> Any:
        """``image`` (H, W, 3) as the method wants it; :class:`LanternError` if it cannot take it."""

    def stream(self, items: Iterable[tuple[KeyT, Any]]) -> Iterator[tuple[KeyT, _Map]]:
        """The saliency (H, W) in [0, 1] of every prepared image, under its key, in order."""

    def provenance(self) -> dict[str, Any]:
        """What the saliency depends on, as plain JSON types."""


class Network:
    """A trained U-Net as a method."""

    def __init__(self, segmenter: Segmenter, title: str = "") -> None:
        self.segmenter = segmenter
        self.title = title or f"U-Net {segmenter.name} ({segmenter.fingerprint[:8]})"

    def prepare(self, image: _Image) -> Prepared:
        """See :meth:`segmentation.inference.Segmenter.prepare`."""
        return self.segmenter.prepare(image)

    def stream(self, items: Iterable[tuple[KeyT, Prepared]]) -> Iterator[tuple[KeyT, _Map]]:
        """See :meth:`segmentation.inference.Segmenter.stream`."""
        return self.segmenter.stream(items)

    def provenance(self) -> dict[str, Any]:
        """The weights and their fingerprint, how images are shown, and what the file says of its training."""
        return {"kind": "network", **self.segmenter.provenance(), "made_by": self.segmenter.made_by}


@dataclasses.dataclass(frozen=True)
class Classical:
    """A method without learning."""

    title: str
    """What its row is called."""
    source: str
    """Where it was published."""
    function: Callable[[_Image], _Map]
    """``(H, W, 3) uint8`` to ``(H, W)`` in [0, 1]."""

    def prepare(self, image: _Image) -> _Image:
        """The image itself; :class:`LanternError` if it is under 8 x 8 pixels."""
        check_picture(image)
        return image

    def stream(self, items: Iterable[tuple[KeyT, _Image]]) -> Iterator[tuple[KeyT, _Map]]:
        """Image by image."""
        return ((key, self.function(image)) for key, image in items)

    def provenance(self) -> dict[str, Any]:
        """The method's name and source."""
        return {"kind": "classical", "method": self.title, "source": self.source}


def _of_tensors(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[_Image], _Map]:
    def saliency(image: _Image) -> _Map:
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
        return np.asarray(function(tensor)[0].clamp(0, 1).numpy(), np.float32)

    return saliency


def _border_masks(images: torch.Tensor) -> torch.Tensor:
    return otsu_masks(border_colour_saliency(images)).float()


CLASSICAL = {
    "centre": Classical("centre prior", "a Gaussian of a quarter of each side", centre_saliency),
    "border": Classical("border colour", "this program", _of_tensors(border_colour_saliency)),
    "border-otsu": Classical("border colour, cut by Otsu", "this program", _of_tensors(_border_masks)),
    "mbd": Classical("MB+", "Zhang et al., 2015, simplified", _of_tensors(minimum_barrier_saliency)),
    "hs": Classical("HS", "Yan et al., 2013, written anew", hierarchical_saliency),
    "wctr": Classical("wCtr", "Zhu et al., 2014, written anew", robust_background_saliency),
    "wsc": Classical("WSC", "Li et al., 2015, written anew", sparse_coding_saliency),
}
"""The classical methods by the names that the command line knows them by."""


def classical(name: str) -> Classical:
    """The method of :data:`CLASSICAL` called ``name``; :class:`LanternError` lists those there are."""
    if name not in CLASSICAL:
        raise LanternError(f"no method is called {name}", f"Known: {', '.join(CLASSICAL)}.")
    return CLASSICAL[name]
