"""Catalogues, U-Nets and embeddings in the form of the method's authors, and back again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.artefacts import export_catalogue, export_path, import_path
from explorer.directions.catalogue import Catalogue, Entry, load_catalogue
from explorer.directions.discovery import DiscoveryConfig
from segmentation.errors import LanternError
from segmentation.unet import UNet, load_unet, save_unet
from tests.explorer.published_files import deformator_state, deformed, reconstructor, seeded, write_run
from tests.explorer.test_commands import run
from tests.segmentation.test_unet import seeded_state

FIXTURES = Path(__file__).parents[1] / "fixtures"
KINDS = ("linear", "proj", "ortho")
LABELS = "0: ears\n3: background removal\n"


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def own_catalogue(count: int = 6, latent_dim: int = 6, rotation: bool = False) -> Catalogue:
    """A catalogue that was made here: with signs, magnitudes of its own, and a chosen direction."""
    directions = seeded(count, latent_dim, seed=4)
    if rotation:
        directions = torch.linalg.qr(directions)[0]
        directions[0] *= directions.det().sign()
    entries = [Entry(label=f"d{k}", sign=-1 if k in (2, 3) else 1, magnitude=2.0 + k) for k in range(count)]
    entries[2] = dataclasses.replace(entries[2], status="saliency lighting")
    return Catalogue(directions / directions.norm(dim=1, keepdim=True), tuple(entries), "a test", "abc")


@pytest.mark.parametrize("length", [1.0, 0.3, 1.7, 9.0])
def test_the_direction_comes_back(tmp_path: Path, length: float) -> None:
    published = length * seeded(120) / seeded(120).norm()
    torch.save(published, tmp_path / "bg_direction.pth")
    import_path(tmp_path / "bg_direction.pth", tmp_path / "catalogue")
    assert export_path(tmp_path / "catalogue", tmp_path / "again.pth") == (tmp_path / "again.pth",)
    again = load(tmp_path / "again.pth")
    assert again.shape == (120,) and again.dtype == torch.float32
    torch.testing.assert_close(again, published, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("latent_dim", "count"), [(120, 120), (30, 10), (10, 30)])
def test_a_run_comes_back(tmp_path: Path, kind: str, latent_dim: int, count: int) -> None:
    count = latent_dim if kind == "ortho" else count
    state = deformator_state(kind, latent_dim, count)
    run = write_run(tmp_path / "run", kind, {7: state}, LABELS, predictor=True, gan_type="BigBiGAN")
    import_path(run, tmp_path / "catalogue")
    export_path(tmp_path / "catalogue", tmp_path / "again")
    again = load(tmp_path / "again" / "models" / "deformator_7.pt")
    assert {name: (value.shape, value.dtype) for name, value in again.items()} == {
        name: (value.shape, value.dtype) for name, value in state.items()
    }
    if kind == "ortho":
        axes = torch.eye(count)
        torch.testing.assert_close(deformed(kind, again, axes), deformed(kind, state, axes), atol=1e-6, rtol=0)
    else:
        for name, value in state.items():
            torch.testing.assert_close(again[name], value, atol=1e-6, rtol=0)
    args = json.loads((tmp_path / "again" / "args.json").read_text())
    assert args == {
        **json.loads((run / "args.json").read_text()),
        "deformator": kind,
        "directions_count": count,
        "max_latent_dim": latent_dim,
    }
    assert (tmp_path / "again" / "human_annotation.txt").read_text() == LABELS
    predictor = load(tmp_path / "again" / "models" / "shift_predictor_7.pt")
    assert predictor.keys() == reconstructor(7).keys()
    assert all(torch.equal(predictor[name], value) for name, value in reconstructor(7).items())


def shifts(catalogue: Catalogue) -> Tensor:
    """The shift (K, d) of every direction at its own magnitude."""
    return torch.stack([catalogue.direction(k).double() * catalogue.magnitude(k) for k in range(len(catalogue))])


@pytest.mark.parametrize(("latent_dim", "count"), [(6, 6), (9, 4), (4, 9)])
def test_a_catalogue_survives_as_a_linear_run(tmp_path: Path, latent_dim: int, count: int) -> None:
    catalogue = own_catalogue(count, latent_dim)
    export_catalogue(catalogue, tmp_path / "run")
    state = load(tmp_path / "run" / "models" / "deformator_0.pt")
    assert json.loads((tmp_path / "run" / "args.json").read_text())["deformator"] == "linear"
    assert torch.equal(state["linear.bias"], torch.zeros(latent_dim))
    walked = deformed("linear", state, 5 * torch.eye(count))
    torch.testing.assert_close(walked, shifts(catalogue), atol=2e-6, rtol=0)
    import_path(tmp_path / "run", tmp_path / "again")
    again = load_catalogue(tmp_path / "again")
    assert [entry.label for entry in again.entries] == [f"d{k}" for k in range(count)]
    for k in range(count):
        torch.testing.assert_close(again.direction(k), catalogue.direction(k), atol=1e-6, rtol=0)
        assert again.magnitude(k) == pytest.approx(catalogue.magnitude(k), abs=1e-5)


@pytest.mark.parametrize("kind", ["proj", "ortho"])
def test_a_catalogue_survives_as_directions_alone(tmp_path: Path, kind: str) -> None:
    catalogue = own_catalogue(rotation=True)
    export_catalogue(catalogue, tmp_path / "run", kind)
    state = load(tmp_path / "run" / "models" / "deformator_0.pt")
    signed = torch.stack([catalogue.direction(k).double() for k in range(6)])
    torch.testing.assert_close(deformed(kind, state, torch.eye(6)), signed, atol=1e-6, rtol=0)
    import_path(tmp_path / "run", tmp_path / "again")
    torch.testing.assert_close(load_catalogue(tmp_path / "again").directions.double(), signed, atol=1e-6, rtol=0)


def test_what_was_changed_after_the_import_is_exported(tmp_path: Path) -> None:
    state = deformator_state("linear", 8, 8)
    import_path(write_run(tmp_path / "run", "linear", {1: state}), tmp_path / "catalogue")
    load_catalogue(tmp_path / "catalogue").with_lighting(4, sign=-1, magnitude=3.0).save(tmp_path / "catalogue")
    export_path(tmp_path / "catalogue", tmp_path / "again")
    column = state["linear.weight"][:, 4]
    again = load(tmp_path / "again" / "models" / "deformator_1.pt")["linear.weight"]
    torch.testing.assert_close(again[:, 4], -3 / 5 * column / column.norm(), atol=1e-6, rtol=0)
    others = [k for k in range(8) if k != 4]
    torch.testing.assert_close(again[:, others], state["linear.weight"][:, others], atol=1e-6, rtol=0)


def test_a_rotation_that_was_mirrored_by_hand_goes_as_linear(tmp_path: Path) -> None:
    import_path(write_run(tmp_path / "run", "ortho", {1: deformator_state("ortho", 8)}), tmp_path / "catalogue")
    load_catalogue(tmp_path / "catalogue").with_lighting(4, sign=-1).save(tmp_path / "catalogue")
    export_path(tmp_path / "catalogue", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "args.json").read_text())["deformator"] == "linear"
    with pytest.raises(LanternError, match=r"no rotation: it mirrors .*linear or proj"):
        export_path(tmp_path / "catalogue", tmp_path / "other", "ortho")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("catalogue", "why"),
    [(own_catalogue(), "not orthogonal unit vectors"), (own_catalogue(4, 6), "is not square")],
    ids=["oblique", "4 of 6"],
)
def test_directions_that_are_no_rotation_are_not_ortho(tmp_path: Path, catalogue: Catalogue, why: str) -> None:
    with pytest.raises(LanternError, match=f"no rotation: .*{why}"):
        export_catalogue(catalogue, tmp_path / "run", "ortho")


def test_the_exported_direction_times_5_is_the_shift(tmp_path: Path) -> None:
    catalogue = own_catalogue()
    for index, name in ((None, "lighting.pth"), (5, "other.pt")):
        export_catalogue(catalogue, tmp_path / name, direction=index)
        torch.testing.assert_close(5 * load(tmp_path / name).double(), shifts(catalogue)[index or 2], atol=2e-6, rtol=0)


def test_labels_are_read_by_a_reader_that_splits_at_each_colon_and_space(tmp_path: Path) -> None:
    entries = tuple(Entry(label=label) for label in ("a: b", "", "two\n lines ", "ears"))
    export_catalogue(Catalogue(torch.eye(4), entries, "", ""), tmp_path / "human_annotation.txt")
    lines = (tmp_path / "human_annotation.txt").read_text().splitlines()
    assert dict(line.split(": ") for line in lines) == {"0": "a:b", "2": "two lines", "3": "ears"}


def test_the_unet_comes_back_with_the_authors_names_and_numbers(tmp_path: Path) -> None:
    shapes = json.loads((FIXTURES / "unet_keys.json").read_text())
    source = torch.Generator().manual_seed(21)
    published = seeded_state(shapes, source)
    torch.save(published, tmp_path / "u_net_imagenet.pth")
    import_path(tmp_path / "u_net_imagenet.pth", tmp_path / "unet.safetensors")
    export_path(tmp_path / "unet.safetensors", tmp_path / "again.pth")
    again = load(tmp_path / "again.pth")
    assert {name: list(value.shape) for name, value in again.items()} == shapes
    assert all(torch.equal(again[name], value) for name, value in published.items())
    expected = np.load(FIXTURES / "unet.npz")
    net = UNet().eval()
    net.load_state_dict(again)
    with torch.inference_mode():
        logits = net(torch.from_numpy(expected["input"]))
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-4)


def test_a_segmenter_in_half_precision_goes_out_in_full(tmp_path: Path, small_unet: Path) -> None:
    net = load_unet(small_unet).net
    save_unet(net, tmp_path / "half.safetensors", 32, {}, half=True)
    export_path(tmp_path / "half.safetensors", tmp_path / "half.pth")
    again = load(tmp_path / "half.pth")
    assert all(torch.equal(again[name], value.half().float()) for name, value in net.state_dict().items() if value.dim())
    assert {value.dtype for value in again.values()} == {torch.float32, torch.int64}


def test_embeddings_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.published._ROWS", 7)
    codes = seeded(30, 120).numpy()
    np.save(tmp_path / "BigBiGAN_ImageNet_z.npy", codes)
    import_path(tmp_path / "BigBiGAN_ImageNet_z.npy", tmp_path / "z.npy")
    export_path(tmp_path / "z.npy", tmp_path / "again.npy")
    assert np.array_equal(np.load(tmp_path / "again.npy", allow_pickle=False), codes)


@pytest.mark.parametrize(
    ("source", "to", "options", "words"),
    [
        ("catalogue", "run", {"deformator": "fc"}, "type of deformator is 'fc'"),
        ("catalogue", "run", {"direction": 1}, "takes more than one direction"),
        ("catalogue", "x.pth", {"direction": 6}, "no direction 6"),
        ("catalogue", "full", {}, "is no empty folder"),
        ("catalogue", "full/file", {}, "is no empty folder"),
        ("bare", "x.pth", {}, "no saliency-lighting direction"),
        ("bare", "x.txt", {}, "has no labels"),
        ("still", "x.pth", {"direction": 0}, "magnitude of 0: it leads nowhere"),
        ("still", "run", {}, "magnitude of 0: it leads nowhere"),
        ("z.npy", "x.pth", {}, r"End it with \.npy"),
        ("unet", "x.npy", {}, r"End it with \.pth or \.pt"),
        ("unet", "x.pth", {"direction": 1}, "has no directions"),
        ("nowhere.safetensors", "x.pth", {}, "does not exist"),
        ("full", "x.pth", {}, "catalogue.json|weights file"),
    ],
)
def test_what_cannot_be_exported_says_why(
    tmp_path: Path, small_unet: Path, source: str, to: str, options: dict[str, Any], words: str
) -> None:
    own_catalogue().save(tmp_path / "catalogue")
    Catalogue(torch.eye(3), (Entry(),) * 3, "", "").save(tmp_path / "bare")
    Catalogue(torch.eye(3), (Entry(magnitude=0.0),) * 3, "", "").save(tmp_path / "still")
    np.save(tmp_path / "z.npy", seeded(3, 6).numpy())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    path = small_unet if source == "unet" else tmp_path / source
    with pytest.raises(LanternError, match=words):
        export_path(path, tmp_path / to, **options)
    assert not any((tmp_path / name).exists() for name in ("run", "x.pth", "x.txt", "x.npy"))
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: Any) -> None:
    own_catalogue().save(tmp_path / "catalogue")
    to = tmp_path / "run"
    assert run("export", tmp_path / "catalogue", "--to", to, "--deformator", "proj") == 0
    written = [line.removeprefix("written: ") for line in capsys.readouterr().out.splitlines()]
    assert sorted(written) == sorted(str(path) for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert run("export", tmp_path / "catalogue", "--to", to) == 2
    assert run("import", to, "--out", tmp_path / "again") == 0
    assert len(load_catalogue(tmp_path / "again")) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_discovered_catalogue_goes_out_with_its_own_type(tmp_path: Path, kind: str) -> None:
    found = DiscoveryConfig(deformator=kind, reconstructor="lenet", steps=70, shift_scale=4.0).to_json()
    catalogue = own_catalogue(rotation=True)
    # A person has turned two of the directions, and the matrix is a rotation still.
    provenance = {"discovery": {**found, "step": 50, "accuracy": 0.5}}
    export_catalogue(dataclasses.replace(catalogue, provenance=provenance), tmp_path / "run")
    args = json.loads((tmp_path / "run" / "args.json").read_text())
    told = {"deformator": kind, "shift_predictor": "LeNet", "n_steps": 70, "shift_scale": 4.0, "deformator_lr": 1e-4}
    assert args.items() >= told.items()
    columns = deformed(kind, load(tmp_path / "run" / "models" / "deformator_50.pt"), torch.eye(6)).T
    length = 1.0 if kind != "linear" else columns.norm(dim=0)
    for index in range(6):
        torch.testing.assert_close((columns / length)[:, index], catalogue.direction(index).double(), atol=1e-5, rtol=0)
    again = import_path(tmp_path / "run", tmp_path / "catalogue")
    assert again.findings.artefacts[0].content.provenance["imported"]["type"] == kind
