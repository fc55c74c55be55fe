"""What was published, told by its content and turned into this program's form; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.artefacts import import_path
from explorer.directions.catalogue import Catalogue, catalogue_for, load_catalogue
from explorer.generators.pocket import load_pocket
from explorer.generators.registry import load_generator
from explorer.published import find_artefacts
from segmentation.errors import LanternError
from segmentation.inference import load_segmenter
from segmentation.tensors import load_tensors
from segmentation.unet import UNet, UNetConfig, load_unet
from tests.explorer.conftest import BIGBIGAN
from tests.explorer.published_files import deformator_state, deformed, reconstructor, seeded, write_run
from tests.explorer.test_commands import run

KINDS = ("linear", "proj", "ortho")


def shifts_of(catalogue: Catalogue) -> Tensor:
    """The shift (K, d) of every direction at its own magnitude."""
    return torch.stack([catalogue.direction(k).double() * catalogue.magnitude(k) for k in range(len(catalogue))])


def imported(path: Path, out: Path, **options: Any) -> Catalogue:
    import_path(path, out, **options)
    return load_catalogue(out)


@pytest.mark.parametrize("name", ["bg_direction.pth", "anything.bin", "without_suffix"])
@pytest.mark.parametrize("shape", [(120,), (1, 120), (120, 1)])
def test_the_published_direction_is_saliency_lighting_at_magnitude_5(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    published = seeded(120) / seeded(120).norm()
    torch.save(published.view(shape), tmp_path / name)
    catalogue = imported(tmp_path / name, tmp_path / "out")
    assert catalogue.lighting == 0 and len(catalogue) == 1
    assert (catalogue.entries[0].status, catalogue.entries[0].magnitude) == ("saliency lighting", 5.0)
    torch.testing.assert_close(catalogue.direction(0), published, atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", [0.3, 1.7, 3.9])
def test_a_direction_of_another_length_is_walked_as_far_as_its_authors_walk_it(tmp_path: Path, length: float) -> None:
    published = length * seeded(120) / seeded(120).norm()
    torch.save(torch.nn.Parameter(published.double()), tmp_path / "direction.pth")
    shift = shifts_of(imported(tmp_path / "direction.pth", tmp_path / "out"))[0]
    torch.testing.assert_close(shift, 5 * published.double(), atol=2e-6, rtol=1e-6)


def test_a_direction_too_long_to_be_walked_so_far_is_walked_by_5(tmp_path: Path) -> None:
    torch.save(40 * seeded(120), tmp_path / "direction.pth")
    assert imported(tmp_path / "direction.pth", tmp_path / "out").entries[0].magnitude == 5.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("latent_dim", "count"), [(120, 120), (24, 10), (10, 24)])
def test_direction_k_is_what_the_deformator_makes_of_axis_k(tmp_path: Path, kind: str, latent_dim: int, count: int) -> None:
    count = latent_dim if kind == "ortho" else count
    state = deformator_state(kind, latent_dim, count)
    folder = write_run(tmp_path / "run", kind, {7: state}, directions_count=count)
    catalogue = imported(folder, tmp_path / "out")
    assert tuple(catalogue.directions.shape) == (count, latent_dim) and catalogue.lighting is None
    torch.testing.assert_close(shifts_of(catalogue), deformed(kind, state, 5 * torch.eye(count)), atol=5e-6, rtol=0)
    assert all(entry.magnitude == 5 for entry in catalogue.entries) or kind == "linear"


def test_the_type_comes_from_args_and_not_from_the_weights_alone(tmp_path: Path) -> None:
    state = deformator_state("proj", 12, 12)
    longest = [
        max(
            entry.magnitude
            for entry in imported(write_run(tmp_path / kind, kind, {0: state}), tmp_path / f"out-{kind}").entries
        )
        for kind in ("proj", "linear")
    ]
    assert longest[0] == 5 and longest[1] == pytest.approx(5 * float(state["linear.weight"].norm(dim=0).max()), abs=1e-4)


def test_the_last_of_several_steps_is_taken_or_the_one_that_is_asked_for(tmp_path: Path, capsys: Any) -> None:
    states = {step: deformator_state("linear", 12, 12, seed=step) for step in (0, 500, 9000, 10000)}
    folder = write_run(tmp_path / "run", "linear", states)
    assert run("import", folder, "--out", tmp_path / "last") == 0
    assert "deformators of steps 0, 500, 9000, 10000: 10000 taken" in capsys.readouterr().out
    assert run("import", folder, "--out", tmp_path / "early", "--step", 500) == 0
    assert run("import", folder / "models" / "deformator_500.pt", "--out", tmp_path / "file") == 0
    for out, step in (("last", 10000), ("early", 500), ("file", 500)):
        expected = deformed("linear", states[step], 5 * torch.eye(12))
        torch.testing.assert_close(shifts_of(load_catalogue(tmp_path / out)), expected, atol=5e-6, rtol=0)
    capsys.readouterr()
    assert run("import", folder, "--step", 501) == 2
    assert "no deformator of step 501. Choose one of: 0, 500, 9000, 10000." in capsys.readouterr().err


def test_a_run_is_told_by_content_where_its_files_have_other_names(tmp_path: Path) -> None:
    state = deformator_state("ortho", 8)
    torch.save(state, tmp_path / "a-rotation.bin")
    (tmp_path / "options.json").write_text('{"deformator": "ortho"}')
    (tmp_path / "notes.txt").write_text("3: ears\n\n 5 :  background removal \n")
    (found,) = find_artefacts(tmp_path).artefacts
    assert found.kind == "discovery run"
    assert {k: e.label for k, e in enumerate(found.content.entries) if e.label} == {3: "ears", 5: "background removal"}
    torch.testing.assert_close(shifts_of(found.content), deformed("ortho", state, 5 * torch.eye(8)), atol=5e-6, rtol=0)


def test_two_files_of_labels_are_one_too_many(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "linear", {0: deformator_state("linear", 6, 6)})
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("1: ears\n")
    (found,) = find_artefacts(folder).artefacts
    assert "no labels taken: a.txt, b.txt all look like them" in found.facts
    assert not any(entry.label for entry in found.content.entries)


def test_labels_are_kept_and_never_become_a_status(tmp_path: Path, capsys: Any) -> None:
    labels = "0: lighting\n4: background removal\n4: fur\n7: größe\n"
    folder = write_run(tmp_path / "run", "proj", {3: deformator_state("proj", 10, 10)}, labels)
    assert run("import", folder, "--out", tmp_path / "out") == 0
    catalogue = load_catalogue(tmp_path / "out")
    assert {k: e.label for k, e in enumerate(catalogue.entries) if e.label} == {
        0: "lighting",
        4: "background removal; fur",
        7: "größe",
    }
    assert {entry.status for entry in catalogue.entries} == {"new"} and catalogue.lighting is None
    told = capsys.readouterr().out
    assert "3 labels from human_annotation.txt: 0 lighting, 4 background removal; fur, 7 größe" in told
    assert "0 lighting, 4 background removal; fur; none is taken for saliency lighting by itself" in told
    assert "a deformator of type proj (says args.json), (10, 10): 10 directions of 10 numbers" in told


def test_labels_alone_go_into_the_catalogue_that_is_named(tmp_path: Path, capsys: Any) -> None:
    folder = write_run(
        tmp_path / "run", "linear", {0: deformator_state("linear", 12, 12)}, "1: old\n2: stays\n", predictor=True
    )
    assert run("import", folder, "--out", tmp_path / "first") == 0
    (tmp_path / "labels").write_bytes(b"\xef\xbb\xbf1: new\r\n5: ears\r\n")
    assert run("import", tmp_path / "labels") == 0
    assert "2 labels: 1 new, 5 ears" in capsys.readouterr().out
    assert run("import", tmp_path / "labels", "--out", tmp_path / "second") == 2
    assert "--directions FOLDER" in capsys.readouterr().err
    assert run("import", tmp_path / "labels", "--directions", tmp_path / "first", "--out", tmp_path / "second") == 0
    before, after = load_catalogue(tmp_path / "first"), load_catalogue(tmp_path / "second")
    assert [after.entries[k].label for k in (1, 2, 5)] == ["new", "stays", "ears"]
    assert torch.equal(before.directions, after.directions) and before.entries[1].label == "old"
    assert (tmp_path / "second" / "shift_predictor.safetensors").is_file()
    (tmp_path / "labels").write_text("1: new\n12: outside\n99: far\n")
    with pytest.raises(LanternError, match="catalogue has not: 12 outside, 99 far"):
        import_path(tmp_path / "labels", tmp_path / "third", directions=tmp_path / "first")


def test_the_reconstructor_of_the_same_step_is_kept(tmp_path: Path) -> None:
    states = {step: deformator_state("linear", 6, 6) for step in (1, 2)}
    import_path(write_run(tmp_path / "run", "linear", states, predictor=True), tmp_path / "out")
    kept, header = load_tensors(tmp_path / "out" / "shift_predictor.safetensors")
    assert header["kind"] == "shift predictor" and kept.keys() == reconstructor(2).keys()
    assert all(torch.equal(kept[name], value) for name, value in reconstructor(2).items())


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
@pytest.mark.parametrize("name", ["BigBiGAN_DUTS-TR_z.npy", "codes"])
def test_embeddings_become_float32(tmp_path: Path, dtype: str, name: str) -> None:
    codes = np.random.default_rng(0).standard_normal((50, 120)).astype(dtype)
    with (tmp_path / name).open("wb") as stream:
        np.save(stream, np.asfortranarray(codes))
    done = import_path(tmp_path / name, tmp_path / "out")
    assert done.written == (tmp_path / "out" / "embeddings.npy",)
    written = np.load(done.written[0], allow_pickle=False)
    assert written.dtype == np.float32 and np.array_equal(written, codes.astype(np.float32))
    (found,) = done.findings.artefacts
    assert found.kind == "embeddings" and "50 latent codes of 120 numbers" in found.facts[0]
    assert f"mean {codes.mean(dtype=float):.3f}, standard deviation {codes.astype(float).std():.3f}" in found.facts[1]


def test_a_published_unet_becomes_a_segmenter_with_the_same_saliency(tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = UNet(UNetConfig(3)).eval()
    torch.save(net.state_dict(), tmp_path / "u_net_imagenet")
    import_path(tmp_path / "u_net_imagenet", tmp_path / "out")
    loaded = load_unet(tmp_path / "out" / "unet.safetensors")
    assert loaded.provenance == {"imported": "u_net_imagenet"} and loaded.size == 128
    assert all(torch.equal(value, loaded.net.state_dict()[name]) for name, value in net.state_dict().items())
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    with torch.inference_mode():
        expected = net(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1).softmax(1)[0, 1]
    saliency = load_segmenter(tmp_path / "out" / "unet.safetensors", "cpu").saliency(image)
    np.testing.assert_allclose(saliency, expected.numpy(), atol=1e-5)


def test_without_out_nothing_is_written(tmp_path: Path, capsys: Any) -> None:
    folder = write_run(tmp_path / "run", "linear", {0: deformator_state("linear", 6, 6)}, "1: ears\n")
    before = sorted(tmp_path.rglob("*"))
    assert run("import", folder) == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert capsys.readouterr().out.startswith(f"{folder}: discovery run\n")


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A folder with one of each, two text files that are none, and a damaged one."""
    folder = tmp_path / "several"
    write_run(folder / "run", "ortho", {5: deformator_state("ortho", 120)}, "1: ears\n")
    torch.save(seeded(120), folder / "bg_direction.pth")
    torch.save(UNet(UNetConfig(1)).state_dict(), folder / "u_net_flowers.pth")
    np.save(folder / "BigBiGAN_CUB_train_z.npy", seeded(4, 120).numpy())
    (folder / "README.md").write_text("What is here:\nweights\n")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "half.pth").write_bytes((folder / "bg_direction.pth").read_bytes()[:300])
    return folder


