"""Encoders whose codes are known, and photographs for them; a command line names them as ``encoders.py:Name``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.analytic import DiscEncoder, DiscGenerator

SIDE = 32


class LoggingEncoder(DiscEncoder):
    """Slow, and writes the first pixel of every image it encodes to the file that ENCODER_LOG names, a line each."""

    def encode(self, images: Tensor) -> Tensor:
        time.sleep(float(os.environ.get("ENCODER_SECONDS", "0")))
        levels = ((images[:, :, 0, 0] + 1) * 127.5).round().int().tolist()
        with Path(os.environ["ENCODER_LOG"]).open("a") as log:
            log.writelines(f"{red} {green}\n" for red, green, _ in levels)
        return images[:, :, 0, 0].repeat(1, 3)[:, :8]


class SlowDisc(DiscGenerator):
    """Takes GENERATOR_SECONDS for every batch of images."""

    def generate(self, codes: Tensor) -> Tensor:
        time.sleep(float(os.environ.get("GENERATOR_SECONDS", "0")))
        return super().generate(codes)


class DrawingEncoder(DiscGenerator):
    """Takes images of 48 pixels and gives a distribution: the mean grey, and a deviation that is the column's number."""

    name = "drawing"
    fingerprint = "drawing-1"
    encoder_resolution = 48

    def encode(self, images: Tensor) -> Tensor:
        raise AssertionError("the distribution is to be asked for")

    def posterior(self, images: Tensor) -> Tensor:
        means = images.mean((1, 2, 3))[:, None].expand(-1, self.latent_dim)
        return torch.stack([means, torch.arange(self.latent_dim).expand_as(means)], 1)


class PlainGenerator(DiscGenerator):
    """Has no encoder."""


class WideEncoder(DiscEncoder):
    """Takes images of 48 pixels, of whose middle and corner it reads light and ground as of smaller ones."""

    encoder_resolution = 48

    def encode(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (3, 48, 48)
        return super().encode(torch.nn.functional.interpolate(images, size=32, mode="area"))


class FaintEncoder(DiscEncoder):
    """Has no finite code for a black photograph."""

    def encode(self, images: Tensor) -> Tensor:
        codes = images[:, :, 0, 0].repeat(1, 3)[:, :8]
        return torch.where(codes.sum(1, keepdim=True) <= -8, torch.nan, codes)


def write_flat(folder: Path, count: int, first: int = 0) -> None:
    """Photographs of one colour each: number n has red n % 256 and green n // 256."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = number % 256, number // 256
        Image.fromarray(pixels).save(folder / f"{number:05d}.png", compress_level=1)


def flat_codes(numbers: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The codes that :class:`LoggingEncoder` gives these photographs."""
    colours = np.array([[number % 256, number // 256, 0] for number in numbers], np.float32) / np.float32(127.5) - 1
    return np.tile(colours, (1, 3))[:, :8]
