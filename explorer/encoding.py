"""A data set becomes latent codes: in blocks that are saved one by one, by any number of processes, which can be killed."""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.blocks import Block, Blocks, claim_encoding
from explorer.embedding import CUTS, check_encoder, embed_squares, preprocessing
from explorer.encoded import read_record, record_path, write_record
from explorer.engine import Engine
from explorer.generators.listing import Listing, decode_square
from explorer.runs.command import folder_beside
from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError, require
from segmentation.files import write_array_in_parts
from segmentation.processes import Alone
from segmentation.progress import Watcher
from segmentation.runfolder import Attendance, StopFile, held

_LOOK_EVERY = 2.0
"""Seconds between two looks at what the other processes have done."""
_LIBRARIES = ("numpy", "pillow", "torch", "tensorflow", "tensorflow-hub")


@dataclasses.dataclass(frozen=True)
class EncodingConfig(Config):
    """How the photographs of a data set become latent codes."""

    block_size: int = 64
    """Photographs encoded at once and then saved; what is saved is not encoded again."""
    sample: bool = True
    """Where the encoder gives a distribution: draw the code from it, as the paper does; otherwise take its mean."""
    seed: int = 0
    """Seed of that draw; every photograph has its own."""

    def __post_init__(self) -> None:
        check_range("block_size", self.block_size, 1, 1024)
        check_range("seed", self.seed, 0, 2**63 - 1)


