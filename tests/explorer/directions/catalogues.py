"""Catalogues and thumbnails for the tests of what is done with them."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import torch
from PIL import Image

from explorer.directions.catalogue import Catalogue, Entry
from explorer.directions.thumbnails import put_thumbnails


def seeded_catalogue(count: int = 6, latent_dim: int = 8, seed: int = 0, fingerprint: str = "abc") -> Catalogue:
    """Random directions, the third of them saliency lighting, with a label each."""
    directions = torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(seed))
    entries = [Entry(label=f"label {index}", scores={"total": index / 10}) for index in range(count)]
    entries[2] = dataclasses.replace(entries[2], status="saliency lighting", sign=-1, magnitude=3.0)
    return Catalogue(directions / directions.norm(dim=1, keepdim=True), tuple(entries), f"seed {seed}", fingerprint)


def image_bytes(colour: int = 200, kind: str = "PNG", size: tuple[int, int] = (40, 8)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (colour, 30, 60)).save(stream, kind)
    return stream.getvalue()


def with_thumbnails(folder: Path, *indices: int) -> Catalogue:
    """Give these directions of the catalogue in ``folder`` a thumbnail of their own colour."""
    files = {}
    for index in indices:
        files[index] = folder.parent / f"strip-{folder.name}-{index}.png"
        files[index].write_bytes(image_bytes(10 * index))
    return put_thumbnails(folder, files)
