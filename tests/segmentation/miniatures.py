"""Miniature copies of published data sets, in their published folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

SHAPE = (24, 32)
BOX = (8, 6, 19, 15)
"""x0, y0, x1, y1 of the object, the last pixel included."""


def truth() -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[BOX[1] : BOX[3] + 1, BOX[0] : BOX[2] + 1] = True
    return mask


def picture(seed: int = 0) -> NDArray[np.uint8]:
    """A light object before a dark, slightly noisy ground."""
    noise = np.random.default_rng(seed).integers(0, 12, (*SHAPE, 3))
    return (np.where(truth()[..., None], (220, 190, 90), (40, 60, 50)) + noise).astype(np.uint8)


def save(path: Path, array: NDArray[np.uint8] | NDArray[np.bool_]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = array.astype(np.uint8) * 255 if array.dtype == bool else array
    options = {"quality": 98, "subsampling": 0} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    kind = "JPEG" if path.suffix == ".JPEG" else None
    Image.fromarray(levels).save(path, kind, **options)
    return path


def pairs(images: Path, masks: Path, names: list[str], image: str = ".jpg", mask: str = ".png") -> None:
    for number, name in enumerate(names):
        save(images / f"{name}{image}", picture(number))
        save(masks / f"{name}{mask}", truth())


def ecssd(root: Path) -> None:
    pairs(root / "ECSSD/images", root / "ECSSD/ground_truth_mask", ["0001", "0002", "0003"])


def duts(root: Path, part: str) -> None:
    folder = root / f"DUTS-{part}"
    pairs(folder / f"DUTS-{part}-Image", folder / f"DUTS-{part}-Mask", ["ILSVRC2012_test_00000003", "sun_aaa"])


def omron(root: Path) -> None:
    pairs(root / "DUT-OMRON/DUT-OMRON-image", root / "DUT-OMRON/pixelwiseGT-new-PNG", ["im005", "im006"])


CUB = ["001.Black_footed_Albatross/a_0001", "001.Black_footed_Albatross/a_0002", "002.Laysan_Albatross/b_0001", "002.L/b_2"]


def cub(root: Path) -> None:
    folder = root / "CUB_200_2011"
    for number, name in enumerate(CUB):
        save(folder / f"images/{name}.jpg", picture(number))
        save(root / f"segmentations/{name}.png", truth())
    numbers = range(1, len(CUB) + 1)
    (folder / "images.txt").write_text("".join(f"{n} {CUB[n - 1]}.jpg\n" for n in numbers))
    (folder / "train_val_test_split.txt").write_text("1 0\n2 2\n3 1\n4 2\n")
    (folder / "train_test_split.txt").write_text("1 1\n2 0\n3 0\n4 0\n")
    x0, y0, x1, y1 = BOX
    (folder / "bounding_boxes.txt").write_text("".join(f"{n} {x0}.0 {y0}.0 {x1 - x0}.0 {y1 - y0}.0\n" for n in numbers))


def flowers(root: Path) -> None:
    folder = root / "102flowers"
    for number in range(1, 6):
        save(folder / f"jpg/image_{number:05d}.jpg", picture(number))
        shown = np.where(truth()[..., None], picture(number), (0, 0, 254)).astype(np.uint8)
        save(folder / f"segmim/segmim_{number:05d}.jpg", shown)
    savemat(folder / "setid.mat", {"trnid": [[1, 3]], "valid": [[5]], "tstid": [[2, 4]]})


def imagenet(root: Path) -> None:
    names = [f"ILSVRC2012_val_{number:08d}" for number in (1, 2)]
    x0, y0, x1, y1 = BOX
    box = f"<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>"
    other = "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    for number, name in enumerate(names):
        save(root / f"ILSVRC/Data/CLS-LOC/val/{name}.JPEG", picture(number))
        path = root / f"ILSVRC/Annotations/CLS-LOC/val/{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation><object>{other}</object><object><name>n1</name>{box}</object></annotation>")


def open_images(root: Path) -> None:
    left, right = truth(), truth()
    left[:, 14:], right[:, :14] = False, False
    lines = []
    for number in range(2):
        name = f"test/01226z/{number:016x}"
        save(root / f"OpenImages/{name}.jpg", picture(number))
        ignored = np.zeros(SHAPE, bool)
        ignored[:10, :10] = True
        for part, mask in (("m01226z_1", left), ("m01226z_2", right), ("ignore", ignored)):
            save(root / f"OpenImages/{name}_{part}.png", mask)
        lines += [f"{name}.jpg,{name}_m01226z_1.png,{name}_ignore.png", f"{name}.jpg,{name}_m01226z_2.png,"]
    listing = root / "metadata/OpenImages/test/localization.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("\n".join(lines) + "\n")


def horses(root: Path) -> None:
    pairs(root / "weizmann_horse_db/rgb", root / "weizmann_horse_db/figure_ground", ["horse001", "horse002"], mask=".jpg")


def davis(root: Path) -> None:
    names = ["blackswan/00000", "blackswan/00001", "bear/00000"]
    pairs(root / "DAVIS/JPEGImages/480p", root / "DAVIS/Annotations/480p", names)
    lists = root / "DAVIS/ImageSets/480p"
    lists.mkdir(parents=True)
    for split, part in (("val", names[:2]), ("train", names[2:])):
        (lists / f"{split}.txt").write_text("".join(f"/JPEGImages/480p/{n}.jpg /Annotations/480p/{n}.png\n" for n in part))


def pascal(root: Path) -> None:
    pairs(root / "PASCAL-S/datasets/imgs/pascal", root / "PASCAL-S/datasets/masks/pascal", ["1", "2", "3"])


def hku(root: Path) -> None:
    pairs(root / "HKU-IS/imgs", root / "HKU-IS/gt", ["0004", "0005"], image=".png")


BUILDERS: dict[str, tuple[Callable[[Path], None], int]] = {
    "ECSSD": (ecssd, 3),
    "DUTS-TE": (lambda root: duts(root, "TE"), 2),
    "DUTS-TR": (lambda root: duts(root, "TR"), 2),
    "DUT-OMRON": (omron, 2),
    "CUB-200-2011": (cub, 2),
    "Flowers-102": (flowers, 2),
    "ImageNet": (imagenet, 2),
    "CUB-200-2011 boxes": (cub, 3),
    "OpenImages": (open_images, 2),
    "Weizmann horses": (horses, 2),
    "DAVIS-2016": (davis, 2),
    "PASCAL-S": (pascal, 3),
    "HKU-IS": (hku, 2),
}
"""How each is built, and how many images its miniature has in the split that is scored."""


def build_all(root: Path) -> None:
    for name, (build, _) in BUILDERS.items():
        if name != "CUB-200-2011 boxes":
            build(root)
