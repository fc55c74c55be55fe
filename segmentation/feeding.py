"""What a training is fed: the next batch of accepted samples, made on the way or read from shards, and made one step ahead.

A step's samples depend on the seed and the step alone, however many processes share them: they come from a number of
independent streams, of which every process has some, or from an order of the data set.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.augmentation import AugmentationConfig, augment_pairs
from segmentation.errors import require
from segmentation.processes import Alone
from segmentation.reading import Shards
from segmentation.synthesis import AcceptedStream, PairSource, Position, SynthesisConfig

Positions = dict[str, Any]
"""Where each stream is, as plain JSON types."""


class Batch(NamedTuple):
    """The samples of a step, as far as they are this process's."""

    images: Tensor
    """(b, 3, R, R) in [-1, 1]."""
    masks: Tensor
    """(b, R, R) bool."""
    positions: Positions
    """Where this process's streams are after it."""
    funnel: dict[str, int]
    """Counts of the candidates that its streams have seen so far, by verdict; empty where none are made."""
    rows: Sequence[int] = ()
    """Which of the samples of all processes these are."""


class Feed(Protocol):
    """Where batches come from."""

    resolution: int

    def held_out(self, count: int) -> tuple[Tensor, Tensor]:
        """``count`` samples for validation, that no batch has: images (N, 3, R, R) and masks (N, R, R)."""

    def batch(self, step: int) -> Batch:
        """The samples of ``step`` (from 0); steps are asked for in order."""

    def go_to(self, positions: Positions) -> None:
        """Go on from there; ``positions`` are those of the streams of all processes."""

    def describe(self) -> dict[str, Any]:
        """What makes the samples, as plain JSON types."""


