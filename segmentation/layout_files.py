"""The files that published data sets describe themselves by: lists, splits, boxes, annotations."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from segmentation.datasets import MASK_SUFFIXES, by_stem
from segmentation.errors import LanternError, require
from segmentation.truths import Box, Truth

SPLITS = ("test", "train", "all")
Read = tuple[dict[str, tuple[Path, Truth]], list[str], list[str]]
_LARGEST_XML = 1_000_000
_OBTAIN = "Take the file from the data set's archive."


def read_words(path: Path, columns: int) -> list[list[str]]:
    """The lines of the text file ``path``, each split into ``columns`` words.

    Errors: :class:`LanternError` if it is missing, or a line has another number of words.
    """
    require(path.is_file(), f"{path} does not exist", _OBTAIN)
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    for number, words in enumerate(lines, 1):
        require(len(words) == columns, f"line {number} of {path} has {len(words)} words instead of {columns}", _OBTAIN)
    return lines


def _numbered(path: Path, columns: int) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in read_words(path, columns)}


def _numbers(path: Path, number: str, words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise LanternError(f"entry {number} of {path} holds {' '.join(words)!r} in place of numbers", _OBTAIN) from error


def _chosen(folder: Path, split: str, file: str, codes: Mapping[str, str]) -> dict[str, str]:
    """Relative paths of CUB's images by number, of those that ``file`` puts into ``split`` by its ``codes``."""
    names = {number: words[0] for number, words in _numbered(folder / "images.txt", 2).items()}
    if split == "all":
        return names
    marks = _numbered(folder / file, 2)
    unmarked = [number for number in names if number not in marks]
    require(not unmarked, f"{folder / file} says nothing of {len(unmarked)} images (the first: {unmarked[:1]})", _OBTAIN)
    return {number: name for number, name in names.items() if marks[number][0] == codes[split]}


def cub_masks(folder: Path, split: str) -> Read:
    """CUB-200-2011 with its segmentations; the split stands in ``train_val_test_split.txt`` (ReDO's: 0, 1, 2).

    A segmentation counts annotators; what more than half of full scale say is object.
    """
    names = _chosen(folder, split, "train_val_test_split.txt", {"train": "0", "test": "2"})
    places = [place for place in (folder / "segmentations", folder.parent / "segmentations") if place.is_dir()]
    require(bool(places), f"{folder} has no segmentations", "Unpack segmentations.tgz there, or beside it.")
    pairs: dict[str, tuple[Path, Truth]] = {}
    missing = []
    for name in names.values():
        mask, image = (places[0] / name).with_suffix(".png"), folder / "images" / name
        if mask.is_file() and image.is_file():
            pairs[str(Path(name).with_suffix(""))] = image, Truth((mask,))
        else:
            missing.append(name)
    return pairs, missing, []


def cub_boxes(folder: Path, split: str) -> Read:
    """CUB-200-2011 with one box an image (``bounding_boxes.txt``: x, y, width, height); x1 = x + width, as Choe et al. do."""
    names = _chosen(folder, split, "train_test_split.txt", {"train": "1", "test": "0"})
    path = folder / "bounding_boxes.txt"
    boxes = _numbered(path, 5)
    pairs: dict[str, tuple[Path, Truth]] = {}
    missing = []
    for number, name in names.items():
        image = folder / "images" / name
        if number in boxes and image.is_file():
            x, y, width, height = _numbers(path, number, boxes[number])
            pairs[str(Path(name).with_suffix(""))] = image, Truth(boxes=((int(x), int(y), int(x + width), int(y + height)),))
        else:
            missing.append(name)
    return pairs, missing, []


def _flower_ids(folder: Path, split: str) -> set[int] | None:
    if split == "all":
        return None
    path = folder / "setid.mat"
    require(path.is_file(), f"{path} does not exist", _OBTAIN)
    name = {"train": "tstid", "test": "trnid"}[split]
    try:
        ids: NDArray[np.int64] = np.asarray(loadmat(path, variable_names=[name])[name], np.int64)
    except (KeyError, ValueError, OSError, TypeError, NotImplementedError) as error:
        raise LanternError(f"{path} has no list {name} ({error})", _OBTAIN) from error
    return set(ids.ravel().tolist())


def flowers(folder: Path, split: str) -> Read:
    """Flowers-102 with its masks, which are pictures on a blue ground; ReDO trains on ``tstid`` and tests on ``trnid``."""
    images = {_digits(path): path for path in by_stem(folder / "jpg").values()}
    masks = {_digits(path): path for path in by_stem(folder / "segmim").values()}
    wanted = _flower_ids(folder, split)
    images = {number: path for number, path in images.items() if wanted is None or number in wanted}
    pairs = {
        f"{number:05d}": (path, Truth((masks[number],), blue_ground=True)) for number, path in images.items() if number in masks
    }
    spare = [path.name for number, path in masks.items() if number not in images and (wanted is None or number in wanted)]
    return pairs, [path.name for number, path in images.items() if number not in masks], spare


