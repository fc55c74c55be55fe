"""All components of a grey image above all of its levels, as a tree; some ten times as fast as scikit-image's ``max_tree``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

LEVELS = 256
_Ints = NDArray[np.int64]


class Components(NamedTuple):
    """Components of the pixels above a level; each stands for a range of levels, as long as it neither grows nor parts."""

    above: _Ints
    """(N,): the lowest level above which it is a component."""
    below: _Ints
    """(N,): the level above which it is none any more; ``above < below``."""
    areas: _Ints
    """(N,): its pixels."""
    boxes: _Ints
    """(N, 4): x0, y0, x1, y1; the last pixels belong to it."""


def components(levels: NDArray[np.uint8]) -> Components:
    """The 8-connected components of ``levels`` (H, W) above every level from 0 on.

    Each pixel climbs to the highest of its neighbours, again and again, so that it falls to one of the peaks. What belongs to a
    peak is connected above every level; two peaks are from the highest pass between them on. So only the peaks have to be
    joined one by one, from the highest pass to the lowest: the maximum spanning tree of the peaks' graph.
    """
    peaks, number = _peaks(levels)
    dies, into = _joined(number, *_passes(levels, peaks, number))
    flat = levels.ravel().astype(np.int64)
    cells = _owner(peaks, flat, dies, into) * LEVELS + flat
    present = np.zeros((number + 1) * LEVELS, bool)
    present[cells] = True
    # What is at level 0 is above none, and comes last.
    present[number * LEVELS :] = False
    nodes = np.flatnonzero(present)
    place = np.full(present.size, nodes.size)
    place[nodes] = np.arange(nodes.size)
    owners, below = np.divmod(nodes, LEVELS)
    # Within a peak's own the next lower level comes before; the lowest goes over to the peak that takes it in.
    parents = np.arange(nodes.size) - 1
    lowest = np.ones(nodes.size, bool)
    lowest[1:] = owners[1:] != owners[:-1]
    level_of_end = dies[owners[lowest]]
    heir = _owner(into[owners[lowest]], level_of_end, dies, into)
    parents[lowest] = np.where(level_of_end > 0, place[heir * LEVELS + level_of_end], nodes.size)
    above = np.where(parents < nodes.size, below[np.minimum(parents, nodes.size - 1)], 0)
    areas, boxes = _gathered(place[cells].reshape(levels.shape), parents)
    return Components(above, below, areas, boxes)


def _peaks(levels: NDArray[np.uint8]) -> tuple[_Ints, int]:
    """The number of each pixel's peak (H * W,), and how many there are; that is also the number of all pixels at level 0."""
    height, width = levels.shape
    size = levels.size
    # No two pixels are alike: of those with the same level the later one is the higher.
    bits = size.bit_length()
    keys = np.full((height + 2, width + 2), -1, np.int64)
    own = np.arange(size)
    keys[1:-1, 1:-1] = (levels.astype(np.int64) << bits) + own.reshape(height, width)
    rows = np.maximum(np.maximum(keys[:-2], keys[1:-1]), keys[2:])
    highest = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    climb = (highest & ((1 << bits) - 1)).ravel()
    (ground,) = np.nonzero(levels.ravel() == 0)
    climb[ground] = ground
    (tops,) = np.nonzero(climb == own)
    tops = tops[levels.ravel()[tops] > 0]
    while True:
        further = climb.take(climb, mode="clip")
        if np.array_equal(further, climb):
            break
        climb = further
    numbers = np.full(size, tops.size)
    numbers[tops] = np.arange(tops.size)
    return numbers.take(climb, mode="clip"), tops.size


