"""A small pocket generator with a catalogue of directions, a small U-Net and a small BigBiGAN, on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from explorer.directions.catalogue import Catalogue, Entry
from explorer.generators.pocket import PocketConfig, PocketGenerator, load_pocket, save_pocket
from explorer.weights.installing import install
from explorer.weights.known import KNOWN
from segmentation.unet import UNet, UNetConfig, save_unet

BIGBIGAN = Path(__file__).parents[1] / "fixtures" / "bigbigan_ch4.pth"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for weights of its own for every test, with nothing in it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LANTERN_HOME", str(folder))
    return folder


@pytest.fixture
def installed_bigbigan(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A BigBiGAN of width 4 in the place of the published one."""
    monkeypatch.setitem(KNOWN, "bigbigan", dataclasses.replace(KNOWN["bigbigan"], width=4))
    return install("bigbigan", BIGBIGAN)


@pytest.fixture(scope="session")
def small_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an unfitted pocket generator whose images differ visibly; its catalogue lies beside it."""
    folder = tmp_path_factory.mktemp("generator")
    torch.manual_seed(3)
    generator = PocketGenerator(PocketConfig(latent_dim=12, appearance_dim=4, map_channels=4, width=16), "small")
    with torch.no_grad():
        weights = dict(generator.named_parameters())
        weights["decoder.last.2.weight"].mul_(30)
        weights["decoder.layers.0.weight"].mul_(4)
    path = folder / "generator.safetensors"
    save_pocket(generator, path)
    basis, _ = torch.linalg.qr(torch.randn(12, 12))
    entries = tuple(Entry(status="saliency lighting" if i == 4 else "new", magnitude=3.0) for i in range(12))
    Catalogue(basis.T, entries, "random", load_pocket(path).fingerprint).save(folder / "directions")
    return path


@pytest.fixture(scope="session")
def small_unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained U-Net of width 4 for 32 px."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("unet") / "unet.safetensors"
    save_unet(UNet(UNetConfig(4)), path, 32, {})
    return path
