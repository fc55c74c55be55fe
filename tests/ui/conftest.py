"""A workbench over the disc generator, whose directions are known: quick, and every picture can be predicted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from explorer.directions.catalogue import Catalogue, Entry
from explorer.engine import Engine, EngineConfig
from explorer.segmenting import PhotographSegmenter
from explorer.views import Workbench
from segmentation.unet import UNet, UNetConfig, save_unet
from tests.analytic import GROUND, OBJECT, DiscEncoder, DiscGenerator

LIGHTING = 5


@pytest.fixture(scope="session", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of runs for these tests alone, where the page keeps what is edited."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LANTERN_RUNS", str(folder))
        yield folder


def disc_bench(generator: DiscGenerator) -> Workbench:
    directions = torch.eye(generator.latent_dim)
    directions[LIGHTING] = 0
    directions[LIGHTING, OBJECT], directions[LIGHTING, GROUND] = 0.5**0.5, -(0.5**0.5)
    entries = [Entry(label=f"coordinate {index}") for index in range(len(directions))]
    entries[LIGHTING] = Entry(
        label="lamp", notes="*bright* <b>", status="saliency lighting", magnitude=6.0, scores={"iou": 0.625}
    )
    catalogue = Catalogue(directions, tuple(entries), "by hand", generator.fingerprint)
    return Workbench(Engine(generator, EngineConfig(device="cpu")), catalogue)


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where gradio keeps uploads: the same folder for all pages of the session, whatever opens one meanwhile."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def bench() -> Workbench:
    """Its generator has no encoder."""
    return disc_bench(DiscGenerator())


@pytest.fixture(scope="session")
def encoding_bench() -> Workbench:
    return disc_bench(DiscEncoder())


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> PhotographSegmenter:
    weights = tmp_path_factory.mktemp("weights") / "unet.safetensors"
    torch.manual_seed(0)
    save_unet(UNet(UNetConfig(width=2)), weights, size=32, provenance={})
    return PhotographSegmenter(weights)


@pytest.fixture
def no_network(tmp_path: Path) -> PhotographSegmenter:
    return PhotographSegmenter(tmp_path / "unet.safetensors")