def _passes(levels: NDArray[np.uint8], peaks: _Ints, number: int) -> tuple[_Ints, _Ints, _Ints]:
    """The pairs of peaks that touch above level 0, (E,) each, with the level of the highest pass between them."""
    flat, width = levels.ravel(), levels.shape[1]
    found = []
    for step, first, last in ((1, 0, width - 1), (width, 0, width), (width + 1, 0, width - 1), (width - 1, 1, width)):
        # Pixels and those one step on, row by row; those beyond the side do not count.
        one, other = peaks[: max(flat.size - step, 0)], peaks[step:]
        (met,) = np.nonzero(one != other)
        met = met[(flat[met] > 0) & (flat[met + step] > 0)]
        columns = met % width
        met = met[(columns >= first) & (columns < last)]
        low, high = np.minimum(one[met], other[met]), np.maximum(one[met], other[met])
        found.append((low * number + high) * LEVELS + np.minimum(flat[met], flat[met + step]))
    pairs, heights = np.divmod(np.sort(np.concatenate(found)), LEVELS)
    last_of_pair = np.ones(pairs.size, bool)
    last_of_pair[:-1] = pairs[1:] != pairs[:-1]
    low, high = np.divmod(pairs[last_of_pair], max(number, 1))
    return low, high, heights[last_of_pair]


def _joined(number: int, low: _Ints, high: _Ints, heights: _Ints) -> tuple[_Ints, _Ints]:
    """For each of ``number`` peaks the level at which another one takes it in, 0 if none does, and which one that is."""
    dies, into = [0] * number, list(range(number))
    ranks = [0] * number
    if heights.size:
        graph = coo_array((LEVELS - heights, (low, high)), shape=(number, number))
        tree = minimum_spanning_tree(graph.tocsr()).tocoo()
        order = np.argsort(tree.data, kind="stable")
        for one, other, cost in zip(tree.row[order].tolist(), tree.col[order].tolist(), tree.data[order].tolist(), strict=True):
            while into[one] != one:
                one = into[one]
            while into[other] != other:
                other = into[other]
            # The one with fewer steps below it is taken in, so that the ways stay short.
            if ranks[one] < ranks[other]:
                one, other = other, one
            ranks[one] += ranks[one] == ranks[other]
            into[other], dies[other] = one, LEVELS - int(cost)
    return np.array(dies, np.int64), np.array(into, np.int64)


def _owner(peaks: _Ints, levels: _Ints, dies: _Ints, into: _Ints) -> _Ints:
    """The peak that the pixels of ``peaks`` (N,) at ``levels`` (N,) belong to, once all passes that high are joined."""
    own = peaks.copy()
    ends = np.append(dies, 0)
    (climbing,) = np.nonzero((ends[own] >= levels) & (levels > 0))
    while climbing.size:
        own[climbing] = into[own[climbing]]
        climbing = climbing[ends[own[climbing]] >= levels[climbing]]
    return own


def _gathered(nodes: _Ints, parents: _Ints) -> tuple[_Ints, _Ints]:
    """Areas (N,) and boxes (N, 4) of the nodes with all that is below them; ``nodes`` (H, W) are those of the pixels, or N."""
    count = parents.size
    height, width = nodes.shape
    areas = np.bincount(nodes.ravel(), minlength=count + 1).astype(float)
    extents = np.zeros((4, count + 1), np.int64)
    by_row, rows = nodes.ravel(), np.repeat(np.arange(height), width)
    by_column, columns = nodes.T.ravel(), np.repeat(np.arange(width), height)
    # Of several values for one place the last one stays: so the ends are the lowest and the highest.
    for side, where, values in ((0, by_column[::-1], columns[::-1]), (1, by_row[::-1], rows[::-1])):
        extents[side][where] = values
    for side, where, values in ((2, by_column, -columns), (3, by_row, -rows)):
        extents[side][where] = values
    ancestors = np.append(parents, count)
    areas[count] = 0
    # Each node passes on what it has to the one 1, 2, 4, ... steps up.
    while (ancestors < count).any():
        areas += np.bincount(ancestors, areas, minlength=count + 1)
        areas[count] = 0
        for extent in extents:
            np.minimum.at(extent, ancestors, extent.copy())
        ancestors = ancestors[ancestors]
    boxes = extents[:, :count].T.copy()
    boxes[:, 2:] *= -1
    return areas[:count].astype(np.int64), boxes
