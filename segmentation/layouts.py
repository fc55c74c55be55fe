"""Published data sets, found by their published folders under one root (paper, sections 4.1 to 4.3)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from segmentation.datasets import MASK_SUFFIXES, SUFFIXES, by_stem, few
from segmentation.errors import LanternError, require
from segmentation.layout_files import SPLITS, cub_boxes, cub_masks, davis, flowers, imagenet, open_images
from segmentation.truths import Sample, Truth

KINDS = ("masks", "boxes", "regions")
"""Hand-made masks, boxes, or masks with regions to ignore."""
Pairs = dict[str, tuple[Path, Truth]]


class Dataset:
    """A data set that is there: images with their truths, read one by one.

    ``missing`` are names of images without a truth, ``spare`` of truths without an image.
    """

    def __init__(
        self, name: str, kind: str, folder: Path, pairs: Pairs, missing: Sequence[str] = (), spare: Sequence[str] = ()
    ) -> None:
        self.name, self.kind, self.folder = name, kind, folder
        self.pairs, self.missing, self.spare = pairs, list(missing), list(spare)
        self.names = list(pairs)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, name: str) -> Sample:
        """The sample called ``name``. Errors: as :meth:`segmentation.truths.Truth.read`."""
        image, truth = self.pairs[name]
        return truth.read(name, image)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(name) for name in self.names)

    def mark(self) -> str:
        """Changes when an image or a truth is added, taken away or written anew; nothing is read for it."""
        told = hashlib.sha256()
        for name, (image, truth) in self.pairs.items():
            files = (image, *truth.masks, *([truth.ignore] if truth.ignore is not None else []))
            states = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
            told.update(repr((name, states, truth.boxes)).encode())
        return told.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A published data set: how it is called, how large it is, where it lies and where one gets it."""

    name: str
    """As the paper calls it."""
    kind: str
    """One of :data:`KINDS`."""
    images: int
    """How many images it has, in the split that is scored."""
    expects: str
    """The published folders, in words."""
    source: str
    """Where one gets it."""
    find: Callable[[Path, str], Dataset | None]
    """The data set under a root, for a split (train, test or all); None if it is not there."""


def _pairs_of(images: Mapping[str, Path], masks: Mapping[str, Path]) -> tuple[Pairs, list[str], list[str]]:
    pairs = {name: (path, Truth((masks[name],))) for name, path in images.items() if name in masks}
    return pairs, [name for name in images if name not in masks], [name for name in masks if name not in images]


def folder_pair(images: Path, masks: Path, name: str = "") -> Dataset:
    """The data set of the folders ``images`` and ``masks``, matched by path within the folder, without suffix.

    A folder that holds both (``1.jpg`` beside ``1.png``) is taken apart by suffix: JPEG images, PNG masks. Errors:
    :class:`LanternError` if a folder is missing or empty, or nothing matches.
    """
    if images.resolve() == masks.resolve():
        found, truths = by_stem(images, (".jpg", ".jpeg")), by_stem(masks, (".png",))
    else:
        found, truths = by_stem(images, SUFFIXES), by_stem(masks, MASK_SUFFIXES)
    pairs, missing, spare = _pairs_of(found, truths)
    remedy = "Give a mask the name of its image."
    require(bool(pairs), f"no image in {images} has a mask in {masks} (images: {few(missing)}; masks: {few(spare)})", remedy)
    return Dataset(name or images.parent.name, "masks", images.parent, pairs, missing, spare)


def _folders(name: str, *choices: tuple[str, str]) -> Callable[[Path, str], Dataset | None]:
    def find(root: Path, split: str) -> Dataset | None:
        for images, masks in choices:
            if (root / images).is_dir() and (root / masks).is_dir():
                return folder_pair(root / images, root / masks, name)
        return None

    return find


def _read_by(
    name: str, kind: str, reader: Callable[[Path, str], tuple[Pairs, list[str], list[str]]], *folders: str
) -> Callable[[Path, str], Dataset | None]:
    def find(root: Path, split: str) -> Dataset | None:
        for folder in folders:
            if (root / folder).is_dir():
                return Dataset(name, kind, root / folder, *reader(root / folder, split))
        return None

    return find


def _pair_folders(name: str, images: str, masks: str, *parents: str) -> Callable[[Path, str], Dataset | None]:
    return _folders(name, *((f"{parent}{images}", f"{parent}{masks}") for parent in parents))


