"""Saliency of anybody's images with a trained U-Net (paper, section 3.3), and what is made of it: overlays and cut-outs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from segmentation.configuration import Config, check_choice, check_range
from segmentation.datasets import by_stem, few, grey_levels, read_image
from segmentation.errors import LanternError, require
from segmentation.files import write_image
from segmentation.precision import PRECISIONS, autocast, out_of_memory, placed
from segmentation.progress import Unwatched, Watcher
from segmentation.unet import MIN_SIDE, UNet, load_unet, saliency_logits

PRESETS = ("paper", "reference")
LONGEST = 16
"""How many times longer than wide an image may be."""
TINT = (0, 114, 178)
"""Blue of the Okabe-Ito palette: apart from every other hue for every kind of colour vision."""
KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")


@dataclasses.dataclass(frozen=True)
class InferenceConfig(Config):
    """How images are shown to the network."""

    size: int | None = None
    """Shorter side in pixels; None: the size the network was trained at."""
    preset: str = "paper"
    """``paper``, or ``reference``: the longer side rounded down, saliency cut to 8 bits before it is resized back."""
    batch_size: int = 8
    """Consecutive images of equal shape that are shown at once, at most."""
    precision: str = "float32"
    """``float32``, ``bfloat16``, or ``auto``: bfloat16 where the hardware is fast at it."""

    def __post_init__(self) -> None:
        if self.size is not None:
            check_range("size", self.size, MIN_SIDE, 1024)
        check_choice("preset", self.preset, PRESETS)
        check_range("batch_size", self.batch_size, 1, 4096)
        check_choice("precision", self.precision, PRECISIONS)


class Prepared(NamedTuple):
    """An image as the network will see it, and the size its saliency goes back to."""

    pixels: NDArray[np.uint8]
    """(h, w, 3), the shorter side as configured."""
    height: int
    width: int


class Taken(Iterator[ItemT]):
    """``items`` as they are, for a method that may take several at once, such as :meth:`Segmenter.stream`.

    Whoever wants to go on later has to stop where all that were taken together have been given: otherwise the rest of them
    would be taken in other company, and rounded differently.
    """

    def __init__(self, items: Iterable[ItemT]) -> None:
        self._items, self.count, self.ended = iter(items), 0, False

    def __next__(self) -> ItemT:
        try:
            item = next(self._items)
        except StopIteration:
            self.ended = True
            raise
        self.count += 1
        return item

    def all_given(self, given: int) -> bool:
        """Whether the ``given`` results are of all that were taken, but for one with which the next few begin."""
        return self.count - given <= (0 if self.ended else 1)


class Segmenter:
    """A trained U-Net as its user holds it: images in, saliency out. Takes ``net`` over: it is moved and put in evaluation.

    ``size`` is the side of the images it was trained on; ``name`` and ``mark`` (a fingerprint) say where it comes from, and
    ``made_by`` what its file says of its training.
    """

    def __init__(
        self,
        net: UNet,
        size: int,
        device: torch.device | str = "cpu",
        config: InferenceConfig | None = None,
        name: str = "unsaved",
        mark: str = "unsaved",
    ) -> None:
        self.config = config or InferenceConfig()
        self.size = self.config.size or size
        check_range("size", self.size, MIN_SIDE, 1024)
        self.device = torch.device(device)
        self.net = placed(net, self.device).eval()
        self.name, self.fingerprint = name, mark
        self.made_by: dict[str, Any] = {}

    def saliency(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Saliency (H, W) in [0, 1] of ``image`` (H, W, 3) RGB uint8.

        Errors: :class:`LanternError` if ``image`` is something else, over 16 times as long as wide, or too large for the
        memory.
        """
        [(_, saliency)] = self.stream([(None, self.prepare(image))])
        return saliency

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """``image`` (H, W, 3) with its shorter side at the network's size, aspect kept. Errors: as :meth:`saliency`."""
        _check_image(image)
        height, width = image.shape[:2]
        short, long = min(height, width), max(height, width)
        require(
            long <= LONGEST * short,
            f"the image is {width}x{height} pixels, over {LONGEST} times as long as wide",
            "Cut it into shorter pieces.",
        )
        length = self.size * long // short if self.config.preset == "reference" else round(self.size * long / short)
        shape = (length, self.size) if height > width else (self.size, length)
        # Pillow shrinks with antialiasing, as the authors' code does, and needs no float copy of a large image.
        resized = Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR)
        return Prepared(np.asarray(resized), height, width)

    def stream(self, items: Iterable[tuple[KeyT, Prepared]]) -> Iterator[tuple[KeyT, NDArray[np.float32]]]:
        """The saliency (H, W) in [0, 1] of every prepared image, under its key, in order.

        Reads ``items`` as it goes. Neighbours of equal shape share a batch.
        """
        waiting: list[tuple[KeyT, Prepared]] = []
        for item in items:
            if waiting and (len(waiting) == self.config.batch_size or item[1].pixels.shape != waiting[0][1].pixels.shape):
                yield from self._flush(waiting)
                waiting = []
            waiting.append(item)
        if waiting:
            yield from self._flush(waiting)

    def provenance(self) -> dict[str, Any]:
        """What a saliency map depends on: weights, configuration, device, software."""
        return {
            "weights": self.name,
            "fingerprint": self.fingerprint,
            **self.config.to_json(),
            "size": self.size,
            "device": self.device.type,
            "torch": torch.__version__,
        }

    def _flush(self, items: list[tuple[KeyT, Prepared]]) -> Iterator[tuple[KeyT, NDArray[np.float32]]]:
        maps = self._run(np.stack([prepared.pixels for _, prepared in items]))
        for (key, prepared), small in zip(items, maps, strict=True):
            yield key, self._resize_back(small, prepared.height, prepared.width)

    @torch.inference_mode()
    def _run(self, pixels: NDArray[np.uint8]) -> Tensor:
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        try:
            with autocast(self.device, self.config.precision):
                logits = self.net(images.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            shown = f"{len(images)} images of {images.shape[3]}x{images.shape[2]}"
            raise LanternError(f"there is not memory enough for {shown}", "Choose a smaller size or batch_size.") from error
        saliency = saliency_logits(logits.float()).sigmoid().cpu()
        remedy = "Its weights are broken: take an earlier checkpoint, or train anew."
        require(bool(saliency.isfinite().all()), f"the network {self.name} gives values that are no numbers", remedy)
        return saliency

    def _resize_back(self, saliency: Tensor, height: int, width: int) -> NDArray[np.float32]:
        if saliency.shape == (height, width):
            return np.asarray(saliency.numpy())
        if self.config.preset == "reference":
            levels = Image.fromarray((saliency * 255).byte().numpy())
            return grey_levels(levels.resize((width, height), Image.Resampling.BILINEAR))
        resized = F.interpolate(saliency[None, None], (height, width), mode="bilinear", antialias=True)
        return np.asarray(resized[0, 0].clamp(0, 1).numpy())


def load_segmenter(path: Path, device: torch.device | str = "cpu", config: InferenceConfig | None = None) -> Segmenter:
    """A segmenter with the weights in ``path``; see :func:`segmentation.unet.load_unet` for files and errors."""
    loaded = load_unet(path)
    segmenter = Segmenter(loaded.net, loaded.size, device, config, loaded.name, loaded.fingerprint)
    segmenter.made_by = loaded.provenance
    return segmenter


@dataclasses.dataclass(frozen=True)
class PredictionReport:
    """What became of a folder of images."""

    written: tuple[str, ...]
    """Names of the images whose saliency was written."""
    skipped: tuple[str, ...]
    """For each image that was not: what is wrong with it."""
    stopped: bool
    """Whether the watcher asked to stop before the end."""


def predict_folder(segmenter: Segmenter, images: Path, out: Path, watcher: Watcher | None = None) -> PredictionReport:
    """Write the saliency of every image in the folder ``images`` (or of one file) to ``out``.

    ``photos/birds/003.jpg`` becomes ``out/birds/003.png``, 8-bit grey; a saliency of 1 is 255. Images that cannot be read are
    skipped and reported. Errors: :class:`LanternError` if there are no images, none can be read, two differ by their suffix
    alone, ``out`` would mix with ``images``, or a map cannot be written.
    """
    watcher = watcher or Unwatched()
    paths = {images.stem: images} if images.is_file() else by_stem(images)
    target = out.resolve()
    taken = target.is_relative_to(images.resolve()) or target / f"{images.stem}.png" == images.resolve()
    require(not taken, f"the saliency maps would lie among the images in {images}", "Choose another folder for them.")
    skipped: list[str] = []
    written: list[str] = []
    for name, saliency in segmenter.stream(_readable(segmenter, paths, skipped, watcher)):
        write_image(out / f"{name}.png", (saliency * 255).round().astype(np.uint8))
        written.append(name)
        watcher.advance(len(written), len(paths), {"skipped": len(skipped)})
        if watcher.stop_requested():
            break
    require(bool(written), f"none of the images in {images} can be read ({few(skipped, 1)})", "Give JPEG or PNG images.")
    return PredictionReport(tuple(written), tuple(skipped), len(written) + len(skipped) < len(paths))


def _readable(
    segmenter: Segmenter, paths: dict[str, Path], skipped: list[str], watcher: Watcher
) -> Iterator[tuple[str, Prepared]]:
    for name, path in paths.items():
        try:
            prepared = segmenter.prepare(read_image(path))
        except LanternError as error:
            skipped.append(error.problem if str(path) in error.problem else f"{path}: {error.problem}")
            watcher.note(f"skipped: {skipped[-1]}")
        else:
            yield name, prepared


def overlay(image: NDArray[np.uint8], saliency: NDArray[np.float32], threshold: float = 0.5) -> NDArray[np.uint8]:
    """``image`` (H, W, 3) with the object tinted and outlined, so that it can be told without seeing colours.

    The object is where ``saliency`` (H, W) in [0, 1] is ``threshold`` or more; the line is white inside and black outside.
    """
    _check_image(image, saliency)
    mask = saliency >= threshold
    tinted = (0.55 * image + 0.45 * np.array(TINT)).round().astype(np.uint8)
    drawn = np.where(mask[..., None], tinted, image)
    reach = 2 * max(1, round(min(mask.shape) / 200)) + 1
    shape = Image.fromarray(mask.astype(np.uint8) * 255)
    shrunk = np.asarray(shape.filter(ImageFilter.MinFilter(reach))) > 0
    grown = np.asarray(shape.filter(ImageFilter.MaxFilter(reach))) > 0
    drawn[mask & ~shrunk] = 255
    drawn[grown & ~mask] = 0
    return drawn


def cut_out(image: NDArray[np.uint8], saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """``image`` (H, W, 3) with ``saliency`` (H, W) in [0, 1] as its alpha: (H, W, 4) RGBA."""
    _check_image(image, saliency)
    alpha = (saliency.clip(0, 1) * 255).round().astype(np.uint8)
    return np.dstack([image, alpha])


def _check_image(image: NDArray[np.uint8], saliency: NDArray[np.float32] | None = None) -> None:
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and min(image.shape) > 0
    require(fits, f"the image is {image.dtype} of shape {image.shape}", "Give RGB, (H, W, 3) uint8.")
    same = saliency is None or saliency.shape == image.shape[:2]
    require(same, f"the saliency does not have the image's size, {image.shape[1]}x{image.shape[0]}", "Make it from this image.")
