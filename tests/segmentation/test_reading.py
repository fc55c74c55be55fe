from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from segmentation.reading import Shards, read_manifest, verify
from segmentation.shards import ShardConfig, write_shards
from segmentation.synthesis import SynthesisConfig
from tests.segmentation.sources import Brightness


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """23 samples in shards of 8."""
    write_shards(Brightness(), ShardConfig(count=23, shard_size=8), tmp_path, Unwatched())
    return tmp_path


def test_any_sample_is_read_at_any_time(data: Path) -> None:
    shards = Shards(data)
    arrays = [np.load(data / f"images-{number:05d}.npy") for number in range(3)]
    bits = [np.unpackbits(np.load(data / f"masks-{number:05d}.npy"), axis=1) for number in range(3)]
    for index in (22, 0, 8, 7, 15, 16):
        image, mask = shards[index]
        assert np.array_equal(image, arrays[index // 8][index % 8])
        assert np.array_equal(mask.ravel(), bits[index // 8][index % 8].astype(bool))
    for outside in (-1, 23):
        with pytest.raises(IndexError):
            shards[outside]


def test_a_batch_is_what_a_network_takes(data: Path) -> None:
    shards = Shards(data)
    images, masks = shards.batch([3, 20, 3])
    assert images.shape == (3, 3, 16, 16) and images.dtype == torch.float32 and masks.dtype == torch.bool
    for row, index in enumerate((3, 20, 3)):
        image, mask = shards[index]
        assert torch.equal(((images[row] + 1) * 127.5).round().byte().permute(1, 2, 0), torch.from_numpy(image))
        assert torch.equal(masks[row], torch.from_numpy(mask))


def test_many_shards_need_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    write_shards(Brightness(), ShardConfig(count=150, shard_size=1), tmp_path, Unwatched())
    shards, open_files = Shards(tmp_path), Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    assert len({image.tobytes() + mask.tobytes() for image, mask in shards}) > 1
    assert len(list(open_files.iterdir())) - before <= 128 < 2 * len(shards)


def test_reading_holds_no_data(data: Path) -> None:
    shards = Shards(data)
    images, masks = shards._maps(1)
    assert isinstance(images, np.memmap) and isinstance(masks, np.memmap)


def test_whole_data_is_verified_by_independent_checksums(data: Path) -> None:
    assert verify(data) == []
    for record in read_manifest(data)["shards"]:
        for kind in ("images", "masks"):
            content = (data / record[kind]["file"]).read_bytes()
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (record[kind]["sha256"], record[kind]["bytes"])


@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("images", "bit", "do not have the checksum"),
        ("masks", "bit", "do not have the checksum"),
        ("images", "cut", "has 4000 bytes instead of"),
        ("masks", "gone", "does not exist"),
    ],
)
def test_a_damaged_shard_is_named_with_the_remedy(data: Path, kind: str, how: str, said: str) -> None:
    path = data / f"{kind}-00001.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    if how != "gone":
        path.write_bytes(content if how == "bit" else content[:4000])
    [damage] = verify(data)
    assert damage.number == 1
    assert f"{kind}-00001.npy" in damage.problem and said in damage.problem
    assert damage.remedy.startswith(f"Remove {data / 'shard-00001.json'}, then run the same generate command again")
    if how == "bit":
        Shards(data)[8]
    else:
        with pytest.raises(LanternError, match=f"{kind}-00001"):
            Shards(data)
    # What the remedy says is true.
    (data / "shard-00001.json").unlink()
    write_shards(Brightness(), ShardConfig(count=23, shard_size=8), data, Unwatched())
    assert verify(data) == []


def test_a_file_that_is_no_array_is_named(data: Path) -> None:
    path = data / "images-00002.npy"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(LanternError, match=r"images-00002\.npy is damaged.*data verify"):
        Shards(data)[20]


@pytest.mark.parametrize("content", [None, "[]", '{"shards": [8, 8, 7]}', "no json"])
def test_a_folder_without_a_manifest_of_ours_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(LanternError, match=r"manifest\.json"):
        Shards(tmp_path)


def test_a_data_set_without_a_shard_is_refused(tmp_path: Path) -> None:
    class AtOnce(Unwatched):
        def stop_requested(self) -> bool:
            return True

    config = ShardConfig(count=23, shard_size=16, synthesis=SynthesisConfig(candidates=4))
    assert write_shards(Brightness(), config, tmp_path, AtOnce()) is None
    with pytest.raises(LanternError, match="no shard of .* is finished"):
        Shards(tmp_path)


def test_the_fingerprint_is_of_the_samples(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    others = []
    for count, seed in ((23, 0), (24, 0), (23, 1)):
        folder = tmp_path_factory.mktemp("other")
        write_shards(Brightness(), ShardConfig(count=count, shard_size=8, seed=seed), folder, Unwatched())
        others.append(Shards(folder).fingerprint)
    assert others[0] == Shards(data).fingerprint
    assert others[1] != others[0]
    assert json.loads((data / "manifest.json").read_text())["samples"] == 23
