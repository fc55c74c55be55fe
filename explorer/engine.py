"""The one place that touches the device: latent codes become images, pairs, walks; photographs become latent codes."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from explorer.generators.base import Encoder, Generator, Posterior, accepted_fingerprints, encoder_resolution
from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.precision import autocast, out_of_memory, placed

MAX_TRUNCATION = 4.0
"""From here on truncation does nothing: |z| exceeds 4 once in 16,000 draws."""


@dataclasses.dataclass(frozen=True)
class EngineConfig(Config):
    """Where and how the generator runs."""

    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: str = "float32"
    """``float32``, or ``bfloat16`` autocast (faster; flips the mask of pixels that hardly change)."""
    batch_size: int = 64
    """Images made at once at most; halved by itself when memory runs out."""

    def __post_init__(self) -> None:
        # Not auto: samples go on where they stopped only if they are made in the same precision everywhere.
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        check_range("batch_size", self.batch_size, 1, 65536)

    def torch_device(self) -> torch.device:
        """The device; :class:`LanternError` if there is none of that name."""
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        count = torch.cuda.device_count()
        gpu = re.fullmatch(r"cuda(?::(\d{1,4}))?", self.device, re.ASCII)
        known = self.device == "cpu" or (gpu is not None and int(gpu[1] or 0) < count)
        gpus = f", or cuda:0 to cuda:{count - 1}" if count else "; no GPU is to be seen here"
        require(known, f"device {self.device!r} is not to be had here", f"Choose auto or cpu{gpus}.")
        return torch.device(self.device)


class FairLock:
    """A lock that serves threads in the order they came, so that a preview is not starved by a run."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the lock for the length of the block."""
        turn = threading.Event()
        with self._guard:
            self._waiting.append(turn)
            if len(self._waiting) == 1:
                turn.set()
        turn.wait()
        try:
            yield
        finally:
            with self._guard:
                self._waiting.popleft()
                if self._waiting:
                    self._waiting[0].set()


