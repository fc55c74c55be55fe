"""Commands that find and measure: a kill at any step costs what came after the last save, and changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explorer import ablation
from explorer.ablation import VARIANTS
from explorer.directions.catalogue import load_catalogue
from explorer.runs.listing import metrics, tail, view
from explorer.runs.store import Run
from segmentation.checkpoints import NAME, previous
from segmentation.tensors import load_tensors
from segmentation.unet import save_unet
from tests.explorer.test_commands import run
from tests.segmentation.forked import in_a_process
from tests.segmentation.miniatures import ecssd
from tests.segmentation.test_inference import lively_net

pytestmark = pytest.mark.timeout(300)

SOURCES: dict[str, tuple[object, ...]] = {
    "closed-form": (
        *("--optimise.steps", 3, "--optimise.batch-size", 4, "--codes", 4, "--filters.no-size", "--filters.no-histogram"),
        *("--search.rounds", 3, "--search.codes", 4, "--search.children", 2),
    ),
    "pca": ("--samples", 300, "--layer", "latent", "--engine.batch-size", 64),
    "optimised": ("--optimise.steps", 3, "--optimise.batch-size", 4, "--codes", 4),
    "axes": (),
}


def killed(at: int, *arguments: object) -> None:
    """The command, killed right after it has reported its ``at``-th step."""

    def work() -> None:
        advance, calls = Run.advance, [0]

        def counting(self: Run, step: int, steps: int, figures: dict[str, float]) -> None:
            calls[0] += 1
            advance(self, step, steps, figures)
            if calls[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

        Run.advance = counting  # type: ignore[method-assign]
        run(*arguments)

    assert in_a_process(work) == -signal.SIGKILL


def contents(folder: Path) -> dict[str, Any]:
    """What the catalogue in ``folder`` says: files by name, without the time of a change."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            found[path.name] = json.loads(path.read_text())
        elif path.is_file():
            found[path.name] = path.read_bytes()
    return found


def check_went_on(folder: Path, steps: int, at: int, every: int) -> None:
    """The run in ``folder`` is done, and went on from the last save before step ``at``."""
    told = view(folder)
    assert (told.state, told.step, told.steps) == ("done", steps, steps)
    assert [line["step"] for line in metrics(folder)][-1] == steps
    (said,) = [line for line in tail(folder, 200) if "resuming at step" in line]
    assert at - every <= int(said.split("resuming at step ")[1].split()[0]) < at


@pytest.mark.parametrize("source", SOURCES)
def test_directions_go_on_where_they_were(small_generator: Path, tmp_path: Path, source: str) -> None:
    options = ("directions", "--generator", small_generator, "--source", source, "--calibration.codes", 2, *SOURCES[source])
    assert run(*options, "--out", tmp_path / "whole", "--run", tmp_path / "whole.run", "--checkpoint-every", 1000) == 0
    done = len(metrics(tmp_path / "whole.run"))
    steps = view(tmp_path / "whole.run").steps
    for share in {"closed-form": (0.25, 0.5, 0.75, 0.95), "axes": (0.5,)}.get(source, (0.3, 0.7)):
        out, folder = tmp_path / f"out-{share}", tmp_path / f"run-{share}"
        again = (*options, "--out", out, "--run", folder, "--checkpoint-every", 1)
        at = max(3, round(share * done))
        killed(at, *again)
        assert view(folder).state == "dead" and not out.exists()
        reached = metrics(folder)[-1]["step"]
        assert run(*again) == 0
        # A step of the activations is a batch of them.
        check_went_on(folder, steps, reached, 64 if source == "pca" else 1)
        assert contents(out) == contents(tmp_path / "whole")