@dataclasses.dataclass(frozen=True)
class Share:
    """The blocks of one of several processes: every ``count``-th, from the ``index``-th on."""

    index: int = 0
    count: int = 1
    joined: bool = False
    """Whether they run together: then the first waits for the others and puts the blocks together; otherwise the last does."""

    def __post_init__(self) -> None:
        check_range("shards", self.count, 1, 100_000)
        check_range("shard", self.index, 0, self.count - 1)


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A data set that has been encoded."""

    rows: int
    """Number of latent codes."""
    skipped: list[tuple[str, str]]
    """Names of the photographs without one, and why."""
    already: bool = dataclasses.field(default=False, compare=False)
    """Whether an earlier run had done it."""


def run_folder(out: Path) -> Path:
    """The folder of the run that makes ``out``: beside it, ending in ``.run``."""
    return folder_beside(out)


def encode_data_set(
    engine: Engine,
    photographs: Listing,
    out: Path,
    config: EncodingConfig,
    watcher: Watcher,
    share: Share | None = None,
    workers: int = 4,
    checkpoint_every: int | None = None,
    processes: Alone | None = None,
) -> Encoded | None:
    """Encode ``photographs`` to ``out`` (.npy, float32 (N, d)); go on where a run before, of any number of processes, stopped.

    Blocks are saved in :func:`run_folder` and put together when all are there; beside ``out`` a record in JSON says what made
    it, which photograph each row is, and which ones could not be read (:mod:`explorer.encoded`). The codes do not depend on
    the number of processes. ``workers`` threads decode images. Blocks are saved as soon as they hold ``checkpoint_every``
    photographs, by default one by one; so many are held at a time, and a few. ``processes`` are those of a share that is
    joined. Returns None if the watcher asked to stop, or other processes are still at work. Errors: :class:`LanternError` if
    the generator has no encoder, if the folder belongs to another generator, configuration or list of photographs, if no
    photograph can be read, or if another of the processes that run together has ended before all was done.
    """
    check_encoder(engine)
    check_range("workers", workers, 1, 256)
    every = config.block_size if checkpoint_every is None else checkpoint_every
    problem = f"checkpoint_every is {every}, and blocks of {config.block_size} photographs are encoded at once"
    require(every >= config.block_size, problem, "Choose at least as many, or a smaller --block-size.")
    encoding = _Encoding(engine, photographs, out, config, watcher, share or Share(), every, processes or Alone())
    claim_encoding(encoding.folder, encoding.described)
    encoded = encoding.finished()
    if encoded is None:
        return encoding.run(workers)
    watcher.note(f"done already: {out}")
    watcher.resume(len(photographs), len(photographs))
    return dataclasses.replace(encoded, already=True)


class _Encoding:
    """One process's part in the encoding of a data set."""

    def __init__(
        self,
        engine: Engine,
        photographs: Listing,
        out: Path,
        config: EncodingConfig,
        watcher: Watcher,
        share: Share,
        every: int,
        processes: Alone,
    ) -> None:
        self.engine, self.photographs, self.out, self.config = engine, photographs, out, config
        self.watcher, self.share, self.folder = watcher, share, run_folder(out)
        self.blocks = Blocks(self.folder, len(photographs), config.block_size)
        self.described = describe(engine, photographs, config)
        self.every, self.processes = every, processes
        goal = "all photographs were encoded"
        self.attendance = Attendance(self.folder, share.index, share.count, goal, "photographs")
        self.stop = StopFile(self.folder)
        self._unsaved: dict[int, Block] = {}
        self._looked = 0.0
        self._done = 0
        self._skipped = 0

    def finished(self) -> Encoded | None:
        """What the run made, if it has ended."""
        record = read_record(self.out)
        if record is None or record.get("run") != self.described:
            return None
        encoded = Encoded(int(record["rows"]), [(name, reason) for name, reason in record["skipped"]])
        try:
            shape = np.load(self.out, mmap_mode="r", allow_pickle=False).shape
        except (OSError, ValueError, EOFError):
            return None
        return encoded if shape == (encoded.rows, self.engine.latent_dim) else None

    def run(self, workers: int) -> Encoded | None:
        """Make the blocks of this share that are not there yet, then put all together; None if there is more to do."""
        missing = self._look()
        if self._done:
            self.watcher.note(f"resuming at photograph {self._done} of {len(self.photographs)}")
            self.watcher.resume(self._done, len(self.photographs))
        index, count = self.share.index, self.share.count
        mine = [number for number in missing if number % count == index]
        if not self.share.joined:
            return self._finish() if self._encode(mine, workers) else None
        with self.attendance:
            self.processes.wait()
            done = self._encode(mine, workers)
            if index == 0:
                return self._merge() if done and self._wait() else None
            self.attendance.leave_after_first()
            return None

    def _encode(self, mine: list[int], workers: int) -> bool:
        began = time.monotonic()
        taken = 0
        with closing(self._loaded((self.blocks.ranges[number] for number in mine), workers)) as loaded:
            for number, squares in zip(mine, loaded, strict=True):
                self._unsaved[number] = self._make(number, squares)
                taken += len(squares)
                self._done += len(squares)
                if sum(len(block.kept) for block in self._unsaved.values()) >= self.every:
                    self._save()
                self._tell(taken / (time.monotonic() - began))
                if number != mine[-1] and self._asked_to_stop():
                    self._save()
                    return False
        self._save()
        return True

    def _save(self) -> None:
        """Write the blocks that are not on the disk yet."""
        for number, block in self._unsaved.items():
            self.blocks.write(number, block)
        self._unsaved = {}

    def _loaded(self, blocks: Iterable[range], workers: int) -> Generator[list[NDArray[np.uint8] | str], None, None]:
        """For each block its squares (E, E, 3), or why there is none; one block is read ahead."""
        load = partial(_load, self.photographs, preprocessing(self.engine), self.engine.encoder_resolution)
        waiting: deque[list[Future[NDArray[np.uint8] | str]]] = deque()
        pool = ThreadPoolExecutor(workers)
        try:
            for block in blocks:
                waiting.append([pool.submit(load, index, self.photographs.fetch(index)) for index in block])
                if len(waiting) == 2:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)

    def _make(self, number: int, squares: list[NDArray[np.uint8] | str]) -> Block:
        """Encode a block."""
        first = self.blocks.ranges[number].start
        good = [place for place, square in enumerate(squares) if not isinstance(square, str)]
        reasons = {place: square for place, square in enumerate(squares) if isinstance(square, str)}
        codes = np.zeros((0, self.engine.latent_dim), np.float32)
        if good:
            found = embed_squares(self.engine, np.stack([squares[place] for place in good]))
            codes = self._draw(found, [first + place for place in good])
            finite = np.isfinite(codes).all(1)
            reasons |= {good[row]: "its latent code is not finite" for row in np.flatnonzero(~finite)}
            codes = codes[finite]
        kept = np.array([place not in reasons for place in range(len(squares))])
        self._skipped += len(reasons)
        return Block(codes, kept, [reasons[place] for place in sorted(reasons)])

    def _draw(self, codes: NDArray[np.float32], indices: list[int]) -> NDArray[np.float32]:
        """Codes (n, d) of what the encoder gave for the photographs ``indices``: these, or drawn from mean and deviation."""
        if codes.ndim == 2:
            return codes
        means = codes[:, 0]
        if not self.config.sample:
            return means
        # Each photograph its own stream, so that a code depends on no other photograph, block or process.
        noise = [np.random.default_rng((self.config.seed, index)).standard_normal(means.shape[1]) for index in indices]
        return means + codes[:, 1] * np.array(noise, np.float32)

    def _tell(self, speed: float) -> None:
        if self.share.count > 1 and time.monotonic() - self._looked > _LOOK_EVERY:
            self._look()
        figures = {"skipped": float(self._skipped), "images_per_second": speed}
        self.watcher.advance(self._done, len(self.photographs), figures)

    def _look(self) -> list[int]:
        """The blocks that are not there yet, of all processes."""
        self._looked = time.monotonic()
        missing = [number for number in self.blocks.missing() if number not in self._unsaved]
        self._done = self.blocks.photographs_without(missing)
        return missing

    def _wait(self) -> bool:
        """Until the blocks of all processes are there; False if asked to stop before."""
        before, count = self._done, self.share.count
        while missing := self._look():
            if self._done > before:
                before = self._done
                self.watcher.advance(self._done, len(self.photographs), {"skipped": float(self._skipped)})
            if self._asked_to_stop():
                return False
            gone = [index for index in self.attendance.absent() if any(number % count == index for number in missing)]
            # Once more, since it may have ended after its last block.
            if gone and any(number % count in gone for number in self._look()):
                raise self.attendance.ended(gone[0])
            time.sleep(0.2)
        self.watcher.advance(self._done, len(self.photographs), {"skipped": float(self._skipped)})
        return True

    def _asked_to_stop(self) -> bool:
        """Also by the file ``stop`` of the whole run, which the first process alone takes away, and by the end of that."""
        asked = self.watcher.stop_requested() or self.stop.asked()
        return asked or (self.share.joined and self.share.index > 0 and 0 in self.attendance.absent())

    def _finish(self) -> Encoded | None:
        """Put the blocks together if all are there and nobody else is about to; None if not."""
        if self.blocks.missing():
            return self.finished()
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self.folder / "merging"))
            except LanternError:
                return None
            # Another process may have been faster.
            return self.finished() or self._merge()

    def _merge(self) -> Encoded:
        kept, skipped = self._read_kept()
        rows = int(kept.sum())
        if not rows:
            self.blocks.clear()
            problem = f"none of the {len(kept)} photographs can be read; the first: {skipped[0][1]}"
            raise LanternError(problem, "Give photographs, as JPEG or PNG.")
        # Without a record the file is nobody's; so it never lies beside that of another one.
        record_path(self.out).unlink(missing_ok=True)
        codes = (self.blocks.read(number).codes for number in range(len(self.blocks.ranges)))
        write_array_in_parts(self.out, (rows, self.engine.latent_dim), codes)
        names = (self.photographs.name(int(index)) for index in np.flatnonzero(kept))
        own = {name: self.described[name] for name in ("generator", "fingerprint")}
        made = {**own, "rows": rows, "skipped": skipped, "libraries": libraries(), "run": self.described}
        write_record(self.out, made, names)
        self.blocks.clear()
        return Encoded(rows, skipped)

    def _read_kept(self) -> tuple[NDArray[np.bool_], list[tuple[str, str]]]:
        kept = np.zeros(len(self.photographs), np.bool_)
        skipped: list[tuple[str, str]] = []
        for number, photographs in enumerate(self.blocks.ranges):
            block = self.blocks.read(number)
            kept[photographs.start : photographs.stop] = block.kept
            bad = (photographs.start + np.flatnonzero(~block.kept)).tolist()
            skipped += zip(map(self.photographs.name, bad), block.reasons, strict=True)
        return kept, skipped


def _load(photographs: Listing, cut: str, side: int, index: int, content: Callable[[], bytes]) -> NDArray[np.uint8] | str:
    name = photographs.name(index)
    try:
        return decode_square(content(), name, CUTS[cut], side)
    except LanternError as error:
        return error.problem


def describe(engine: Engine, photographs: Listing, config: EncodingConfig) -> dict[str, Any]:
    """What makes the codes of a data set what they are, as plain JSON types."""
    return {
        "generator": engine.name,
        "fingerprint": engine.fingerprint,
        "latent_dim": engine.latent_dim,
        "precision": engine.config.precision,
        "preprocessing": f"{preprocessing(engine)}, {engine.encoder_resolution} px",
        "encoding": config.to_json(),
        "photographs": photographs.describe(),
    }


def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that encode, as far as they are in use."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        if name.replace("pillow", "PIL").replace("-", "_") in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "unknown"
    return found
