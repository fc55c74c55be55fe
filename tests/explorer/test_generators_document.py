"""What docs/generators.md shows works: a generator of one's own, in every command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from explorer.engine import Engine, EngineConfig
from explorer.generators.base import Generator
from explorer.generators.registry import load_generator
from tests.explorer.test_commands import run

DOCUMENT = (Path(__file__).parents[2] / "docs" / "generators.md").read_text(encoding="utf-8")
BRIEF = {"directions": ["--codes", "4", "--search.rounds", "0", "--optimise.steps", "2", "--filters.no-histogram"]}


def blocks(language: str, after: str) -> list[str]:
    """The blocks of code in ``language`` that follow ``after``, whatever is between."""
    return re.findall(rf"{re.escape(after)}.*?```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which ``mine.py`` lies, made of the document; commands run there."""
    classes = blocks("python", "<!-- worked example -->")
    assert len(classes) == 2 and len(classes[0].splitlines()) < 30
    (tmp_path / "mine.py").write_text("\n\n".join(classes))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_class_is_a_generator_and_makes_what_it_says(mine: Path) -> None:
    generator = load_generator("mine.py:MyGenerator")
    assert isinstance(generator, Generator)
    engine = Engine(generator, EngineConfig(device="cpu"))
    codes = engine.codes(5, 2)
    torch.manual_seed(0)
    first = torch.nn.Linear(16, 48)
    small = (codes @ first.weight.T + first.bias).view(5, 3, 4, 4)
    expected = F.interpolate(small, scale_factor=16, mode="bicubic").tanh()
    assert torch.allclose(engine.images(codes), expected, atol=1e-5)
    assert load_generator("mine.py:MyGenerator").fingerprint == engine.fingerprint
    assert (engine.name, engine.latent_dim, engine.resolution) == ("mine", 16, 64)


def test_its_commands_run_one_after_the_other(mine: Path) -> None:
    lines = blocks("sh", "it does all that the others do")[0].splitlines()
    commands = [shlex.split(line)[3:] for line in lines]
    assert [command[0] for command in commands] == ["sample", "directions", "walk"]
    for command in commands:
        assert run(*command, *BRIEF.get(command[0], [])) == 0
    assert Image.open(mine / "samples.png").size == (6 * 64, 6 * 64)
    assert np.asarray(Image.open(mine / "walk.png")).std() > 5


def test_the_encoder_leads_back_and_encodes_a_folder(mine: Path) -> None:
    engine = Engine(load_generator("mine.py:MyAutoencoder"), EngineConfig(device="cpu"))
    codes = 0.3 * engine.codes(20, 4)
    found = engine.encode(engine.images(codes))
    assert torch.corrcoef(torch.stack([found.flatten(), codes.flatten()]))[0, 1] > 0.9
    (mine / "images").mkdir()
    for number, image in enumerate(engine.images(codes)):
        pixels = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(mine / "images" / f"{number:02d}.png")
    options = ("--generator", "mine.py:MyAutoencoder", "--images", "images")
    assert run("encode", *options, "--out", "z.npy") == 0
    assert np.allclose(np.load("z.npy"), found.numpy(), atol=0.1)
    assert run("reconstruct", *options, "--out", "pairs.png") == 0


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", DOCUMENT):
        assert (Path(__file__).parents[2] / "docs" / target).exists(), target