def _digits(path: Path) -> int:
    found = re.search(r"\d+$", path.stem)
    if found is None:
        raise LanternError(f"the name of {path} does not end in a number", "Keep the published names: image_00001.jpg.")
    return int(found.group())


def imagenet(folder: Path, split: str) -> Read:
    """ImageNet's validation images with the boxes of their XML annotations.

    ``ImageSets/CLS-LOC/benchmark.txt``, if there, names the images to take, one a line.
    """
    part = "train" if split == "train" else "val"
    # Not by a walk through both folders: they hold 50,000 files, or a million.
    images = by_stem(folder / "Data" / "CLS-LOC" / part, (".jpeg", ".jpg"))
    chosen = folder / "ImageSets" / "CLS-LOC" / "benchmark.txt"
    if part == "val" and chosen.is_file():
        listed = [Path(words[0]).stem for words in read_words(chosen, 1)]
        unknown = [name for name in listed if name not in images]
        require(not unknown, f"{chosen} names {len(unknown)} images that are not there ({unknown[:1]})", "Mend that list.")
        images = {name: images[name] for name in listed}
    pairs: dict[str, tuple[Path, Truth]] = {}
    missing = []
    for name, image in images.items():
        annotation = folder / "Annotations" / "CLS-LOC" / part / f"{name}.xml"
        if annotation.is_file():
            pairs[name] = image, Truth(boxes=xml_boxes(annotation))
        else:
            missing.append(name)
    return pairs, missing, []


def xml_boxes(path: Path) -> tuple[Box, ...]:
    """The boxes in the PASCAL-VOC annotation ``path``. Errors: :class:`LanternError` if it is none, or has no box."""
    try:
        require(path.stat().st_size <= _LARGEST_XML, f"{path} is too large for an annotation", _OBTAIN)
        tree = ElementTree.parse(path)
        boxes = [
            tuple(int(float(box.findtext(side) or "")) for side in ("xmin", "ymin", "xmax", "ymax"))
            for box in tree.iter("bndbox")
        ]
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise LanternError(f"{path} is no annotation with boxes ({error})", _OBTAIN) from error
    require(bool(boxes), f"{path} has no box", _OBTAIN)
    return tuple((box[0], box[1], box[2], box[3]) for box in boxes)


def open_images(folder: Path, split: str) -> Read:
    """OpenImages as in Choe et al. (2020): ``localization.txt`` names image, mask of one instance, and what is ignored."""
    require(split != "all", "OpenImages has no split all", "Choose train or test.")
    part = "val" if split == "train" else "test"
    places = (folder / "metadata" / part, folder.parent / "metadata" / "OpenImages" / part)
    listing = next((place / "localization.txt" for place in places if (place / "localization.txt").is_file()), None)
    if listing is None:
        raise LanternError(f"{folder} has no metadata/{part}/localization.txt", "Take it from the benchmark's code.")
    masks: dict[str, list[Path]] = {}
    ignored: dict[str, Path] = {}
    for number, line in enumerate(listing.read_text(encoding="utf-8").split(), 1):
        words = line.split(",")
        require(len(words) == 3, f"line {number} of {listing} is not image,mask,ignored", _OBTAIN)
        masks.setdefault(words[0], []).append(folder / words[1])
        if words[2]:
            ignored[words[0]] = folder / words[2]
    pairs: dict[str, tuple[Path, Truth]] = {}
    missing = []
    for name, files in masks.items():
        needed = [folder / name, *files, *([ignored[name]] if name in ignored else [])]
        if all(path.is_file() for path in needed):
            pairs[str(Path(name).with_suffix(""))] = folder / name, Truth(tuple(files), ignored.get(name))
        else:
            missing.append(name)
    return pairs, missing, []


def davis(folder: Path, split: str) -> Read:
    """DAVIS-2016 at 480p, the frames of ``ImageSets/480p/val.txt`` (or train.txt), each line an image and its mask."""
    if split == "all":
        images = by_stem(folder / "JPEGImages" / "480p")
        masks = by_stem(folder / "Annotations" / "480p", MASK_SUFFIXES)
        pairs = {name: (path, Truth((masks[name],))) for name, path in images.items() if name in masks}
        spare = [name for name in masks if name not in images]
        return pairs, [name for name in images if name not in masks], spare
    pairs, missing = {}, []
    for image, mask in read_words(folder / "ImageSets" / "480p" / f"{'val' if split == 'test' else 'train'}.txt", 2):
        files = [folder / name.lstrip("/") for name in (image, mask)]
        name = "/".join(Path(image).with_suffix("").parts[-2:])
        if all(path.is_file() for path in files):
            pairs[name] = files[0], Truth((files[1],))
        else:
            missing.append(name)
    return pairs, missing, []
