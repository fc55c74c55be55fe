"""The tab Segment: several photographs, any finished training, one archive."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from explorer.segmenting import MOST, Networks, PhotographSegmenter, segment_files, write_zip
from explorer.ui import exports, segment
from segmentation.errors import LanternError
from segmentation.unet import UNet, UNetConfig, save_unet


def photographs(folder: Path, *names: str) -> list[Path]:
    made = []
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        made.append(path)
    return made


def a_network(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True)
    torch.manual_seed(seed)
    save_unet(UNet(UNetConfig(width=2)), path, size=32, provenance={})


@pytest.fixture
def networks(segmenter: PhotographSegmenter, tmp_path: Path) -> Networks:
    for place, name in enumerate(("first", "deep/er/second")):
        a_network(tmp_path / "runs" / name / "unet.safetensors", place + 1)
        os.utime(tmp_path / "runs" / name / "unet.safetensors", (1000 + place, 1000 + place))
    (tmp_path / "runs" / "unfinished").mkdir()
    return Networks(segmenter, tmp_path / "runs")


def test_every_finished_training_can_be_chosen_the_newest_first(networks: Networks, tmp_path: Path) -> None:
    assert networks.names == ["given", "deep/er/second", "first"]
    assert networks.get("given") is networks.first
    assert networks.get("first").weights == tmp_path / "runs" / "first" / "unet.safetensors"
    assert networks.get("first") is networks.get("first")
    assert Networks(PhotographSegmenter(), tmp_path / "none").names == ["shipped"]


@pytest.mark.parametrize("name", ["../first", "/etc/passwd", "unfinished", "", "first/unet.safetensors"])
def test_no_other_name_is_taken(networks: Networks, name: str) -> None:
    with pytest.raises(LanternError, match=r"no network called .*Choose one of: given, deep/er/second, first"):
        networks.get(name)


def test_a_training_made_again_is_read_again(networks: Networks, tmp_path: Path) -> None:
    [photograph] = photographs(tmp_path, "a.png")
    before = networks.get("first").segment(photograph).saliency
    torch.manual_seed(77)
    path = tmp_path / "runs" / "first" / "unet.safetensors"
    save_unet(UNet(UNetConfig(width=2)), path, size=32, provenance={})
    assert (networks.get("first").segment(photograph).saliency != before).any()


def test_networks_differ_in_what_they_see(networks: Networks, tmp_path: Path) -> None:
    [photograph] = photographs(tmp_path, "a.png")
    seen = [networks.get(name).segment(photograph).saliency for name in networks.names]
    assert (seen[0] != seen[1]).any() and (seen[1] != seen[2]).any()


def test_several_are_written_and_the_unreadable_named(segmenter: PhotographSegmenter, tmp_path: Path) -> None:
    files = photographs(tmp_path, "x/a.png", "y/a.png", "b.png")
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    heard: list[int] = []
    written, refused = segment_files(segmenter, [*files[:2], broken, files[2]], tmp_path / "out", heard.append)
    assert [one.name for one in written] == ["a", "a", "b"] and heard == [0, 1, 2, 3]
    assert len(refused) == 1 and "broken.png" in refused[0] and str(tmp_path) not in refused[0]
    for one, photograph in zip(written, files, strict=True):
        expected = segmenter.segment(photograph)
        assert (np.asarray(Image.open(one.cut_out)) == expected.cut_out).all()
        assert (np.asarray(Image.open(one.saliency)) == expected.saliency).all()
        assert one.area == expected.area
    with zipfile.ZipFile(write_zip(written, tmp_path / "all.zip")) as archive:
        assert len(archive.namelist()) == len(set(archive.namelist())) == 9
        assert "2-a-cut-out.png" in archive.namelist()
        assert archive.read("b-cut-out.png") == written[2].cut_out.read_bytes()


def test_none_too_many_and_nothing_readable_are_refused(segmenter: PhotographSegmenter, tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="no photograph"):
        segment_files(segmenter, [], tmp_path)
    with pytest.raises(LanternError, match=f"25 photographs are too many at once. Give at most {MOST}"):
        segment_files(segmenter, [tmp_path / "a.png"] * (MOST + 1), tmp_path)
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(LanternError, match="a.png"):
        segment_files(segmenter, [tmp_path / "a.png"], tmp_path)


def test_one_of_several_is_chosen_by_a_click(networks: Networks, tmp_path: Path) -> None:
    files = photographs(tmp_path, "a.png", "b<i>.png")
    *_, gallery, shown = segment._segmented(networks, [str(file) for file in files], "given")
    assert len(shown) == len(gallery) == 2 and all(isinstance(value, str) for one in shown for value in one.values())
    archive, pictures = segment._revealed(shown)
    assert archive.visible and pictures.visible and not segment._revealed(shown[:1])[1].visible
    event: Any = SimpleNamespace(index=1)
    overlay, saliency, cut_out, words = segment._chosen(shown, event)
    assert (overlay, saliency, cut_out) == (shown[1]["overlay"], shown[1]["saliency"], shown[1]["cut_out"])
    assert "b&lt;i&gt;" in words and "the network **given** takes" in words
    for event.index in (7, -1):
        with pytest.raises(gr.Error, match="no longer kept"):
            segment._chosen(shown, event)
    event.index = 1
    Path(shown[1]["overlay"]).unlink()
    with pytest.raises(gr.Error, match="no longer kept"):
        segment._chosen(shown, event)


def test_the_words_name_the_network_that_was_chosen(networks: Networks, tmp_path: Path) -> None:
    [file] = photographs(tmp_path, "a.png")
    for name in networks.names:
        *_, shown = segment._one(networks)(str(file), name)
        assert f"the network **{name}** takes {shown[0]['area']}% of" in segment._words(shown[0])


def test_the_button_takes_the_several_where_there_is_no_photograph(networks: Networks, tmp_path: Path) -> None:
    alone, *more = (str(file) for file in photographs(tmp_path, "alone.png", "a.png", "b.png"))
    button = segment._either(segment._one(networks), segment._several(networks))
    for photograph, several, expected in ((None, more, ["a", "b"]), (alone, more, ["alone"]), (alone, None, ["alone"])):
        *_, shown = button(photograph, several, "given")
        assert [one["name"] for one in shown] == expected
    with pytest.raises(gr.Error, match="there is no photograph"):
        button(None, None, "given")


def test_old_exports_go_and_new_ones_stay() -> None:
    kept = exports.Exports()
    old, new = kept.new_folder(), kept.new_folder()
    (old / "a.zip").write_text("x")
    late = old.stat().st_mtime - exports.KEPT_SECONDS - 1
    os.utime(old, (late, late))
    newest = kept.new_folder()
    assert set(kept.folder.iterdir()) == {new, newest}
