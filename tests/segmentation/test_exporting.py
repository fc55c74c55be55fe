from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.datasets import MaskedImages
from segmentation.errors import LanternError
from segmentation.exporting import export
from segmentation.progress import Unwatched
from segmentation.reading import Shards
from segmentation.shards import ShardConfig, write_shards
from tests.segmentation.sources import Brightness


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """19 samples in shards of 8."""
    folder = tmp_path_factory.mktemp("data")
    write_shards(Brightness(), ShardConfig(count=19, shard_size=8), folder, Unwatched())
    return Shards(folder)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the export's run."""
    return tmp_path_factory.mktemp("tars.run")


class AtOnce(Unwatched):
    def stop_requested(self) -> bool:
        return True


def test_folders_are_a_data_set_of_images_with_masks(shards: Shards, tmp_path: Path, run: Path) -> None:
    assert export(shards, tmp_path, "folders", Unwatched(), run) == 19
    # Nothing else is in it: what users copy elsewhere is a data set.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks"]
    assert len(MaskedImages(tmp_path / "images", tmp_path / "masks")) == 19
    for index, (image, mask) in enumerate(shards):
        name = f"{index // 8:05d}/{index % 8:06d}.png"
        assert np.array_equal(np.asarray(Image.open(tmp_path / "images" / name)), image)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "masks" / name)), np.where(mask, 255, 0))


def test_tars_hold_samples_as_webdataset_groups_them(shards: Shards, tmp_path: Path, run: Path) -> None:
    assert export(shards, tmp_path, "webdataset", Unwatched(), run) == 19
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.tar", "00001.tar", "00002.tar"]
    found: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted(tmp_path.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                # WebDataset: the key is what comes before the first dot, the rest is the kind; a sample's files are neighbours.
                key, kind = member.name.split(".", 1)
                assert key in (found and list(found)[-1], key) and kind not in found.get(key, {})
                stream = archive.extractfile(member)
                assert stream is not None
                found.setdefault(key, {})[kind] = np.asarray(Image.open(io.BytesIO(stream.read())))
    assert list(found) == [f"{index:09d}" for index in range(19)]
    for sample, (image, mask) in zip(found.values(), shards, strict=True):
        assert np.array_equal(sample["image.png"], image)
        assert np.array_equal(sample["mask.png"] == 255, mask)


@pytest.mark.parametrize("form", ["folders", "webdataset"])
def test_an_interrupted_export_goes_on(shards: Shards, tmp_path: Path, run: Path, form: str) -> None:
    assert export(shards, tmp_path, form, AtOnce(), run) is None
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".png", ".tar")}
    assert before
    assert export(shards, tmp_path, form, Unwatched(), run) == 19
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(list(tmp_path.rglob("*.png"))) == (38 if form == "folders" else 0)
    with pytest.raises(LanternError, match="another configuration"):
        export(shards, tmp_path, {"folders": "webdataset", "webdataset": "folders"}[form], Unwatched(), run)
    with pytest.raises(LanternError, match="and not of this export"):
        export(shards, tmp_path, form, Unwatched(), run / "another")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