class StreamFeed:
    """Samples generated on the way: ``batch_size`` a step from ``streams`` streams, as evenly as that goes.

    Errors: :class:`LanternError` if there are more ``processes`` than streams that give something.
    """

    def __init__(
        self, source: PairSource, config: SynthesisConfig, seed: int, batch_size: int, streams: int, processes: Alone
    ) -> None:
        self.source, self.config, self.seed, self.resolution = source, config, seed, source.resolution
        shares = [batch_size // streams + (number < batch_size % streams) for number in range(streams)]
        giving = sum(share > 0 for share in shares)
        problem = f"{processes.count} processes are to share batches of {batch_size} samples from {streams} streams"
        require(processes.count <= giving, problem, "Start fewer, or raise --streams and --batch-size, in a new folder.")
        self.shares = {n: share for n, share in enumerate(shares) if share and n % processes.count == processes.index}
        self.rows = [row for n in self.shares for row in range(sum(shares[:n]), sum(shares[: n + 1]))]
        self.streams = {number: self._stream(number, Position()) for number in self.shares}

    def _stream(self, number: int, start: Position) -> AcceptedStream:
        return AcceptedStream(self.source, self.config, self.seed, f"train {number}", start)

    def held_out(self, count: int) -> tuple[Tensor, Tensor]:
        """See :meth:`Feed.held_out`: a stream of its own."""
        return AcceptedStream(self.source, self.config, self.seed, "held-out").take(count)

    def batch(self, step: int) -> Batch:
        """See :meth:`Feed.batch`."""
        parts = [self.streams[number].take(share) for number, share in self.shares.items()]
        images, masks = (torch.cat(kind) for kind in zip(*parts, strict=True))
        funnel: Counter[str] = Counter()
        for stream in self.streams.values():
            funnel.update(stream.funnel)
        positions = {str(number): stream.position.to_json() for number, stream in self.streams.items()}
        return Batch(images, masks, positions, dict(funnel), self.rows)

    def go_to(self, positions: Positions) -> None:
        """See :meth:`Feed.go_to`."""
        self.streams = {n: self._stream(n, Position.from_json(positions.get(str(n), {}))) for n in self.shares}

    def describe(self) -> dict[str, Any]:
        """See :meth:`Feed.describe`."""
        return self.source.describe()


class ShardFeed:
    """Samples from disk, in an order that is new in every epoch; the last ``kept`` are never in a batch.

    Errors: :class:`LanternError` if the data set has too few samples.
    """

    def __init__(self, shards: Shards, seed: int, batch_size: int, kept: int, processes: Alone) -> None:
        self.shards, self.seed, self.batch_size, self.processes = shards, seed, batch_size, processes
        self.resolution, self.used = shards.resolution, len(shards) - kept
        problem = f"{shards.folder} has {len(shards)} samples, of which {kept} are held out for validation"
        remedy = f"A batch takes {batch_size}: make more samples, or lower --held-out or --batch-size."
        require(self.used >= batch_size, problem, remedy)
        problem = f"{processes.count} processes are to share batches of {batch_size}"
        require(processes.count <= batch_size, problem, "Start fewer.")
        self._orders: dict[int, NDArray[np.int64]] = {}

    def held_out(self, count: int) -> tuple[Tensor, Tensor]:
        """See :meth:`Feed.held_out`: the last ones."""
        return self.shards.batch(range(len(self.shards) - count, len(self.shards)))

    def batch(self, step: int) -> Batch:
        """See :meth:`Feed.batch`."""
        rows = range(self.batch_size)[self.processes.index :: self.processes.count]
        places = [step * self.batch_size + row for row in rows]
        indices = [int(self._order(place // self.used)[place % self.used]) for place in places]
        return Batch(*self.shards.batch(indices), {}, {}, rows)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            # A batch can reach into the next epoch, so two orders are kept.
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = np.random.default_rng((self.seed, epoch)).permutation(self.used)
        return self._orders[epoch]

    def go_to(self, positions: Positions) -> None:
        """See :meth:`Feed.go_to`: the step says it all."""

    def describe(self) -> dict[str, Any]:
        """See :meth:`Feed.describe`."""
        return self.shards.describe()


class AugmentedFeed:
    """What ``feed`` gives in batches of ``batch_size``, changed at random: how, follows from seed, step and row alone.

    The samples for validation stay as they are.
    """

    def __init__(self, feed: Feed, config: AugmentationConfig, seed: int, batch_size: int) -> None:
        self.feed, self.config, self.seed, self.batch_size = feed, config, seed, batch_size
        self.resolution, self.held_out = feed.resolution, feed.held_out
        self.go_to, self.describe = feed.go_to, feed.describe

    def batch(self, step: int) -> Batch:
        """See :meth:`Feed.batch`."""
        batch = self.feed.batch(step)
        digest = hashlib.sha256(repr((self.seed, "augmentation", step)).encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        images, masks = augment_pairs(batch.images, batch.masks, self.config, source, batch.rows, self.batch_size)
        return batch._replace(images=images, masks=masks)


class Ahead:
    """The batches of ``feed`` for steps ``step`` to ``steps`` - 1 on ``device``; the next is made while one is trained on.

    A context manager: it ends the thread that does so. Without ``prefetch`` each is made when it is asked for.
    """

    def __init__(self, feed: Feed, device: torch.device, step: int, steps: int, prefetch: bool) -> None:
        self.feed, self.device, self.step, self.steps = feed, device, step, steps
        self._pool = ThreadPoolExecutor(1, "samples") if prefetch else None
        self._next: Future[tuple[Batch, torch.cuda.Event | None]] | None = None
        # Work in the stream that trains would be waited for by the samples, and the other way round.
        self._stream = torch.cuda.Stream(device) if prefetch and device.type == "cuda" else None
        self._request()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def take(self) -> Batch:
        """The next batch. Errors: what making it raised."""
        if self._next is None:
            batch, made = self._make(self.step)
        else:
            batch, made = self._next.result()
        self.step += 1
        self._request()
        if made is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(made)
            for part in batch[:2]:
                part.record_stream(current)
        return batch

    def _request(self) -> None:
        if self._pool is not None:
            self._next = self._pool.submit(self._make, self.step) if self.step < self.steps else None

    def _make(self, step: int) -> tuple[Batch, torch.cuda.Event | None]:
        if self._stream is None:
            return self._moved(self.feed.batch(step)), None
        # A thread begins on the first GPU, whatever the others use.
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            batch = self._moved(self.feed.batch(step))
            made = torch.cuda.Event()
            made.record(self._stream)
        return batch, made

    def _moved(self, batch: Batch) -> Batch:
        images = batch.images.to(self.device).contiguous(memory_format=torch.channels_last)
        return batch._replace(images=images, masks=batch.masks.to(self.device))