class Engine:
    """Owns a generator, its device, precision and batch size. Safe to share between threads."""

    def __init__(self, generator: Generator, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self.device = self.config.torch_device()
        self.generator = generator.to(self.device)
        if isinstance(self.generator, nn.Module):
            placed(self.generator, self.device)
        self.batch_size = self.config.batch_size
        self._lock = FairLock()

    @property
    def name(self) -> str:
        """The generator's name."""
        return self.generator.name

    @property
    def latent_dim(self) -> int:
        """Length d of a latent code."""
        return self.generator.latent_dim

    @property
    def resolution(self) -> int:
        """Side of an image in pixels."""
        return self.generator.resolution

    @property
    def fingerprint(self) -> str:
        """Changes with any weight of the generator."""
        return self.generator.fingerprint

    @property
    def can_encode(self) -> bool:
        """Whether the generator comes with an encoder."""
        return isinstance(self.generator, Encoder)

    @property
    def encoder_resolution(self) -> int:
        """Side in pixels of the images that the encoder takes."""
        return encoder_resolution(self.generator)

    @property
    def has_posterior(self) -> bool:
        """Whether the encoder gives a distribution of latent codes: see :meth:`posterior`."""
        return isinstance(self.generator, Posterior)

    @property
    def accepted_fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the generators whose latent codes mean the same to this one; its own is the first."""
        return accepted_fingerprints(self.generator)

    def codes(self, count: int, seed: int, truncation: float = MAX_TRUNCATION) -> Tensor:
        """``count`` latent codes (B, d) from N(0, I) with every entry restricted to [-``truncation``, ``truncation``].

        The same seed gives the same first codes whatever ``count``, on every device, and a code moves continuously with
        ``truncation``; at 4 and above nothing is restricted.
        """
        check_range("count", count, 1, 10_000_000)
        check_range("seed", seed, 0, 2**63 - 1)
        check_range("truncation", truncation, 0.01, float("inf"))
        source = torch.Generator().manual_seed(seed)
        uniform = torch.rand((count, self.latent_dim), generator=source, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        if truncation < MAX_TRUNCATION:
            tail = torch.special.ndtr(torch.tensor(-truncation, dtype=torch.float64))
            uniform = tail + uniform * (1 - 2 * tail)
        return torch.special.ndtri(uniform).float()

    def around(self, code: Sequence[float], count: int, alpha: float, seed: int, truncation: float = MAX_TRUNCATION) -> Tensor:
        """``count`` latent codes (B, d): ``code`` (d numbers) itself, then ``code`` + ``alpha`` x noise.

        The noise is what :meth:`codes` gives. These are neighbours of a photograph's embedding (paper, section 3.2).
        """
        fits = len(code) == self.latent_dim
        require(fits, f"the latent code has {len(code)} numbers", f"{self.name} takes {self.latent_dim}.")
        noise = self.codes(count, seed, truncation)
        noise[0] = 0
        return torch.tensor([list(code)], dtype=torch.float32) + alpha * noise

    def images(self, codes: Tensor, precision: str | None = None) -> Tensor:
        """Images (B, 3, R, R), float32 in [-1, 1], on the engine's device, for ``codes`` (B, d).

        ``precision`` stands in for the configured one: ``auto`` for a picture that only has to look right.

        Errors: :class:`LanternError` if the codes have another shape or hold no finite numbers, or memory is short.
        """
        self._check_codes(codes)
        return self._at_once(self.generator.generate, codes, precision)

    def differentiable_images(self, codes: Tensor) -> Tensor:
        """Images (B, 3, R, R), float32, through which gradients reach ``codes`` (B, d); all at once, in the fast precision.

        Errors: as of :meth:`images`.
        """
        self._check_codes(codes)
        with self._lock(), autocast(self.device, "auto"):
            return self.generator.generate(codes.to(self.device)).float()

    def image_batches(self, codes: Tensor) -> Iterator[Tensor]:
        """The images of :meth:`images`, a batch after the other, each (b, 3, R, R) on the CPU: for more than memory holds."""
        self._check_codes(codes)
        return (batch.cpu() for batch in self._batches(self.generator.generate, codes))

    def _check_codes(self, codes: Tensor) -> None:
        fits = codes.dim() == 2 and codes.shape[1] == self.latent_dim
        remedy = f"{self.name} takes latent codes of shape (N, {self.latent_dim})."
        require(fits, f"the latent codes have shape {tuple(codes.shape)}", remedy)
        require(len(codes) > 0, "there are no latent codes", "Give at least one.")
        require(bool(codes.isfinite().all()), "the latent codes hold NaN or infinity", "Give finite numbers.")

    def pairs(self, codes: Tensor, direction: Tensor, magnitude: float) -> tuple[Tensor, Tensor]:
        """The pairs G(z), G(z + ``magnitude`` x ``direction``), each (B, 3, R, R); ``direction`` is (d,), unit length."""
        walked = self.walk(codes, direction, (0.0, magnitude))
        return walked[:, 0], walked[:, 1]

    def walk(self, codes: Tensor, direction: Tensor, magnitudes: Sequence[float], precision: str | None = None) -> Tensor:
        """Images (B, M, 3, R, R) of every code at every one of M ``magnitudes`` along ``direction`` (d,).

        ``precision`` as in :meth:`images`.
        """
        fits = direction.shape == (self.latent_dim,)
        require(fits, f"the direction has shape {tuple(direction.shape)}", f"{self.name} takes ({self.latent_dim},).")
        require(len(magnitudes) > 0, "there are no magnitudes", "Give at least one.")
        steps = torch.tensor(list(magnitudes), dtype=torch.float32)
        shifted = codes[:, None].float().cpu() + steps[None, :, None] * direction.float().cpu()
        images = self.images(shifted.flatten(0, 1), precision)
        return images.view(len(codes), len(steps), *images.shape[1:])

    def shifts(self, code: Tensor, directions: Sequence[Tensor], magnitude: float) -> Tensor:
        """Images (K, 3, 3, R, R) of one ``code`` (1, d) at -``magnitude``, 0 and +``magnitude`` along K ``directions`` (d,).

        G(z), the middle one everywhere, is made once.
        """
        reach = magnitude * torch.stack(list(directions)).float().cpu()
        middle, back, forth = self.images(torch.cat([code, code - reach, code + reach])).split([1, len(reach), len(reach)])
        return torch.stack([back, middle.expand_as(back), forth], 1)

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, d), float32, for square ``images`` in [-1, 1]: the embedding of photographs.

        They are (B, 3, E, E), E being :attr:`encoder_resolution`. Errors: :class:`LanternError` if they are not, or the
        generator has no encoder.
        """
        if not isinstance(self.generator, Encoder):
            raise LanternError(f"the generator {self.name} has no encoder", "Choose one that has, for example pocket.")
        self._check_photographs(images)
        return self._at_once(self.generator.encode, images)

    def posterior(self, images: Tensor) -> Tensor:
        """Mean and standard deviation (B, 2, d), float32, of the latent codes of ``images``, which are as in :meth:`encode`."""
        if not isinstance(self.generator, Posterior):
            raise LanternError(f"the encoder of {self.name} gives codes, no distribution", "Take the codes that it gives.")
        self._check_photographs(images)
        return self._at_once(self.generator.posterior, images)

    def _check_photographs(self, images: Tensor) -> None:
        side = self.encoder_resolution
        fits = images.dim() == 4 and tuple(images.shape[1:]) == (3, side, side)
        require(fits, f"the images have shape {tuple(images.shape)}", f"{self.name} takes (N, 3, {side}, {side}).")

    def _at_once(self, function: Callable[[Tensor], Tensor], inputs: Tensor, precision: str | None = None) -> Tensor:
        batches = list(self._batches(function, inputs, precision))
        try:
            return torch.cat(batches)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise LanternError(f"there is not memory enough for {len(inputs)} at once", "Ask for fewer at once.") from error

    def _batches(self, function: Callable[[Tensor], Tensor], inputs: Tensor, precision: str | None = None) -> Iterator[Tensor]:
        done = 0
        while done < len(inputs):
            size = self.batch_size
            try:
                batch = self._run(function, inputs[done : done + size], precision or self.config.precision)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._shrink(size, done, error)
            else:
                done += size
                yield batch

    def _run(self, function: Callable[[Tensor], Tensor], inputs: Tensor, precision: str) -> Tensor:
        with self._lock(), torch.inference_mode(), autocast(self.device, precision):
            moved = inputs.to(self.device, torch.float32)
            if moved.dim() == 4:
                moved = moved.contiguous(memory_format=torch.channels_last)
            return function(moved).float()

    def _shrink(self, size: int, done: int, error: RuntimeError) -> None:
        if size == 1 and done:
            raise LanternError(f"memory is full after {done} of {self.name}", "Ask for fewer at once.") from error
        if size == 1:
            raise LanternError(
                f"there is not memory enough for a single image of {self.name}",
                "Close other programs, or use a smaller generator.",
            ) from error
        self.batch_size = min(self.batch_size, max(1, size // 2))
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
