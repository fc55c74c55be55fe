"""Connected components of a whole batch of masks at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from segmentation.errors import require

CONNECTIVITIES = (4, 8)
# The neighbours that come later in reading order, as (down, right); the earlier ones see the same edges from their end.
_EDGES_4 = ((0, 1), (1, 0))
_EDGES_8 = (*_EDGES_4, (1, 1), (1, -1))


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """The N connected components of B masks, all on the device of the masks.

    Components are numbered 1 to N over the whole batch, in reading order of their first pixels: those of one image are
    consecutive, and the first image's come first.
    """

    labels: Tensor
    """Number of the component at each pixel, int32 (B, H, W); 0 is background."""
    area: Tensor
    """Pixels of each component, int64 (N,); component k is at index k - 1."""
    image: Tensor
    """Index of the image that each component belongs to, int64 (N,), never falling."""

    @property
    def largest(self) -> Tensor:
        """Pixels of the largest component of each image, int64 (B,); 0 where there is none."""
        zeros = torch.zeros(len(self.labels), dtype=torch.int64, device=self.area.device)
        return zeros.scatter_reduce_(0, self.image, self.area, "amax")

    def areas_of(self, image: int) -> list[int]:
        """Pixels of the components of the image with index ``image``, in reading order; empty for an empty mask."""
        require(
            0 <= image < len(self.labels),
            f"there is no image {image}",
            f"The batch holds {len(self.labels)}, counted from 0.",
        )
        areas: list[int] = self.area[self.image == image].tolist()
        return areas

    def large(self, share: float, *, strict: bool) -> Tensor:
        """Which components reach ``share`` (in [0, 1]) of the largest one of their image, bool (N,).

        ``strict`` asks for more than the share (the reference), otherwise the share itself is enough (the paper, 3.2).
        """
        # Dividing rounds 1 / 5 to the very number that 0.2 is written as; multiplying the share would not always.
        ratio = self.area.double() / self.largest.double()[self.image]
        return ratio > share if strict else ratio >= share

    def pixels(self, kept: Tensor) -> Tensor:
        """Foreground pixels, int64 (B,), of the masks that :meth:`select` makes of ``kept``, bool (N,)."""
        zeros = torch.zeros(len(self.labels), dtype=torch.int64, device=self.area.device)
        return zeros.index_add_(0, self.image, self.area * kept)

    def select(self, kept: Tensor) -> Tensor:
        """The masks, bool (B, H, W), that the components with True in ``kept``, bool (N,), make up."""
        table = torch.cat([kept.new_zeros(1), kept])
        return table.index_select(0, self.labels.reshape(-1)).view(self.labels.shape)


def drop_small(components: Components, share: float, *, strict: bool) -> Tensor:
    """Masks, bool (B, H, W), without the components smaller than ``share`` of their image's largest one.

    ``strict`` drops those of exactly that share too, as the reference does; the paper (section 3.2) keeps them.
    """
    return components.select(components.large(share, strict=strict))


def find_components(masks: Tensor, connectivity: int = 4) -> Components:
    """The connected components of ``masks``, bool (B, H, W); ``connectivity`` 4 joins by edges, 8 by corners too.

    Errors: :class:`LanternError` for anything but a batch of boolean masks, and for another connectivity.
    """
    require(
        masks.ndim == 3 and min(masks.shape[1:]) > 0 and masks.dtype == torch.bool,
        f"the masks are {str(masks.dtype).removeprefix('torch.')} of the shape {tuple(masks.shape)}",
        "Give a batch of boolean masks, (B, H, W).",
    )
    require(connectivity in CONNECTIVITIES, f"connectivity is {connectivity!r}", "Choose 4 (edges) or 8 (edges and corners).")
    return label_on_canvas(masks, connectivity) if masks.device.type == "cpu" else label_by_hooking(masks, connectivity)


def label_on_canvas(masks: Tensor, connectivity: int) -> Components:
    """:func:`find_components` on the CPU: all masks below each other on one canvas, labelled in a single call.

    A blank row under each mask keeps neighbours apart. It is enough for corners as well: a corner reaches one row, and
    the canvas is as wide as a mask, so that nothing lies beside one.
    """
    count, height, width = masks.shape
    canvas = np.zeros((count, height + 1, width), np.bool_)
    canvas[:, :height] = masks.numpy()
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    flat, found = ndimage.label(canvas.reshape(count * (height + 1), width), structure)
    labels = torch.from_numpy(flat).view(count, height + 1, width)
    area = torch.bincount(labels.view(-1), minlength=found + 1)[1:]
    # Numbers follow the reading order, so the highest one seen so far tells where an image's components end.
    last = labels.flatten(1).amax(1).cummax(0).values
    image = torch.searchsorted(last, torch.arange(1, found + 1, dtype=last.dtype))
    return Components(labels[:, :height].contiguous(), area, image)


def label_by_hooking(masks: Tensor, connectivity: int) -> Components:
    """:func:`find_components` on any device, without leaving it.

    Every foreground pixel starts as a tree of its own; trees hook onto neighbours with a smaller root and are flattened by
    pointer jumping (FastSV: Zhang, Azad and Hu 2020), which takes about log(pixels) rounds however long a shape winds.
    """
    _, height, width = masks.shape
    foreground = masks.reshape(-1).nonzero().view(-1)
    root = _roots(_neighbours(masks, connectivity), len(foreground))
    is_root = root == torch.arange(len(root), device=root.device)
    number = is_root.cumsum(0)[root]
    labels = torch.zeros(masks.numel(), dtype=torch.int32, device=masks.device)
    labels[foreground] = number.int()
    area = torch.bincount(number, minlength=1)[1:]
    image = foreground[is_root] // (height * width)
    return Components(labels.view(masks.shape), area, image)


def _neighbours(masks: Tensor, connectivity: int) -> Tensor:
    """Pairs of touching foreground pixels in both directions, (2, E); pixels are numbered in reading order."""
    _, height, width = masks.shape
    pixel = (masks.reshape(-1).cumsum(0) - 1).view(masks.shape)
    pairs = []
    for down, right in _EDGES_4 if connectivity == 4 else _EDGES_8:
        here = (slice(None), slice(0, max(height - down, 0)), slice(max(0, -right), width - max(0, right)))
        there = (slice(None), slice(down, None), slice(max(0, right), width + min(0, right)))
        touching = masks[here] & masks[there]
        pairs.append(torch.stack([pixel[here][touching], pixel[there][touching]]))
    forward = torch.cat(pairs, 1)
    return torch.cat([forward, forward.flip(0)], 1)


def _roots(edges: Tensor, count: int) -> Tensor:
    """The smallest pixel of each pixel's component, int64 (``count``,), from ``edges`` (2, E) in both directions."""
    parent = torch.arange(count, device=edges.device)
    own, other = edges
    while True:
        before, grandparent = parent, parent[parent]
        offered = grandparent[other]
        parent = torch.minimum(parent, grandparent)
        parent = parent.scatter_reduce(0, before[own], offered, "amin")
        parent = parent.scatter_reduce(0, own, offered, "amin")
        # Nothing moved: every parent is a root, and no edge joins two roots.
        if torch.equal(parent, before):
            return parent
