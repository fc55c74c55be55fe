"""A data set of shards in forms that other programs read: folders of PNG images, and tars as WebDataset has them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.configuration import check_choice
from segmentation.errors import require
from segmentation.files import replacing
from segmentation.progress import Watcher
from segmentation.reading import Shards
from segmentation.runfolder import claim

FORMS = ("folders", "webdataset")


def export(shards: Shards, out: Path, form: str, watcher: Watcher, run: Path) -> int | None:
    """Write the samples of ``shards`` to ``out`` and nothing else; go on where an export to ``out`` stopped.

    The folder ``run`` says what they are of, and belongs to ``out``.

    ``folders``: ``images/00000/000000.png`` and ``masks/00000/000000.png``, a folder a shard, the masks in 8-bit grey (255 is
    the object). ``webdataset``: a tar a shard, ``00000.tar``, in which sample 7 is ``000000007.image.png`` and
    ``000000007.mask.png``. Holds a sample at a time. Returns how many samples there are in ``out``, or None if the watcher
    asked to stop. Errors: :class:`LanternError` if ``out`` holds something else, or the disk is full.
    """
    check_choice("to", form, FORMS)
    if not (run / "config.json").exists():
        others = (out / "images").exists() or (out / "masks").exists() or any(out.glob("*.tar"))
        require(not others, f"{out} holds images, masks or tars already, and not of this export", "Choose another folder.")
    claim(run, {"export": form, "data": shards.fingerprint})
    write = {"folders": _write_folder, "webdataset": _write_tar}[form]
    done = 0
    for shard, size in enumerate(shards.sizes):
        if not write(shards, shard, done, out, watcher):
            return None
        done += size
        watcher.advance(done, len(shards), {})
        if done < len(shards) and watcher.stop_requested():
            return None
    return done


def _write_folder(shards: Shards, shard: int, first: int, out: Path, watcher: Watcher) -> bool:
    """The samples of a shard as files; False if the watcher asked to stop."""
    for place in range(shards.sizes[shard]):
        paths = [out / kind / f"{shard:05d}" / f"{place:06d}.png" for kind in ("images", "masks")]
        if not all(path.exists() for path in paths):
            for path, picture in zip(paths, _pictures(shards, first + place), strict=True):
                # Settling each of so many small files would take longer than writing them.
                with replacing(path, settled=False) as temporary:
                    temporary.write_bytes(picture)
        if place % 64 == 63:
            watcher.advance(first + place + 1, len(shards), {})
            if watcher.stop_requested():
                return False
    return True


def _write_tar(shards: Shards, shard: int, first: int, out: Path, watcher: Watcher) -> bool:
    """The samples of a shard as a tar, unless it is there; never stopped in the middle."""
    path = out / f"{shard:05d}.tar"
    if path.exists():
        return True
    with replacing(path) as temporary, tarfile.open(temporary, "w") as archive:
        for index in range(first, first + shards.sizes[shard]):
            for kind, picture in zip(("image", "mask"), _pictures(shards, index), strict=True):
                # Without owner and time, so that the same data set always gives the same tar.
                member = tarfile.TarInfo(f"{index:09d}.{kind}.png")
                member.size = len(picture)
                archive.addfile(member, io.BytesIO(picture))
    return True


def _pictures(shards: Shards, index: int) -> tuple[bytes, bytes]:
    """A sample's image and mask as PNG."""
    image, mask = shards[index]
    return _png(image), _png(mask.astype(np.uint8) * 255)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()
