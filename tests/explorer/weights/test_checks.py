from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.generators.bigbigan import save_bigbigan
from explorer.weights import checks
from explorer.weights.known import KNOWN
from segmentation.errors import LanternError
from segmentation.tensors import save_tensors
from segmentation.unet import UNet, UNetConfig
from tests.explorer.weights.conftest import latent_codes

FIXTURES = Path(__file__).parents[2] / "fixtures"


class Harm:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_ported_checkpoint_is_bigbigan_of_its_width(tmp_path: Path) -> None:
    state = torch.load(FIXTURES / "bigbigan_ch4.pth", weights_only=True)
    assert checks.check_bigbigan(FIXTURES / "bigbigan_ch4.pth", 4) == "BigBiGAN's generator of width 4"
    with pytest.raises(LanternError, match="is of width 4, the published one of width 96"):
        checks.check(KNOWN["bigbigan"], FIXTURES / "bigbigan_ch4.pth")
    del state["blocks.2.0.conv1.weight"], state["output_layer.0.gain"]
    torch.save({**state, "stranger": torch.zeros(1)}, tmp_path / "half.pth")
    with pytest.raises(LanternError) as caught:
        checks.check_bigbigan(tmp_path / "half.pth", 4)
    for name in ("blocks.2.0.conv1.weight", "output_layer.0.gain", "stranger"):
        assert name in caught.value.problem


def test_a_converted_generator_is_bigbigan_too(tmp_path: Path) -> None:
    state = torch.load(FIXTURES / "bigbigan_ch4.pth", weights_only=True)
    save_bigbigan(state, tmp_path / "converted.safetensors")
    assert checks.check_bigbigan(tmp_path / "converted.safetensors", 4) == "BigBiGAN's generator of width 4"
    save_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(2)}, {"kind": "unet"})
    with pytest.raises(LanternError, match="holds unet, not a BigBiGAN generator"):
        checks.check_bigbigan(tmp_path / "other.safetensors", 4)


@pytest.mark.parametrize("check", ["bigbigan", "bg-direction", "unet-imagenet"])
def test_a_pickle_that_would_run_something_does_not(tmp_path: Path, check: str) -> None:
    torch.save(Harm(tmp_path / "harmed"), tmp_path / "file.pth")
    with pytest.raises(LanternError, match="holds more than weights"):
        checks.check(KNOWN[check], tmp_path / "file.pth")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"PK\x03\x04 cut", bytes(5000)])
@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if not known.packed])
def test_what_is_no_weights_at_all(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / KNOWN[name].file
    path.write_bytes(content)
    with pytest.raises(LanternError):
        checks.check(KNOWN[name], path)


@pytest.mark.parametrize("shape", [(120,), (1, 120)])
def test_a_direction_is_120_numbers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    torch.save(torch.full(shape, 0.5), tmp_path / "direction.pth")
    assert checks.check_direction(tmp_path / "direction.pth") == "a direction of 120 numbers, of length 5.48"


@pytest.mark.parametrize(
    "value",
    [torch.ones(119), torch.ones(12, 10), torch.zeros(120), torch.full((120,), torch.nan), {"a": torch.ones(120)}, 7],
    ids=["119", "12x10", "zero", "nan", "dictionary", "number"],
)
def test_other_things_are_no_direction(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "direction.pth")
    with pytest.raises(LanternError):
        checks.check_direction(tmp_path / "direction.pth")


def test_embeddings_are_rows_of_120(tmp_path: Path) -> None:
    (tmp_path / "z.npy").write_bytes(latent_codes())
    assert checks.check_embeddings(tmp_path / "z.npy") == "3,000 latent codes of 120 numbers"
    np.save(tmp_path / "z.npy", np.ones((2, 120)))
    assert checks.check_embeddings(tmp_path / "z.npy") == "2 latent codes of 120 numbers"


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((5, 119), np.float32), "array 5x119 of float32"),
        (np.ones((0, 120), np.float32), "array 0x120"),
        (np.ones(120, np.float32), "array 120 of"),
        (np.ones((5, 120), np.int64), "of int64"),
        (np.full((5, 120), np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_other_arrays_are_no_embeddings(tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "z.npy", array)
    with pytest.raises(LanternError, match=said):
        checks.check_embeddings(tmp_path / "z.npy")


@pytest.mark.parametrize("change", [lambda content: content[:-4], lambda content: content + b"\0" * 4])
def test_embeddings_that_are_cut_short_or_go_on(tmp_path: Path, change) -> None:
    (tmp_path / "z.npy").write_bytes(change(latent_codes(rows=50)))
    with pytest.raises(LanternError, match=r"cut short|goes on after"):
        checks.check_embeddings(tmp_path / "z.npy")


def test_a_pickled_array_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.array([Harm(tmp_path / "harmed")], dtype=object), allow_pickle=True)
    with pytest.raises(LanternError, match="not a .npy array"):
        checks.check_embeddings(tmp_path / "z.npy")
    assert not (tmp_path / "harmed").exists()


def test_a_unet_is_one_of_the_published_width(tmp_path: Path) -> None:
    torch.save(UNet(UNetConfig(4)).state_dict(), tmp_path / "net.pth")
    assert checks.check_unet(tmp_path / "net.pth", 4) == "a U-Net of width 4"
    with pytest.raises(LanternError, match="is of width 4, the published one of width 64"):
        checks.check(KNOWN["unet-imagenet"], tmp_path / "net.pth")


def module_in(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01 generate encode")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"data" * 100)
    return folder


def test_a_module_is_a_graph_that_generates_and_its_variables(tmp_path: Path) -> None:
    folder = module_in(tmp_path / "module")
    assert checks.check_module(folder) == "a TF-Hub module that names generate, encode"
    (folder / "variables" / "variables.index").unlink()
    with pytest.raises(LanternError, match="lacks its variables"):
        checks.check_module(folder)
    (folder / "saved_model.pb").write_bytes(b"predict")
    with pytest.raises(LanternError, match="no signature generate"):
        checks.check_module(folder)
    (folder / "saved_model.pb").unlink()
    with pytest.raises(LanternError, match="no saved_model.pb"):
        checks.check_module(folder)
