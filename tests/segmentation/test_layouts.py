"""Published data sets, found in miniature copies of their published folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.errors import LanternError
from segmentation.layout_files import xml_boxes
from segmentation.layouts import LAYOUTS, folder_pair, locate, survey
from segmentation.truths import Truth
from tests.segmentation.miniatures import BOX, BUILDERS, CUB, build_all, cub, picture, save, truth


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data sets")
    build_all(folder)
    return folder


def test_every_layout_has_its_miniature() -> None:
    assert {layout.name for layout in LAYOUTS} == set(BUILDERS)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_published_data_set_is_found_and_read(root: Path, name: str) -> None:
    found = locate(root, name.lower())
    assert (found.name, len(found), found.missing, found.spare) == (name, BUILDERS[name][1], [], [])
    for sample in found:
        if found.kind == "boxes":
            assert sample.mask is None and BOX in sample.boxes
        else:
            assert sample.mask is not None and np.array_equal(sample.mask, truth())
        assert (sample.ignored is not None) == (found.kind == "regions")
        assert sample.image[10, 12].mean() > 120 > sample.image[2, 2].mean()


def test_what_is_ignored_is_never_object(root: Path) -> None:
    [first, _] = locate(root, "OpenImages")
    expected = np.zeros(truth().shape, bool)
    expected[:10, :10] = True
    assert first.ignored is not None and np.array_equal(first.ignored, expected & ~truth())


def test_splits_choose_the_images(root: Path) -> None:
    assert locate(root, "CUB-200-2011").names == [CUB[1], CUB[3]]
    assert locate(root, "CUB-200-2011", "train").names == [CUB[0]]
    assert len(locate(root, "CUB-200-2011", "all")) == 4
    assert locate(root, "CUB-200-2011 boxes").names == CUB[1:]
    assert locate(root, "Flowers-102").names == ["00001", "00003"]
    assert locate(root, "Flowers-102", "train").names == ["00002", "00004"]
    assert locate(root, "DAVIS-2016").names == ["blackswan/00000", "blackswan/00001"]
    assert len(locate(root, "DAVIS-2016", "all")) == 3
    with pytest.raises(LanternError, match=r"validation.*test, train, all"):
        locate(root, "ECSSD", "validation")


def test_a_list_chooses_imagenet_images(tmp_path: Path) -> None:
    BUILDERS["ImageNet"][0](tmp_path)
    listing = tmp_path / "ILSVRC/ImageSets/CLS-LOC/benchmark.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("ILSVRC2012_val_00000002.JPEG\n")
    assert locate(tmp_path, "ImageNet").names == ["ILSVRC2012_val_00000002"]
    listing.write_text("ILSVRC2012_val_00000009\n")
    with pytest.raises(LanternError, match=r"benchmark\.txt names 1 images that are not there"):
        locate(tmp_path, "ImageNet")


def test_a_survey_counts_and_says_where_to_get_the_rest(root: Path, tmp_path: Path) -> None:
    lines = {line.name: line for line in survey(root)}
    assert {name: line.found for name, line in lines.items()} == {name: count for name, (_, count) in BUILDERS.items()}
    assert lines["ECSSD"].expected == 1000 and "hsaliency" in lines["ECSSD"].remedy
    (tmp_path / "mine/images").mkdir(parents=True)
    save(tmp_path / "mine/images/a.jpg", picture())
    save(tmp_path / "mine/images/b.jpg", picture())
    save(tmp_path / "mine/masks/a.png", truth())
    save(tmp_path / "mine/masks/c.png", truth())
    alone = {line.name: line for line in survey(tmp_path)}
    mine = alone.pop("mine")
    assert (mine.found, mine.expected, mine.missing, mine.spare) == (1, None, ("b",), ("c",))
    assert len(alone) == len(LAYOUTS) and all(line.found is None and "source: " in line.remedy for line in alone.values())
    assert locate(tmp_path, "mine").names == ["a"]


def test_what_is_not_there_is_named_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match=r"DUTS-TE is not in .*DUTS-TE-Mask.*saliencydetection"):
        locate(tmp_path, "DUTS-TE")
    with pytest.raises(LanternError, match=r"has no data set COCO.*Give one of ECSSD"):
        locate(tmp_path, "COCO")
    with pytest.raises(LanternError, match="does not exist"):
        survey(tmp_path / "nowhere")


def test_a_split_that_leaves_images_out_is_refused(tmp_path: Path) -> None:
    cub(tmp_path)
    (tmp_path / "CUB_200_2011/train_val_test_split.txt").write_text("1 0\n2 2\n")
    with pytest.raises(LanternError, match="says nothing of 2 images"):
        locate(tmp_path, "CUB-200-2011")
    (tmp_path / "CUB_200_2011/train_val_test_split.txt").unlink()
    with pytest.raises(LanternError, match=r"train_val_test_split\.txt does not exist"):
        locate(tmp_path, "CUB-200-2011")
    line = next(line for line in survey(tmp_path) if line.name == "CUB-200-2011")
    assert line.found is None and "train_val_test_split.txt does not exist" in line.problem


@pytest.mark.parametrize("words", ["1 8 6 x 9", "1 8 6 11"])
def test_broken_boxes_are_named(tmp_path: Path, words: str) -> None:
    cub(tmp_path)
    path = tmp_path / "CUB_200_2011/bounding_boxes.txt"
    path.write_text(path.read_text().replace("2 8.0 6.0 11.0 9.0", words.replace("1 8", "2 8", 1)))
    with pytest.raises(LanternError, match=r"bounding_boxes\.txt"):
        locate(tmp_path, "CUB-200-2011 boxes")


@pytest.mark.parametrize("text", ["", "<annotation>", "<annotation/>", "<a><bndbox><xmin>q</xmin></bndbox></a>"])
def test_broken_annotations_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(LanternError, match=r"a\.xml"):
        xml_boxes(tmp_path / "a.xml")


def test_a_box_outside_its_image_is_refused(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", picture())
    with pytest.raises(LanternError, match=r"lies outside its 32x24 pixels"):
        Truth(boxes=((40, 2, 44, 9),)).read("a", image)


def test_one_folder_of_both_is_taken_apart(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", picture())
    save(tmp_path / "a.png", truth())
    assert folder_pair(tmp_path, tmp_path).names == ["a"]


def test_folders_without_a_match_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "images/a.jpg", picture())
    save(tmp_path / "masks/b.png", truth())
    with pytest.raises(LanternError, match=r"no image in .* has a mask .*images: a; masks: b"):
        folder_pair(tmp_path / "images", tmp_path / "masks")


def test_a_palette_of_dark_labels_is_refused(tmp_path: Path) -> None:
    labels = Image.fromarray(truth().astype(np.uint8)).convert("P")
    labels.putpalette([0, 0, 0, 128, 0, 0])
    labels.save(tmp_path / "m.png")
    with pytest.raises(LanternError, match=r"m\.png has a palette of dark colours"):
        Truth((tmp_path / "m.png",)).read("a", save(tmp_path / "a.png", picture()))


def test_the_mark_changes_with_the_files_and_with_nothing_else(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", picture())
    save(tmp_path / "masks/a.png", truth())
    before = folder_pair(tmp_path / "images", tmp_path / "masks").mark()
    assert folder_pair(tmp_path / "images", tmp_path / "masks").mark() == before
    save(tmp_path / "masks/a.png", ~truth())
    changed = folder_pair(tmp_path / "images", tmp_path / "masks").mark()
    save(tmp_path / "images/b.png", picture())
    save(tmp_path / "masks/b.png", truth())
    assert len({before, changed, folder_pair(tmp_path / "images", tmp_path / "masks").mark()}) == 3
