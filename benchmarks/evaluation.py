"""Time a scoring with an untrained U-Net: ``python -m benchmarks.evaluation --images DIR --masks DIR [--limit N]``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from segmentation.inference import InferenceConfig, Segmenter
from segmentation.layouts import folder_pair
from segmentation.methods import Network
from segmentation.scoring import ScoringConfig, score
from segmentation.unet import UNet, UNetConfig


def main() -> None:
    """Print seconds of the clock and of the processor, and what the whole data set takes at that rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--masks", type=Path, required=True, help="folder of their masks")
    parser.add_argument("--limit", type=int, help="only so many images")
    parser.add_argument("--width", type=int, default=64, help="channels of the first layer; the paper's: %(default)s")
    parser.add_argument("--size", type=int, default=128, help="shorter side in pixels; the paper's: %(default)s")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or auto (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads that torch uses (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = InferenceConfig(precision=options.precision)
    segmenter = Segmenter(UNet(UNetConfig(width=options.width)), options.size, config=config)
    dataset = folder_pair(options.images, options.masks)
    started, used = time.perf_counter(), time.process_time()
    sheet = score(Network(segmenter), dataset, ScoringConfig(limit=options.limit))
    for name, seconds in (("clock", time.perf_counter() - started), ("processor", time.process_time() - used)):
        whole = seconds * len(dataset) / sheet.images
        print(f"{name:<10} {seconds:6.1f} s for {sheet.images} images, {whole:6.1f} s for {len(dataset)}")


if __name__ == "__main__":
    main()
