"""Several processes that do one piece of work together, each with a device of its own.

They are started by ``torchrun`` or ``accelerate launch`` and meet through Accelerate, which is imported only where there
are several.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from segmentation.errors import LanternError, require
from segmentation.precision import out_of_memory

_FAILED = -1
ItemT = TypeVar("ItemT")


class Alone:
    """The only process: it has everything, and decides everything."""

    index, count = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files, prints and decides."""
        return self.index == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace ``tensors`` by their means over the processes."""

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replace ``tensors`` by their sums over the processes."""

    def gather(self, value: Any) -> list[Any]:
        """The ``value``, of plain JSON types, of every process, in their order."""
        return [value]

    def agree(self, *modules: nn.Module) -> None:
        """Give the parameters and buffers of ``modules`` the values that they have in the first process."""

    def copy_first(self, tensor: Tensor) -> None:
        """Give ``tensor`` the values that it has in the first process."""

    def decide(self, decision: Callable[[], bool]) -> bool:
        """What ``decision`` says in the first process, the only one that asks it.

        Errors: what it raises there; in the others :class:`LanternError`.
        """
        return decision()

    def wait(self) -> None:
        """Until all processes have come so far."""


class Several(Alone):
    """One of ``count`` processes, the ``index``-th.

    Every method raises :class:`LanternError` if another process has ended.
    """

    def __init__(self, index: int, count: int, device: torch.device) -> None:
        self.index, self.count, self.device = index, count, device

    def average(self, tensors: Iterable[Tensor]) -> None:
        """See :meth:`Alone.average`; all at once, since a message costs more than what is in it."""
        self._reduce(list(tensors), "mean")

    def add(self, tensors: Iterable[Tensor]) -> None:
        """See :meth:`Alone.add`; all at once."""
        self._reduce(list(tensors), "sum")

    def gather(self, value: Any) -> list[Any]:
        """See :meth:`Alone.gather`; as text in JSON, since nothing is pickled here."""
        from accelerate.utils import gather

        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        with self._together():
            sizes = gather(torch.tensor([len(own)], device=self.device)).tolist()
            padded = torch.zeros(max(sizes), dtype=torch.uint8, device=self.device)
            padded[: len(own)] = own
            rows = gather(padded).view(self.count, -1).cpu()
        return [json.loads(bytes(row[:size].tolist())) for row, size in zip(rows, sizes, strict=True)]

    @torch.no_grad()
    def agree(self, *modules: nn.Module) -> None:
        """See :meth:`Alone.agree`."""
        for module in modules:
            own = [*module.parameters(), *module.buffers()]
            for kind in sorted({tensor.dtype for tensor in own}, key=str):
                same = [tensor for tensor in own if tensor.dtype == kind]
                _put(same, self._from_first(torch.cat([tensor.reshape(-1) for tensor in same])))

    def copy_first(self, tensor: Tensor) -> None:
        """See :meth:`Alone.copy_first`."""
        tensor.copy_(self._from_first(tensor.to(self.device)))

    def decide(self, decision: Callable[[], bool]) -> bool:
        """See :meth:`Alone.decide`."""
        verdict = torch.tensor([_FAILED], device=self.device)
        try:
            if self.first:
                verdict.fill_(int(decision()))
        finally:
            # Also when it fails: the others wait for a word.
            verdict = self._from_first(verdict)
        if int(verdict) == _FAILED:
            raise LanternError("the first process has stopped", "What it printed says why.")
        return bool(verdict)

    def wait(self) -> None:
        """See :meth:`Alone.wait`."""
        self.add([torch.zeros(1, device=self.device)])

    @torch.no_grad()
    def _reduce(self, own: list[Tensor], how: str) -> None:
        from accelerate.utils import reduce

        with self._together():
            _put(own, reduce(torch.cat([tensor.reshape(-1) for tensor in own]), how))

    def _from_first(self, tensor: Tensor) -> Tensor:
        from accelerate.utils import broadcast

        with self._together():
            sent: Tensor = broadcast(tensor)
        return sent

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            raise LanternError(
                f"another of the {self.count} processes has ended, or cannot be reached any more",
                "What it printed says why; run the same command again to go on from the last checkpoint.",
            ) from error


def shares(items: Sequence[ItemT], processes: Alone, size: int = 32) -> Iterator[Sequence[ItemT]]:
    """What this process does of ``items``, in rounds: in each all do ``size`` neighbours, one process after the other.

    So after every round all items up to a place are done, whatever the number of processes; in the last rounds some may have
    nothing to do, and get an empty part.
    """
    whole = size * processes.count
    for first in range(0, len(items), whole):
        own = first + size * processes.index
        yield items[own : own + size]


def _put(tensors: Sequence[Tensor], values: Tensor) -> None:
    parts = values.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def first_process() -> bool:
    """Whether this process is the first of those that were started together, or alone; known before they meet."""
    return int(os.environ.get("RANK") or 0) == 0


def processes_here() -> int:
    """How many processes were started together on this machine; known before they meet."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)


def join(device: torch.device) -> tuple[Alone, torch.device]:
    """This process among those that were started together, and the device of its own; ``device`` as it is where it is alone.

    Errors: :class:`LanternError` if ``device`` names one of several GPUs, or there are more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE") or 1)
    if count == 1:
        return Alone(), device
    require(device.index is None, f"{count} processes are to share the device {device}", "Leave --device out, or give cpu.")
    here, gpus = processes_here(), torch.cuda.device_count()
    short = f"{here} processes were started on a machine with {gpus} GPUs"
    require(device.type == "cpu" or here <= gpus, short, "Start one process for each GPU, or give --device cpu.")
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu")
    own = torch.device(state.device)
    return Several(state.process_index, state.num_processes, own), own
