"""One pass over images, by one process or by several, that is kept as it goes and goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from segmentation.inference import Taken
from segmentation.kept import KeptPart, State
from segmentation.processes import Alone, shares
from segmentation.progress import Watcher

_ROUND = 32
"""Images that each of several processes does before all come together."""


class Gathered(Protocol):
    """What a pass gathers, image by image."""

    @property
    def done(self) -> int:
        """How many images are through."""

    def step(self, place: int, sample: Any, saliency: NDArray[np.float32]) -> None:
        """Add the image at ``place``: what is true of it, and its ``saliency`` (H, W) in [0, 1]."""

    def figures(self) -> dict[str, float]:
        """What is told of it on the way."""

    def state(self, before: int) -> dict[str, Any]:
        """What was gathered of the images before the place ``before``, as plain JSON types, for :meth:`add`."""

    def add(self, state: dict[str, Any]) -> None:
        """Add what another process has gathered, or this one before a stop."""


GatheredT = TypeVar("GatheredT", bound=Gathered)
Reading = Callable[[Sequence[int]], Iterator[tuple[tuple[int, Any], Any]]]
"""For some places, in order: the place and the sample, and the image as the method wants it. Some may be left out."""
Stream = Callable[[Iterator[tuple[tuple[int, Any], Any]]], Iterator[tuple[tuple[int, Any], NDArray[np.float32]]]]
"""The saliency of each of those, under its place and sample, in order; it may take several at once."""


class OnePass(Generic[GatheredT]):
    """A pass over ``count`` images, which are shared by ``processes`` and gathered in what ``empty`` makes.

    Of several processes all have to be given the same ``kept``, and the first keeps.
    """

    def __init__(self, empty: Callable[[], GatheredT], count: int, watcher: Watcher, processes: Alone, kept: KeptPart) -> None:
        self.count, self.watcher, self.processes, self.kept = count, watcher, processes, kept
        self._empty, self.own = empty, empty()
        self.first = 0 if kept.state is None else kept.state.step
        self._seconds, self._started = 0.0, time.perf_counter()
        if kept.state is not None:
            self._seconds = float(kept.state.values["seconds"])
            # Once: the first process has what all had before.
            if processes.first:
                self.own.add(kept.state.values["gathered"])

    @property
    def seconds(self) -> float:
        """That it took so far, before a stop and after it."""
        return self._seconds + time.perf_counter() - self._started

    def run(self, read: Reading, stream: Stream) -> bool:
        """Do the images that are left; whether the watcher asked to stop before the last."""
        places = range(self.first, self.count)
        return self._alone(places, read, stream) if self.processes.count == 1 else self._together(places, read, stream)

    def gathered(self) -> GatheredT:
        """What all processes have gathered."""
        if self.processes.count == 1:
            return self.own
        whole = self._empty()
        for state in self.processes.gather(self.own.state(self.count)):
            whole.add(state)
        return whole

    def _alone(self, places: Sequence[int], read: Reading, stream: Stream) -> bool:
        reading, stopping = Taken(read(places)), False
        for given, ((place, sample), saliency) in enumerate(stream(reading), 1):
            self.own.step(place, sample, saliency)
            done = self.own.done
            self._tell(done)
            stopping = stopping or (self.watcher.stop_requested() and done < self.count)
            # A method may take several at once; in the middle of those, what comes later would be taken in other company.
            if reading.all_given(given):
                self._keep(place + 1, now=stopping or done == self.count)
                if stopping:
                    break
        return stopping

    def _together(self, places: Sequence[int], read: Reading, stream: Stream) -> bool:
        """In rounds, after each of which the processes have done all up to a place."""
        done = self.first
        for part in shares(places, self.processes, _ROUND):
            for (place, sample), saliency in stream(read(part)):
                self.own.step(place, sample, saliency)
            done = min(done + _ROUND * self.processes.count, self.count)
            self._tell(done)
            stop = self.processes.decide(self.watcher.stop_requested) and done < self.count
            self._keep(done, now=stop or done == self.count)
            if stop:
                return True
        return False

    def _keep(self, done: int, now: bool) -> None:
        if not self.kept.due(done, now):
            return
        gathered = self.gathered()
        if self.processes.first:
            state = State(done, {}, {"gathered": gathered.state(done), "seconds": self.seconds})
            self.kept.after(done, lambda: state, now=True)
        else:
            self.kept.done(done)

    def _tell(self, done: int) -> None:
        speed = (done - self.first) / (time.perf_counter() - self._started)
        self.watcher.advance(done, self.count, {"images_per_second": speed, **self.own.figures()})