def test_a_folder_of_several_is_imported_whole(several: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert run("import", several, "--out", out) == 0
    told = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "BigBiGAN_CUB_train_z.npy",
        "bg_direction",
        "run",
        "u_net_flowers.safetensors",
    ]
    assert len(load_catalogue(out / "run")) == 120 and load_catalogue(out / "bg_direction").lighting == 0
    assert load_unet(out / "u_net_flowers.safetensors").net.config.width == 1
    for name in ("README.md", "picture.jpg", "half.pth"):
        assert f"passed over: {name} (" in told


def test_a_folder_with_nothing_known_says_what_it_saw(several: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LanternError, match="the folder .*empty is empty"):
        import_path(tmp_path / "empty")
    for path in ("bg_direction.pth", "u_net_flowers.pth", "BigBiGAN_CUB_train_z.npy"):
        (several / path).unlink()
    (several / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(LanternError, match=r"nothing in .*README\.md.*half\.pth.*picture\.jpg"):
        import_path(several)
    with pytest.raises(LanternError, match="does not exist"):
        import_path(tmp_path / "nowhere")


def test_without_args_the_weights_tell_the_type_and_the_doubt_is_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", None, {0: deformator_state("linear", 6, 6)})
    (found,) = find_artefacts(folder).artefacts
    assert "type linear (told by its weights, as no args.json names it; had it been proj" in found.facts[0]


def test_directions_are_given_to_a_generator_at_once_or_later(tmp_path: Path, small_generator: Path, capsys: Any) -> None:
    folder = write_run(tmp_path / "run", "ortho", {0: deformator_state("ortho", 12)})
    fingerprint = load_pocket(small_generator).fingerprint
    assert run("import", folder, "--out", tmp_path / "now", "--generator", small_generator) == 0
    assert catalogue_for(str(small_generator), tmp_path / "now", fingerprint).fingerprint == fingerprint
    assert run("import", folder, "--out", tmp_path / "later") == 0
    assert f"import {tmp_path / 'later'} --out {tmp_path / 'later'} --generator" in capsys.readouterr().out
    with pytest.raises(LanternError, match="belongs to no generator yet") as caught:
        catalogue_for(str(small_generator), tmp_path / "later", fingerprint)
    command = caught.value.remedy.split("python -m explorer ")[1].split()
    assert run(*command) == 0
    later = catalogue_for(str(small_generator), tmp_path / "later", fingerprint)
    assert torch.equal(later.directions, load_catalogue(tmp_path / "now").directions)
    sample = ("walk", "--generator", small_generator, "--directions", tmp_path / "later", "--direction", 3)
    assert run(*sample, "--count", 1, "--steps", 3, "--out", tmp_path / "walk.png") == 0


def test_what_is_used_as_it_is_says_so(tmp_path: Path, small_unet: Path) -> None:
    (found,) = find_artefacts(BIGBIGAN).artefacts
    assert found.kind == "generator" and f"--from {BIGBIGAN}" in found.facts[1]
    torch.save(reconstructor(0), tmp_path / "shift_predictor_0.pt")
    for path in (BIGBIGAN, small_unet, tmp_path / "shift_predictor_0.pt"):
        with pytest.raises(LanternError, match="there is nothing to import"):
            import_path(path, tmp_path / "out")


@pytest.mark.parametrize("installed", [True, False])
def test_the_named_or_the_installed_bigbigan_takes_directions_of_120(
    tmp_path: Path, capsys: Any, request: pytest.FixtureRequest, installed: bool
) -> None:
    checkpoint = request.getfixturevalue("installed_bigbigan") if installed else BIGBIGAN
    torch.save(seeded(120), tmp_path / "bg_direction.pth")
    named = () if installed else ("--generator", checkpoint)
    assert run("import", tmp_path / "bg_direction.pth", "--out", tmp_path / "out", *named) == 0
    fingerprint = load_generator(str(checkpoint)).fingerprint
    assert load_catalogue(tmp_path / "out").fingerprint == fingerprint
    assert f"for the generator bigbigan ({fingerprint})" in capsys.readouterr().out
