"""Files that are refused, each by its name and with a reason; and nothing in them runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer.artefacts import import_path
from explorer.directions.catalogue import Catalogue, load_catalogue
from explorer.published import find_artefacts
from segmentation.errors import LanternError
from segmentation.unet import UNet, UNetConfig
from tests.explorer.published_files import Malice, deformator_state, seeded, write_run


@pytest.mark.parametrize(("said", "held"), [("ortho", "linear"), ("linear", "ortho"), ("proj", "ortho")])
def test_a_type_that_the_weights_contradict_is_refused(tmp_path: Path, said: str, held: str) -> None:
    folder = write_run(tmp_path / "run", said, {0: deformator_state(held, 12, 12)})
    with pytest.raises(LanternError, match=rf"deformator_0\.pt holds .*, but its args\.json says type {said}"):
        import_path(folder)


@pytest.mark.parametrize("said", ["fc", "id", "random", "", 3, ["linear"], None])
def test_types_without_directions_are_refused(tmp_path: Path, said: Any) -> None:
    state = {f"fc{n}.{part}": torch.ones(4, 4) for n in range(1, 5) for part in ("weight", "bias")}
    folder = write_run(tmp_path / "run", "x", {0: state})
    (folder / "args.json").write_text(json.dumps({"deformator": said}))
    with pytest.raises(LanternError, match="linear, proj, ortho.*a catalogue cannot hold it"):
        import_path(folder)


def test_every_line_that_is_no_label_is_listed(tmp_path: Path) -> None:
    labels = "0: fine\nnonsense\n12: outside\n-1: below\nx: y\n3:\n\n4 nothing\n"
    folder = write_run(tmp_path / "run", "linear", {0: deformator_state("linear", 12, 12)}, labels)
    with pytest.raises(LanternError) as caught:
        import_path(folder, tmp_path / "out")
    problem = caught.value.problem
    assert "human_annotation.txt has lines that are no `index: label` with an index of 0 to 11 (6): " in problem
    for line in ("line 2 'nonsense'", "line 3 '12: outside' (there is no direction 12)", "line 4 '-1: below'", "line 5 'x: y'"):
        assert line in problem
    assert "line 6 '3:'" in problem and "line 8 '4 nothing'" in problem
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["file", "run", "predictor", "folder", "npy"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool, where: str) -> None:
    folder, target = tmp_path / "run", tmp_path / "pwned"
    write_run(folder, "linear", {0: deformator_state("linear", 6, 6)})
    name = {"file": "x.pth", "folder": "x.pth", "run": "models/deformator_1.pt", "predictor": "models/shift_predictor_0.pt"}
    path = folder / name.get(where, "x.npy")
    if where == "npy":
        np.save(path, np.array([Malice(target)], object), allow_pickle=True)
    else:
        torch.save({"linear.weight": torch.eye(6), "payload": Malice(target)}, path, _use_new_zipfile_serialization=zipped)
    if where == "folder":
        passed_over = find_artefacts(folder).passed_over
        assert len(passed_over) == 1 and "was not opened" in passed_over[0]
    else:
        with pytest.raises(LanternError, match="was not opened|no .npy array of numbers"):
            import_path(path if where in ("file", "npy") else folder, tmp_path / "out")
    assert not target.exists() and not (tmp_path / "out").exists()
    if where == "npy":
        np.load(path, allow_pickle=True)
    else:
        torch.load(path, weights_only=False)
    assert target.exists(), "the file was harmless: the test would prove nothing"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(120), "is zero: it leads nowhere"),
        (torch.full((120,), torch.nan), "holds NaN or infinity"),
        (torch.ones(120, dtype=torch.complex64), "complex"),
        (torch.ones(3, 120), r"holds a tensor of shape \(3, 120\), which is no known artefact"),
        (torch.tensor(1.0), "no known artefact"),
        ({}, "holds a dict, which is no known artefact"),
        ({"fc.weight": torch.ones(2, 2)}, "no known artefact"),
        ([1, 2], "holds a list"),
        ({"linear.weight": torch.ones(120)}, r"linear\.weight of .* has shape \(120,\)"),
        ({"linear.weight": torch.ones(0, 4)}, "has shape"),
        ({"log_mat_half": torch.ones(3, 4)}, r"It has to be \(d, d\)"),
        ({"linear.weight": torch.eye(3), "other": torch.ones(1)}, "also holds other"),
        ({"linear.weight": torch.eye(3), "linear.bias": torch.ones(4)}, "linear.bias of .* is not 3 finite numbers"),
        ({"linear.weight": torch.diag(torch.tensor([1.0, 0, 1, 0]))}, r"has zero directions: \[1, 3\]"),
        ({"linear.weight": torch.eye(3).index_fill(1, torch.tensor([2]), torch.inf)}, r"infinity in directions \[2\]"),
        ({"inc.double_conv.0.weight": torch.ones(2, 3, 3, 3)}, r"does not fit a UNet \(missing: "),
        ({"inc.double_conv.0.weight": torch.ones(2)}, "does not fit a UNet"),
        (
            {**UNet(UNetConfig(1)).state_dict(), "outc.conv.bias": torch.full((2,), torch.nan)},
            r"NaN or infinity in outc\.conv\.bias",
        ),
    ],
)
def test_bad_content_is_named(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(LanternError, match=words) as caught:
        import_path(tmp_path / "bad.pth", tmp_path / "out")
    assert "bad.pth" in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((4, 3, 120)), "of shape"),
        (np.ones((0, 120)), "of shape"),
        (np.ones((4, 120), complex), "holds complex128"),
        (np.array([["a"]]), "holds <U1"),
        (np.array([[1.0, np.nan], [1, 2], [np.inf, 1]]), "2 of the 3 embeddings"),
        (np.array([[1e300, 1.0]]), "1 of the 1 embeddings"),
    ],
)
def test_bad_embeddings_are_named(tmp_path: Path, array: Any, words: str) -> None:
    np.save(tmp_path / "z.npy", array)
    with pytest.raises(LanternError, match=words):
        import_path(tmp_path / "z.npy", tmp_path / "out")


@pytest.mark.parametrize("share", [0.05, 0.4, 0.8, 0.99])
@pytest.mark.parametrize("kind", ["direction", "embeddings"])
def test_files_cut_short_are_named(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "cut"
    torch.save(seeded(120), path)
    if kind == "embeddings":
        with path.open("wb") as stream:
            np.save(stream, seeded(9, 120).numpy())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(LanternError, match="cut"):
        import_path(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no deformator", "but no deformator"),
        ("count", "has 6 directions, but .* says 7"),
        ("args", "not valid JSON"),
        ("empty labels", "has no lines"),
        ("predictor", "holds no weights"),
    ],
)
def test_a_damaged_run_is_named(tmp_path: Path, damage: str, words: str) -> None:
    count: dict[str, Any] = {"directions_count": 7} if damage == "count" else {}
    folder = write_run(tmp_path / "run", "linear", {0: deformator_state("linear", 6, 6)}, **count)
    if damage == "no deformator":
        (folder / "models" / "deformator_0.pt").unlink()
    if damage == "args":
        (folder / "args.json").write_text('{"deformator": ')
    if damage == "empty labels":
        (folder / "human_annotation.txt").write_text("\n \n")
    if damage == "predictor":
        torch.save([1], folder / "models" / "shift_predictor_0.pt")
    with pytest.raises(LanternError, match=words):
        import_path(folder, tmp_path / "out")


def test_another_generator_and_another_dimension_are_refused(tmp_path: Path, small_generator: Path) -> None:
    torch.save(seeded(120), tmp_path / "bg_direction.pth")
    np.save(tmp_path / "z.npy", seeded(3, 120).numpy())
    for name in ("bg_direction.pth", "z.npy"):
        with pytest.raises(LanternError, match="for latent codes of 120 numbers, and small takes 12"):
            import_path(tmp_path / name, tmp_path / "out", generator=str(small_generator))
    catalogue = load_catalogue(small_generator.parent / "directions")
    Catalogue(catalogue.directions, catalogue.entries, "", "0123").save(tmp_path / "other")
    with pytest.raises(LanternError, match="was made for the generator 0123, not for small"):
        import_path(tmp_path / "other", tmp_path / "other", generator=str(small_generator))


def test_a_catalogue_is_not_replaced_by_another(tmp_path: Path) -> None:
    torch.save(seeded(120), tmp_path / "bg_direction.pth")
    import_path(tmp_path / "bg_direction.pth", tmp_path / "out")
    with pytest.raises(LanternError, match="there is a catalogue in .* already"):
        import_path(tmp_path / "bg_direction.pth", tmp_path / "out")
