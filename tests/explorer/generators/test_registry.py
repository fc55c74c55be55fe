from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from explorer.engine import Engine, EngineConfig
from explorer.generators.bigbigan import FoldedBigBiGAN, save_bigbigan
from explorer.generators.pocket import PocketGenerator
from explorer.generators.registry import REGISTER, checked, load_generator, open_pocket
from segmentation.errors import LanternError
from tests.analytic import DiscGenerator
from tests.explorer.conftest import BIGBIGAN as CHECKPOINT

OWN = """
from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass
class Grey:
    name: str = "grey"
    latent_dim: int = 3
    resolution: int = 16
    fingerprint: str = "grey-1"

    def generate(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.tanh(codes.mean(1))[:, None, None, None].expand(-1, 3, 16, 16)

    def to(self, target: torch.device) -> Grey:
        return self


class Broken:
    def __init__(self):
        self.weights = open("no such file of weights")


def instance_of_another_kind():
    return [1, 2]


def the_class():
    return Grey
"""


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "WEIGHTS.PTH"])
def test_foreign_checkpoints_are_bigbigan(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CHECKPOINT.read_bytes())
    assert isinstance(load_generator(str(tmp_path / name)), FoldedBigBiGAN)


def test_safetensors_are_told_apart_by_what_they_hold(tmp_path: Path, small_generator: Path, small_unet: Path) -> None:
    save_bigbigan(torch.load(CHECKPOINT, weights_only=True), tmp_path / "converted.safetensors")
    assert isinstance(load_generator(str(tmp_path / "converted.safetensors")), FoldedBigBiGAN)
    assert isinstance(load_generator(str(small_generator)), PocketGenerator)
    with pytest.raises(LanternError, match="holds unet, not a"):
        load_generator(str(small_unet))
    (tmp_path / "text.safetensors").write_text("no tensors at all")
    with pytest.raises(LanternError, match="text.safetensors is not a safetensors file"):
        load_generator(str(tmp_path / "text.safetensors"))


def test_bigbigan_by_name_is_what_was_installed(installed_bigbigan: Path) -> None:
    generator = load_generator("bigbigan")
    assert isinstance(generator, FoldedBigBiGAN)
    assert generator.fingerprint == load_generator(str(CHECKPOINT)).fingerprint


@pytest.mark.parametrize("name", ["bigbigan", "bigbigan-resnet50", "bigbigan-revnet50x4"])
def test_what_is_not_installed_names_the_command(name: str) -> None:
    with pytest.raises(LanternError, match=rf"python -m explorer weights --install {name} .*--from FILE"):
        load_generator(name)


def test_handles_and_folders_of_modules_go_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(handle: str) -> DiscGenerator:
        asked.append(handle)
        return DiscGenerator()

    monkeypatch.setattr("explorer.generators.registry.load_tfhub", load)
    (tmp_path / "module.pth").mkdir()
    (tmp_path / "module.pth" / "saved_model.pb").touch()
    handles = ["https://tfhub.dev/deepmind/bigbigan-resnet50/1", "http://127.0.0.1:9/x.pth", str(tmp_path / "module.pth")]
    assert [load_generator(handle).name for handle in handles] == ["disc"] * 3
    assert asked == handles


def test_a_folder_without_a_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match=r"is no TF-Hub module.*saved_model\.pb"):
        load_generator(str(tmp_path))


def test_a_class_of_ones_own_by_module() -> None:
    assert isinstance(load_generator("tests.analytic:DiscGenerator"), DiscGenerator)


def test_a_class_of_ones_own_by_file_makes_images(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    engine = Engine(load_generator(f"{tmp_path / 'own.py'}:Grey"), EngineConfig(device="cpu"))
    assert (engine.name, engine.images(engine.codes(2, 0)).shape) == ("grey", (2, 3, 16, 16))


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    assert load_generator(f"{path}:Grey").latent_dim == 3
    path.write_text(OWN.replace("latent_dim: int = 3", "latent_dim: int = 1234"))
    assert load_generator(f"{path}:Grey").latent_dim == 1234


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own.py:Nothing", "there is no Nothing to call in .*own.py"),
        ("own.py:OWN", "there is no OWN to call"),
        ("own.py:Broken", r"own.py:Broken cannot be made: FileNotFoundError.*own.py, line 25"),
        ("own.py:the_class", "gives the class Grey, not a generator"),
        (
            "own.py:instance_of_another_kind",
            "is no generator: name, latent_dim, resolution, fingerprint, generate, to missing",
        ),
        ("gone.py:Grey", "gone.py does not exist"),
        ("bad.py:Grey", r"bad.py cannot be imported: ZeroDivisionError.*bad.py, line 2"),
        ("syntax.py:Grey", "syntax.py cannot be imported: SyntaxError"),
    ],
)
def test_what_is_wrong_with_ones_own_is_said(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "own.py").write_text(OWN + "\n\nOWN = 3\n")
    (tmp_path / "bad.py").write_text("import torch\n1 / 0\n")
    (tmp_path / "syntax.py").write_text("class :\n")
    with pytest.raises(LanternError, match=said):
        load_generator(str(tmp_path / name))
    assert "_generator_in_bad" not in sys.modules


@pytest.mark.parametrize("name", ["no.such.module:Grey", "nothing:Grey", ".relative:Grey"])
def test_modules_that_are_not_there_are_named(name: str) -> None:
    with pytest.raises(LanternError, match=f"{re.escape(name.split(':')[0])} cannot be imported"):
        load_generator(name)


def test_the_errors_of_ones_own_that_are_meant_for_people_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "from segmentation.errors import LanternError\ndef make():\n    raise LanternError('no weights', 'Get some.')"
    )
    with pytest.raises(LanternError, match="^no weights. Get some.$"):
        load_generator(f"{path}:make")


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("name", "", "name is '' instead of a text"),
        ("latent_dim", 0, "latent_dim is 0 instead of a positive whole number"),
        ("latent_dim", True, "latent_dim is True"),
        ("resolution", (128, 128), r"resolution is \(128, 128\)"),
        ("fingerprint", None, "fingerprint is None"),
        ("generate", 3, "generate is no method"),
    ],
)
def test_attributes_of_another_kind_are_named(attribute: str, value: object, said: str) -> None:
    made = DiscGenerator()
    setattr(made, attribute, value)
    with pytest.raises(LanternError, match=f"mine is no generator: {said}"):
        checked(made, "mine")


def test_a_program_can_add_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTER, "disc", DiscGenerator)
    assert isinstance(load_generator("disc"), DiscGenerator)


@pytest.mark.parametrize("name", ["biggan", "weights.ckpt", "some:thing/else", ":Grey", ""])
def test_what_is_nothing_of_all_that_lists_the_possibilities(name: str) -> None:
    with pytest.raises(LanternError) as caught:
        load_generator(name)
    for possibility in ("pocket", "bigbigan", ".safetensors", ".pth", "TF-Hub", "module:Class", "file.py:Class"):
        assert possibility in str(caught.value)


def test_only_what_was_fitted_here_is_a_pocket_generator() -> None:
    assert open_pocket("pocket").name == "pocket"
    with pytest.raises(LanternError, match="is no pocket generator"):
        open_pocket("tests.analytic:DiscGenerator")
