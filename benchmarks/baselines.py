"""Time the classical methods on images: ``python -m benchmarks.baselines --images DIR [--count N]``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from segmentation.datasets import list_images, read_image
from segmentation.methods import CLASSICAL


def main() -> None:
    """Print each method's processor time an image, which counts nothing that other programs do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--count", type=int, default=12, help="images, evenly spread over the folder (default: %(default)s)")
    options = parser.parse_args()
    paths = list_images(options.images)
    images = [read_image(paths[index * len(paths) // options.count]) for index in range(options.count)]
    for method in CLASSICAL.values():
        method.function(images[0])
        started = time.process_time()
        for image in images:
            method.function(image)
        print(f"{method.title:<14} {1000 * (time.process_time() - started) / len(images):6.0f} ms an image")


if __name__ == "__main__":
    main()