LAYOUTS = (
    Layout(
        "ECSSD",
        "masks",
        1000,
        "ECSSD/images/*.jpg, ECSSD/ground_truth_mask/*.png",
        "https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/dataset.html",
        _pair_folders("ECSSD", "images", "ground_truth_mask", "ECSSD/"),
    ),
    Layout(
        "DUTS-TE",
        "masks",
        5019,
        "DUTS-TE/DUTS-TE-Image/*.jpg, DUTS-TE/DUTS-TE-Mask/*.png",
        "http://saliencydetection.net/duts/",
        _pair_folders("DUTS-TE", "DUTS-TE-Image", "DUTS-TE-Mask", "DUTS-TE/", "DUTS/DUTS-TE/", "DUTS/"),
    ),
    Layout(
        "DUTS-TR",
        "masks",
        10553,
        "DUTS-TR/DUTS-TR-Image/*.jpg, DUTS-TR/DUTS-TR-Mask/*.png",
        "http://saliencydetection.net/duts/",
        _pair_folders("DUTS-TR", "DUTS-TR-Image", "DUTS-TR-Mask", "DUTS-TR/", "DUTS/DUTS-TR/", "DUTS/"),
    ),
    Layout(
        "DUT-OMRON",
        "masks",
        5168,
        "DUT-OMRON/DUT-OMRON-image/*.jpg, DUT-OMRON/pixelwiseGT-new-PNG/*.png",
        "http://saliencydetection.net/dut-omron/",
        _folders(
            "DUT-OMRON",
            *(
                (f"{parent}{images}", f"{parent}{masks}")
                for parent in ("DUT-OMRON/", "DUTS-OMRON/", "")
                for images in ("DUT-OMRON-image/DUT-OMRON-image", "DUT-OMRON-image")
                for masks in ("pixelwiseGT-new-PNG", "DUT-OMRON-gt-pixelwise.zip/pixelwiseGT-new-PNG")
            ),
        ),
    ),
    Layout(
        "CUB-200-2011",
        "masks",
        1000,
        "CUB_200_2011/images.txt, images/, segmentations/ (there, or beside CUB_200_2011) and train_val_test_split.txt "
        "(0 train, 1 validation, 2 test), the split of 10,000 / 1,000 that comes with ReDO's code",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/; the split: "
        "https://github.com/mickaelChen/ReDO/tree/master/datasplits/cub",
        _read_by("CUB-200-2011", "masks", cub_masks, "CUB_200_2011"),
    ),
    Layout(
        "Flowers-102",
        "masks",
        1020,
        "102flowers/jpg/image_*.jpg, segmim/segmim_*.jpg and setid.mat (test: its trnid, as ReDO's code has it)",
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        _read_by("Flowers-102", "masks", flowers, "102flowers", "flowers-102", "Flowers", "flowers"),
    ),
    Layout(
        "ImageNet",
        "boxes",
        50000,
        "ILSVRC/Data/CLS-LOC/val/*.JPEG, ILSVRC/Annotations/CLS-LOC/val/*.xml; names in "
        "ILSVRC/ImageSets/CLS-LOC/benchmark.txt, one a line, choose a part (the paper: 10,000)",
        "https://www.image-net.org/challenges/LSVRC/2012/ (registration)",
        _read_by("ImageNet", "boxes", imagenet, "ILSVRC", "imagenet/ILSVRC"),
    ),
    Layout(
        "CUB-200-2011 boxes",
        "boxes",
        5794,
        "CUB_200_2011/images.txt, images/, bounding_boxes.txt and train_test_split.txt",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        _read_by("CUB-200-2011 boxes", "boxes", cub_boxes, "CUB_200_2011"),
    ),
    Layout(
        "OpenImages",
        "regions",
        5000,
        "OpenImages/test/CLASS/*.jpg with masks *_m*.png and *_ignore.png, and localization.txt in "
        "OpenImages/metadata/test/ or metadata/OpenImages/test/ beside it",
        "https://github.com/clovaai/wsolevaluation",
        _read_by("OpenImages", "regions", open_images, "OpenImages"),
    ),
    Layout(
        "Weizmann horses",
        "masks",
        328,
        "weizmann_horse_db/rgb/*.jpg and figure_ground/*.jpg, or weizmann_horses/images/ and masks/",
        "Borenstein and Ullman's Weizmann horse database",
        _folders(
            "Weizmann horses",
            ("weizmann_horse_db/rgb", "weizmann_horse_db/figure_ground"),
            ("weizmann_horses/images", "weizmann_horses/masks"),
        ),
    ),
    Layout(
        "DAVIS-2016",
        "masks",
        1376,
        "DAVIS/JPEGImages/480p/SEQUENCE/*.jpg, DAVIS/Annotations/480p/SEQUENCE/*.png, DAVIS/ImageSets/480p/val.txt",
        "https://davischallenge.org/davis2016/code.html",
        _read_by("DAVIS-2016", "masks", davis, "DAVIS", "DAVIS-2016"),
    ),
    Layout(
        "PASCAL-S",
        "masks",
        850,
        "PASCAL-S/datasets/imgs/pascal/*.jpg, PASCAL-S/datasets/masks/pascal/*.png",
        "https://cbs.ic.gatech.edu/salobj/",
        _folders(
            "PASCAL-S",
            ("PASCAL-S/datasets/imgs/pascal", "PASCAL-S/datasets/masks/pascal"),
            ("datasets/imgs/pascal", "datasets/masks/pascal"),
        ),
    ),
    Layout(
        "HKU-IS",
        "masks",
        4447,
        "HKU-IS/imgs/*.png, HKU-IS/gt/*.png",
        "https://i.cs.hku.hk/~gbli/deep_saliency.html",
        _pair_folders("HKU-IS", "imgs", "gt", "HKU-IS/"),
    ),
)


