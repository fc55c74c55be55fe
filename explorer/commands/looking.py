"""Commands that show what a generator makes: sample, walk, masks, reconstruct."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from explorer.commands.options import DirectionOptions, Flat, GeneratorOptions, check_picture, second_shift, suffix_of
from explorer.embedding import check_encoder, load_squares, reconstruct_squares
from explorer.engine import MAX_TRUNCATION, Engine
from explorer.generators.registry import load_generator
from explorer.sources import read_codes
from explorer.views import MaskView, WalkView
from segmentation.files import write_array, write_array_in_parts, write_arrays, write_image
from segmentation.filters import FilterConfig, Verdicts, filter_pairs
from segmentation.pairs import read_pairs
from segmentation.pictures import image_grid, mask_picture, tile, to_uint8


def sample(
    options: Annotated[GeneratorOptions, Flat],
    out: Path,
    codes: Path | None = None,
    seed: int = 0,
    count: int = 36,
    truncation: float = MAX_TRUNCATION,
    columns: int = 6,
) -> None:
    """Images of latent codes.

    Args:
        options: the generator.
        out: an array (.npy: float32 (N, 3, H, W) in [-1, 1]) or a grid (.png, .jpg).
        codes: latent codes (.npy, (N, d)); without them they are drawn from N(0, I) by seed.
        seed: seed of the latent codes.
        count: how many latent codes to draw.
        truncation: entries of the latent codes stay within plus or minus this; 4 and above: no truncation.
        columns: images a row of the grid.
    """
    suffix = suffix_of(out, ".npy", ".png", ".jpg")
    engine = Engine(load_generator(options.generator), options.engine)
    latent = read_codes(codes) if codes else engine.codes(count, seed, truncation)
    if suffix == ".npy":
        shape = (len(latent), 3, engine.resolution, engine.resolution)
        write_array_in_parts(out, shape, (batch.numpy() for batch in engine.image_batches(latent)))
    else:
        check_picture(len(latent))
        write_image(out, image_grid(engine.images(latent).cpu(), columns))
    print(f"{len(latent)} images in {out}")


def walk(
    options: Annotated[DirectionOptions, Flat],
    out: Path,
    magnitude: float | None = None,
    seed: int = 0,
    truncation: float = MAX_TRUNCATION,
    count: int = WalkView.count,
    steps: int = WalkView.steps,
    image: Path | None = None,
    alpha: float = WalkView.alpha,
    second: int | None = None,
    second_magnitude: float | None = None,
    pins: str = "",
) -> None:
    """A strip of images for each latent code, from minus to plus the magnitude along a direction.

    Args:
        options: the generator and the direction.
        out: the picture (.png, .jpg).
        magnitude: length of the shift at the ends; by default what the catalogue says.
        seed: seed of the latent codes.
        truncation: entries of the latent codes stay within plus or minus this; 4 and above: no truncation.
        count: latent codes, one a row.
        steps: images a row.
        image: a photograph to start from: its latent code is the first row, the others are that code with noise.
        alpha: with an image: weight of the noise, which is drawn by seed.
        second: index of a second direction, by which every image is shifted besides.
        second_magnitude: length of that shift, also below 0; by default what the catalogue says.
        pins: latent codes for the first rows, whatever the seed: seed:index of each, as in 11:0,11:3.
    """
    suffix_of(out, ".png", ".jpg")
    check_picture(count * steps)
    bench, index = options.open()
    length = bench.catalogue.magnitude(index, magnitude)
    origin = () if image is None else tuple(bench.reconstruct(image).codes[0].tolist())
    besides = second_shift(bench.catalogue, second, second_magnitude)
    strips = bench.walk(WalkView(index, length, seed, truncation, count, steps, origin, alpha, *besides, pins))
    write_image(out, tile(strips.reshape(-1, *strips.shape[2:]), steps))
    print(f"direction {bench.catalogue.title(index)}, magnitude {length:g}: {out}")


def masks(
    options: Annotated[DirectionOptions, Flat],
    filters: Annotated[FilterConfig, Flat],
    out: Path,
    pairs: Path | None = None,
    magnitude: float | None = None,
    seed: int = 0,
    truncation: float = MAX_TRUNCATION,
    count: int = 24,
) -> None:
    """Masks and verdicts, for pairs on disk or for fresh ones.

    Args:
        options: the generator and the direction, for fresh pairs.
        filters: what is rejected.
        out: arrays (.npz: raw_mask, mask, area, accepted, rejected_by, size_ok, histogram_ok) or a picture (.png, .jpg).
        pairs: pairs on disk (.npz with image and shifted, (N, 3, H, W) in [-1, 1]).
        magnitude: length of the shift; by default what the catalogue says.
        seed: seed of the latent codes.
        truncation: entries of the latent codes stay within plus or minus this; 4 and above: no truncation.
        count: fresh pairs to make.
    """
    suffix = suffix_of(out, ".npz", ".png", ".jpg")
    if suffix != ".npz" and pairs is None:
        check_picture(4 * count)
    if pairs is not None:
        images, shifted = read_pairs(pairs)
        verdicts = filter_pairs(images, shifted, filters)
    else:
        bench, index = options.open()
        length = bench.catalogue.magnitude(index, magnitude)
        images, shifted, verdicts = bench.verdicts(MaskView(index, length, seed, truncation, count), filters)
    if suffix == ".npz":
        write_arrays(out, verdict_arrays(verdicts))
    else:
        check_picture(4 * len(images))
        columns = [to_uint8(images), to_uint8(shifted), mask_picture(verdicts.raw_mask), mask_picture(verdicts.mask)]
        write_image(out, tile(np.stack(columns, 1).reshape(-1, *columns[0].shape[1:]), 4))
    for number in range(len(images)):
        print(f"{number}: {verdicts.explain(number)}")
    print(f"accepted {verdicts.accepted.float().mean():.3f} of {len(images)}; {out}")


def reconstruct(
    options: Annotated[GeneratorOptions, Flat],
    images: Path,
    out: Path,
    codes: Path | None = None,
    columns: int = 4,
) -> None:
    """Photographs beside what the generator makes of their latent codes, and how far off that is.

    Args:
        options: the generator; it needs an encoder.
        images: a photograph, or a folder or a tar of them; the encoder sees the square in the middle of each.
        out: the picture (.png, .jpg): each square, and right of it its reconstruction.
        codes: where the latent codes go too (.npy, float32 (N, d)), in the order in which the errors are printed.
        columns: photographs a row.
    """
    suffix_of(out, ".png", ".jpg")
    if codes is not None:
        suffix_of(codes, ".npy")
    engine = Engine(load_generator(options.generator), options.engine)
    check_encoder(engine)
    squares, names, unreadable = load_squares(engine, images)
    check_picture(2 * len(names))
    made = reconstruct_squares(engine, squares)
    pairs = np.stack([made.squares, made.images], 1)
    write_image(out, tile(pairs.reshape(-1, *pairs.shape[2:]), 2 * min(columns, len(names))))
    if codes is not None:
        write_array(codes, made.codes)
    for name in unreadable:
        print(f"passed over, no image: {name}")
    for name, error in zip(names, made.errors, strict=True):
        print(f"{name}: mean squared error {error:.4f}")
    print(f"mean {np.mean(made.errors):.4f} of {len(names)}, of pixels in [-1, 1]; {out}")


def verdict_arrays(verdicts: Verdicts) -> dict[str, NDArray[np.generic]]:
    """The arrays that ``masks --out FILE.npz`` writes."""
    tensors = ("raw_mask", "mask", "area", "accepted", "size_ok", "histogram_ok")
    arrays: dict[str, NDArray[np.generic]] = {name: getattr(verdicts, name).cpu().numpy() for name in tensors}
    return {**arrays, "rejected_by": np.array(verdicts.rejected_by, dtype=np.str_)}
