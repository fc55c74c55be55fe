"""The command that turns a TF-Hub module into PyTorch's form: convert."""

from __future__ import annotations

from pathlib import Path

from explorer.commands.options import suffix_of
from explorer.generators.bigbigan import MODULE_FINGERPRINT, save_bigbigan
from explorer.generators.tfhub import convert_module
from segmentation.configuration import check_range
from segmentation.errors import require

MAX_CODES = 1024
"""Latent codes to compare on."""


def convert(module: str, out: Path, tolerance: float = 1e-3, codes: int = 8, seed: int = 0) -> None:
    """BigBiGAN's TF-Hub module as a weights file for PyTorch, written if the two make the same images.

    Args:
        module: the module: its handle (https://tfhub.dev/deepmind/bigbigan-resnet50/1, .../bigbigan-revnet50x4/1), the name of
            an installed one (bigbigan-resnet50, bigbigan-revnet50x4), or the folder that holds it.
        out: the weights file (.safetensors).
        tolerance: largest difference of any pixel, in [-1, 1], between the images of the two.
        codes: on how many latent codes the two are compared.
        seed: seed of the latent codes.
    """
    suffix_of(out, ".safetensors")
    check_range("tolerance", tolerance, 0, 2)
    check_range("codes", codes, 1, MAX_CODES)
    conversion = convert_module(module, codes, seed)
    found = f"largest difference on {codes} latent codes: {conversion.difference:.2g}"
    require(
        conversion.difference <= tolerance,
        f"the module and its PyTorch form make other images ({found}, tolerance {tolerance:g}); nothing is written",
        "The module may be built otherwise than BigBiGAN; if it is to be converted all the same, raise --tolerance.",
    )
    save_bigbigan(conversion.state, out, {"module": module, MODULE_FINGERPRINT: conversion.fingerprint})
    if conversion.passed_over:
        kinds = ", ".join(sorted({name.rpartition("/")[2] for name in conversion.passed_over}))
        print(f"{len(conversion.passed_over)} variables passed over that only training needs ({kinds})")
    print(f"{module} in {out}; {found}")