def layout(name: str) -> Layout:
    """The published data set called ``name``, in any case; :class:`LanternError` names those there are."""
    for known in LAYOUTS:
        if known.name.lower() == name.lower():
            return known
    raise LanternError(f"no data set is called {name}", f"Known: {', '.join(known.name for known in LAYOUTS)}.")


def locate(root: Path, name: str, split: str = "test") -> Dataset:
    """The data set ``name`` under ``root``: a published one, or the pair ``ROOT/NAME/images`` and ``ROOT/NAME/masks``.

    Errors: :class:`LanternError` if it is not there, with where one gets it, or if its files contradict each other.
    """
    require(split in SPLITS, f"the split is {split!r}", f"Choose one of: {', '.join(SPLITS)}.")
    require(root.is_dir(), f"the folder {root} does not exist", "Give the folder in which the data sets lie.")
    if not any(known.name.lower() == name.lower() for known in LAYOUTS):
        if all((root / name / part).is_dir() for part in ("images", "masks")):
            return folder_pair(root / name / "images", root / name / "masks", name)
        own = "or the name of a folder in it with images/ and masks/"
        raise LanternError(
            f"{root} has no data set {name}", f"Give one of {', '.join(known.name for known in LAYOUTS)}; {own}."
        )
    known = layout(name)
    found = known.find(root, split)
    if found is None:
        raise LanternError(f"{known.name} is not in {root}", f"It is expected as {known.expects}. Source: {known.source}.")
    require(len(found) > 0, f"{known.name} in {found.folder} has no image with its truth", f"Expected: {known.expects}.")
    return found


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was found of a data set."""

    name: str
    """Its name."""
    kind: str
    """One of :data:`KINDS`."""
    found: int | None
    """Images with their truth; None if the data set is not there, or cannot be read."""
    expected: int | None
    """Published number of images; None for a pair of folders of one's own."""
    missing: tuple[str, ...] = ()
    """Images without a truth."""
    spare: tuple[str, ...] = ()
    """Truths without an image."""
    problem: str = ""
    """Why it cannot be read."""
    remedy: str = ""
    """What is expected and where one gets it, where something is not right."""
    folder: Path | None = None
    """Where it was found."""


def survey(root: Path) -> list[Survey]:
    """What is under ``root``: a line for each published data set, then one for each other folder with images/ and masks/.

    Errors: :class:`LanternError` if there is no such folder.
    """
    require(root.is_dir(), f"the folder {root} does not exist", "Give the folder in which the data sets lie.")
    lines = [_surveyed(known, root) for known in LAYOUTS]
    taken = [line.folder for line in lines]
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path not in taken):
        if (folder / "images").is_dir() and (folder / "masks").is_dir():
            try:
                own = locate(root, folder.name)
            except LanternError as error:
                lines.append(Survey(folder.name, "masks", None, None, problem=error.problem, remedy=error.remedy))
            else:
                lines.append(Survey(own.name, "masks", len(own), None, tuple(own.missing), tuple(own.spare), folder=folder))
    return lines


def _surveyed(known: Layout, root: Path) -> Survey:
    remedy = f"expected: {known.expects}; source: {known.source}"
    try:
        found = known.find(root, "test")
    except LanternError as error:
        return Survey(known.name, known.kind, None, known.images, problem=error.problem, remedy=error.remedy)
    if found is None:
        return Survey(known.name, known.kind, None, known.images, remedy=remedy)
    right = len(found) == known.images
    return Survey(
        known.name,
        known.kind,
        len(found),
        known.images,
        tuple(found.missing),
        tuple(found.spare),
        remedy="" if right else remedy,
        folder=found.folder,
    )