def test_of_damaged_directions_the_save_before_is_used_and_said(small_generator: Path, tmp_path: Path) -> None:
    options = (
        "directions",
        "--generator",
        small_generator,
        "--source",
        "closed-form",
        *SOURCES["closed-form"],
        "--no-calibrate",
    )
    assert run(*options, "--out", tmp_path / "whole") == 0
    again = (*options, "--out", tmp_path / "out", "--run", tmp_path / "run", "--checkpoint-every", 2)
    killed(14, *again)
    newest = tmp_path / "run" / NAME
    saved = [sum(part["step"] for part in load_tensors(path)[1]["states"].values()) for path in (previous(newest), newest)]
    assert saved[0] < saved[1] <= 13
    whole = newest.read_bytes()
    newest.unlink()
    newest.write_bytes(whole[: len(whole) // 2])
    assert run(*again) == 0
    log = "\n".join(tail(tmp_path / "run", 200))
    assert "going on from the checkpoint before it" in log and f"resuming at step {saved[0]} of" in log
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_calibration_goes_on_where_it_was(small_generator: Path, tmp_path: Path) -> None:
    axes, folder = tmp_path / "axes", tmp_path / "run"
    assert run("directions", "--generator", small_generator, "--source", "axes", "--no-calibrate", "--out", axes) == 0
    whole = Path(shutil.copytree(axes, tmp_path / "whole"))
    options = ("calibrate", "--generator", small_generator, "--codes", 2)
    assert run(*options, "--directions", whole) == 0
    again = (*options, "--directions", axes, "--run", folder, "--checkpoint-every", 1)
    before = contents(axes)
    killed(3, *again)
    assert view(folder).state == "dead" and contents(axes) == before
    assert run(*again) == 0
    check_went_on(folder, 9, 3, 1)
    one, other = (load_catalogue(place) for place in (axes, whole))
    assert [(e.magnitude, e.scores) for e in one.entries] == [(e.magnitude, e.scores) for e in other.entries]
    assert one.entries[0].scores["reach"] > 0
    assert run(*again, "--target", 0.2) == 2


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred coarse pictures, more than a batch of held-out ones."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number in range(300):
        coarse = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        coarse.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def test_a_measurement_goes_on_where_it_was(small_generator: Path, photographs: Path, tmp_path: Path) -> None:
    def options(name: str) -> tuple[object, ...]:
        named = ("--json", tmp_path / f"{name}.json", "--picture", tmp_path / f"{name}.png")
        own = ("--images", photographs, "--samples", 100, "--held-out", 0.45, "--engine.batch-size", 20, *named)
        return ("measure-generator", "--generator", small_generator, *own, "--run", tmp_path / name, "--checkpoint-every", 20)

    assert run(*options("whole")) == 0
    parts = [line["step"] for line in metrics(tmp_path / "whole")]
    assert parts == [20, 40, 60, 80, 100, 228, 235, 363, 400, 528, 535]
    for at in (3, 10):
        name = f"part-{at}"
        killed(at, *options(name))
        assert view(tmp_path / name).state == "dead" and not (tmp_path / f"{name}.json").exists()
        assert run(*options(name)) == 0
        check_went_on(tmp_path / name, 535, parts[at - 1], 128)
        for suffix in (".json", ".png"):
            assert (tmp_path / f"{name}{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    ecssd(root)
    return root


def results(folder: Path) -> dict[str, Any]:
    """What a run has found, without what it took and where."""
    found: dict[str, Any] = {}
    for path in sorted((*folder.glob("table.*"), *folder.glob("scores/*.json"), *folder.glob("sweep.json"))):
        found[path.name] = re.sub(r'"seconds": [\d.]+', "", path.read_text())
    found |= {path.name: path.read_bytes() for path in sorted(folder.rglob("pictures/*.jpg"))}
    found |= {str(path.relative_to(folder)): load_tensors(path)[0] for path in sorted(folder.rglob("unet.safetensors"))}
    return found


def check_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys() and len(one) > 3
    for name, value in one.items():
        if name.endswith(".safetensors"):
            assert all(torch.equal(value[weight], other[name][weight]) for weight in value), name
        else:
            assert value == other[name], name


def test_a_table_goes_on_where_it_was(sets: Path, tmp_path: Path) -> None:
    save_unet(lively_net(1), tmp_path / "net.safetensors", 16, {})
    options: list[object] = ["reproduce", "--table", 2, "--root", sets, "--methods", "centre", "border", "--examples", 1]
    options += ["--weights", tmp_path / "net.safetensors", "--inference.batch-size", 1]
    assert run(*options, "--out", tmp_path / "whole") == 0
    reported = [line["step"] for line in metrics(tmp_path / "whole")]
    assert len(reported) == 9, "three methods on three images"
    for at in (2, 5, 9):
        out = tmp_path / f"part-{at}"
        killed(at, *options, "--out", out, "--checkpoint-every", 1)
        assert view(out).state == "dead"
        # How often it is saved may be different from one time to the next.
        assert run(*options, "--out", out) == 0
        log = "\n".join(tail(out, 200))
        assert ("resuming at image" in log) == (at % 3 != 1), log
        assert [line["step"] for line in metrics(out)] == reported
        check_same(results(out), results(tmp_path / "whole"))
        assert not [path for path in (out / "scores").iterdir() if path.is_dir()]


TRAINING = ("steps", 3), ("batch-size", 2), ("unet.width", 2), ("held-out", 2), ("synthesis.candidates", 4)


def test_an_ablation_goes_on_where_it_was(
    small_generator: Path, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "z.npy", np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32))
    monkeypatch.setattr(ablation, "VARIANTS", (VARIANTS[0], ("+ connected components", True, ("components",))))
    options: list[object] = ["ablate", "--generator", small_generator, "--embeddings", tmp_path / "z.npy", "--seeds", 1]
    options += [word for name, value in TRAINING for word in (f"--training.{name}", value)]
    options += ["--score.root", sets, "--score.examples", 1, "--checkpoint-every", 1]
    assert run(*options, "--out", tmp_path / "whole") == 0
    for at in (2, 6, 10):
        out = tmp_path / f"part-{at}"
        killed(at, *options, "--out", out)
        assert view(out).state == "dead"
        assert run(*options, "--out", out) == 0
        check_same(results(out), results(tmp_path / "whole"))


def test_a_sweep_goes_on_where_it_was(small_generator: Path, sets: Path, tmp_path: Path) -> None:
    options: list[object] = ["sweep", "--generator", small_generator, "--seeds", 2, "--try-decays", 0.2, 1]
    options += ["--synthesis.filters.no-histogram"]
    options += [word for name, value in TRAINING for word in (f"--{name}", value)]
    options += ["--images", sets / "ECSSD/images", "--masks", sets / "ECSSD/ground_truth_mask"]
    assert run(*options, "--out", tmp_path / "whole") == 0
    for at in (4, 9, 14):
        out = tmp_path / f"part-{at}"
        killed(at, *options, "--out", out, "--checkpoint-every", 1)
        assert view(out).state == "dead"
        assert run(*options, "--out", out, "--checkpoint-every", 2) == 0
        assert view(out).state == "done"
        check_same(results(out), results(tmp_path / "whole"))


@pytest.mark.parametrize("batch", [1, 2])
def test_an_evaluation_goes_on_where_it_was(sets: Path, tmp_path: Path, batch: int) -> None:
    save_unet(lively_net(1), tmp_path / "net.safetensors", 16, {})
    options: list[object] = ["evaluate", "--images", sets / "ECSSD/images", "--masks", sets / "ECSSD/ground_truth_mask"]
    options += ["--weights", tmp_path / "net.safetensors", "--batch-size", batch, "--checkpoint-every", 1]
    assert run(*options, "--json", tmp_path / "whole.json") == 0
    again = (*options, "--run", tmp_path / "run", "--json", tmp_path / "part.json")
    killed(3, *again)
    assert view(tmp_path / "run").state == "dead" and not (tmp_path / "part.json").exists()
    assert run(*again) == 0
    assert "resuming at image 2 of 3" in "\n".join(tail(tmp_path / "run", 200))
    assert (tmp_path / "part.json").read_text() == (tmp_path / "whole.json").read_text()
