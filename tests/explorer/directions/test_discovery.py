"""Discovery: the networks, one step against the same step written out, resumes, and factors that are known."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from explorer.artefacts import export_catalogue, import_path
from explorer.directions.catalogue import Catalogue, load_catalogue
from explorer.directions.deformators import DEFORMATORS, Deformator, make_deformator
from explorer.directions.discovering import describe_end, discover
from explorer.directions.discovery import Discoverer, DiscoveryConfig, Recognition, draw_amounts
from explorer.directions.reconstructors import Reconstructor, make_reconstructor
from explorer.engine import Engine, EngineConfig
from explorer.generators.pocket import load_pocket
from explorer.generators.seeds import source_for
from explorer.runs.store import Run
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from segmentation.tensors import load_tensors
from tests.analytic import FactorGenerator

ROOT = Path(__file__).parents[3]
QUICK: dict[str, Any] = {"reconstructor": "lenet", "batch_size": 4, "checkpoint_every": 5, "averaged_over": 10}


def factors(latent_dim: int = 5, seed: int = 1, resolution: int = 32) -> Engine:
    return Engine(FactorGenerator(latent_dim, resolution, seed), EngineConfig(device="cpu"))


class Watching(Unwatched):
    """Remembers the figures of every step; asks to stop after the step ``until``."""

    def __init__(self, until: int = 0) -> None:
        self.until, self.figures, self.notes, self.pictures = until, dict[int, dict[str, float]](), list[str](), list[str]()

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.figures[step] = {name: value for name, value in figures.items() if name != "milliseconds"}

    def picture(self, name: str, image: np.ndarray) -> None:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.std() > 10
        self.pictures.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stop_requested(self) -> bool:
        return len(self.figures) + 1 == self.until


# The factors of a generator that is known


def cosines(catalogue: Catalogue, engine: Engine) -> Tensor:
    """For each factor the cosine of the direction that is nearest, or 0 if that one is nearer to another factor."""
    assert isinstance(engine.generator, FactorGenerator)
    table = (engine.generator.factors @ catalogue.directions.T).abs()
    nearest = table.max(1)
    mutual = table[:, nearest.indices].argmax(0) == torch.arange(5)
    return nearest.values.where(mutual, torch.zeros(5))


def find(engine: Engine, out: Path, kind: str, steps: int) -> Catalogue:
    rates: dict[str, Any] = {"deformator_learning_rate": 0.02, "reconstructor_learning_rate": 5e-3}
    schedule: dict[str, Any] = {"steps": steps, "checkpoint_every": steps, "averaged_over": 50}
    config = DiscoveryConfig(directions_count=5, deformator=kind, reconstructor="lenet", **rates, **schedule)
    found = discover(engine, config, out, Unwatched())
    assert found is not None
    return found.catalogue


@pytest.mark.parametrize(("latent_dim", "seed"), [(5, 2), (7, 1)])
def test_the_factors_are_found(tmp_path: Path, latent_dim: int, seed: int) -> None:
    # Of seven numbers two do nothing, and five directions leave them alone.
    engine = factors(latent_dim, seed)
    axes = F.one_hot(torch.arange(5), latent_dim).float()
    start = Catalogue(axes, find(engine, tmp_path / "one", "ortho", 1).entries, "", "")
    assert cosines(start, engine).mean() < 0.6
    catalogue = find(engine, tmp_path / "run", "ortho", 400)
    assert cosines(catalogue, engine).min() > 0.95
    assert min(entry.scores["accuracy"] for entry in catalogue.entries) > 0.6
    assert torch.allclose(catalogue.directions @ catalogue.directions.T, torch.eye(5), atol=1e-5)


@pytest.mark.parametrize("kind", ["proj", "linear"])
def test_factors_are_found_without_right_angles(tmp_path: Path, kind: str) -> None:
    # Nothing keeps two directions from going the same way, so some factor may be left out.
    engine = factors(seed=3)
    catalogue = find(engine, tmp_path / "run", kind, 300)
    assert (cosines(catalogue, engine) > 0.9).sum() >= 3
    lengths = [entry.scores.get("length", 1.0) for entry in catalogue.entries]
    assert min(lengths) > 1.2 if kind == "linear" else lengths == [1.0] * 5


# Deformators


def shaken(kind: str, count: int, moved: int, scale: float = 0.5) -> Deformator:
    torch.manual_seed(0)
    deformator = make_deformator(kind, count, moved)
    with torch.no_grad():
        for parameter in deformator.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return deformator


@pytest.mark.parametrize("kind", DEFORMATORS)
@pytest.mark.parametrize(("count", "moved"), [(5, 5), (3, 5), (12, 5)])
def test_directions_start_near_the_axes(kind: str, count: int, moved: int) -> None:
    torch.manual_seed(0)
    columns = make_deformator(kind, count, moved).columns(moved)
    near = min(count, moved)
    assert columns.shape == (count, moved)
    assert torch.allclose(columns[:near], torch.eye(moved)[:near], atol=0.02)
    assert torch.allclose(columns.norm(dim=1), torch.ones(count), atol=1e-5)
    beyond = columns[moved:] @ columns.T - F.one_hot(torch.arange(moved, count), count) if count > moved else torch.zeros(1, 1)
    assert beyond.abs().max() < 0.999


@pytest.mark.parametrize("count", [3, 5, 13])
def test_an_orthogonal_deformator_stays_orthogonal(count: int) -> None:
    columns = shaken("ortho", count, 5).columns(5)
    assert not torch.allclose(columns[:3], torch.eye(5)[:3], atol=0.1)
    for group in columns.split(5):
        assert torch.allclose(group @ group.T, torch.eye(len(group)), atol=1e-5)
        assert len(group) < 5 or torch.linalg.det(group) > 0


def test_an_orthogonal_deformator_is_the_series_of_the_exponential() -> None:
    deformator = shaken("ortho", 4, 4)
    turns = dict(deformator.named_parameters())["turns"][0].detach().double()
    skew, term, total = turns - turns.T, torch.eye(4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64)
    for order in range(1, 60):
        total, term = total + term, term @ skew / order
    assert torch.allclose(deformator.matrix().double(), total, atol=1e-5)


def test_a_projective_deformator_has_unit_columns_and_a_linear_one_any() -> None:
    assert torch.allclose(shaken("proj", 7, 5, 3).columns(5).norm(dim=1), torch.ones(7), atol=1e-6)
    assert shaken("linear", 7, 5, 3).columns(5).norm(dim=1).std() > 0.5


@pytest.mark.parametrize("kind", DEFORMATORS)
def test_shifts_are_amounts_times_columns(kind: str) -> None:
    deformator = shaken(kind, 6, 4)
    shifts = deformator.shifts(torch.tensor([5, 0, 5]), torch.tensor([2.0, -3.0, 0.5]), 7)
    columns = deformator.columns(7)
    wanted = torch.stack([2 * columns[5], -3 * columns[0], 0.5 * columns[5]])
    assert torch.allclose(shifts, wanted, atol=1e-6)
    assert not shifts[:, 4:].any() and shifts[:, :4].abs().min() > 0
    shifts.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in deformator.parameters())


# Reconstructors


def size(module: Reconstructor) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_reconstructors_have_the_sizes_that_are_published() -> None:
    # ResNet-18 has 11,689,512 weights, 513,000 of them in its classifier; three more channels are 64 x 3 x 7 x 7.
    assert size(make_reconstructor("resnet18", 120, 64)) == 11_689_512 - 513_000 + 9_408 + 513 * 121
    convolutions = 6 * (6 * 25 + 1) + 16 * (6 * 25 + 1) + 120 * (16 * 25 + 1) + 2 * (6 + 16 + 120)
    answers = 2 * (84 * 121 + 2 * 84) + 85 * 120 + 85
    assert size(make_reconstructor("lenet", 120, 64)) == convolutions + answers


def test_resnet_is_what_its_weights_say() -> None:
    torch.manual_seed(0)
    network = make_reconstructor("resnet18", 9, 64).eval()
    state = {name.removeprefix("features_extractor."): value for name, value in network.published_state().items()}
    assert state["fc.weight"].shape == (1000, 512) and state["fc.bias"].shape == (1000,)
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.uniform_(-0.2, 0.2)

    def step(maps: Tensor, conv: str, norm: str, stride: int, padding: int) -> Tensor:
        maps = F.conv2d(maps, state[f"{conv}.weight"], stride=stride, padding=padding)
        mean, variance, weight, bias = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(maps, mean, variance, weight, bias)

    images, shifted = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    maps = F.max_pool2d(step(torch.cat([images, shifted], 1), "conv1", "bn1", 2, 3).relu(), 3, 2, 1)
    for layer in range(1, 5):
        for block in range(2):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            down = f"{name}.downsample"
            around = step(maps, f"{down}.0", f"{down}.1", stride, 0) if stride == 2 else maps
            inner = step(maps, f"{name}.conv1", f"{name}.bn1", stride, 1).relu()
            maps = (step(inner, f"{name}.conv2", f"{name}.bn2", 1, 1) + around).relu()
    features = maps.mean((2, 3))
    logits, amounts = network(images, shifted)
    wanted = features @ state["type_estimator.weight"].T + state["type_estimator.bias"]
    assert logits.shape == (2, 9) and torch.allclose(logits, wanted, atol=1e-4)
    wanted = features @ state["shift_estimator.weight"][0] + state["shift_estimator.bias"][0]
    assert amounts.shape == (2,) and torch.allclose(amounts, wanted, atol=1e-4)


def test_lenet_sees_both_images_in_their_order() -> None:
    torch.manual_seed(0)
    network = make_reconstructor("lenet", 9, 32).eval()
    images, shifted = torch.rand(2, 3, 3, 32, 32) * 2 - 1
    logits, amounts = network(images, shifted)
    assert logits.shape == (3, 9) and amounts.shape == (3,)
    assert not torch.allclose(logits, network(shifted, images)[0], atol=1e-3)
    named = {"convnet.0.weight": (6, 6, 5, 5), "convnet.8.weight": (120, 16, 5, 5), "fc_shift.3.weight": (1, 84)}
    assert {name: tuple(network.published_state()[name].shape) for name in named} == named


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(LanternError, match=r"16 px wide.*resnet18"):
        make_reconstructor("lenet", 5, 16)
    with pytest.raises(LanternError, match="4 px wide"):
        make_reconstructor("resnet18", 5, 4)


# One step


@given(st.integers(0, 1000), st.sampled_from(["uniform", "normal"]), st.floats(0, 3))
def test_amounts_are_long_enough_and_of_both_signs(seed: int, distribution: str, shortest: float) -> None:
    config = DiscoveryConfig(shift_distribution=distribution, shift_scale=4.0, min_shift=shortest)
    source = torch.Generator().manual_seed(seed)
    amounts = draw_amounts(config, 500, source)
    assert amounts.abs().min() >= shortest - 1e-6 and 200 < (amounts > 0).sum() < 300
    shortened = 500 * (shortest / 4 if distribution == "uniform" else math.erf(shortest / 4 / 2**0.5))
    assert abs((amounts.abs() <= shortest + 1e-6).sum() - shortened) < 60
    assert amounts.abs().max() <= 4 if distribution == "uniform" else amounts.abs().max() > 6


def test_a_step_is_that_of_the_method() -> None:
    engine = factors()
    config = DiscoveryConfig(directions_count=5, shift_weight=0.5, label_weight=2.0, **QUICK)
    work = Discoverer(engine, config)
    deformator, reconstructor = work.deformator.matrix().detach().clone(), work.reconstructor
    source = source_for(config.seed, "discovery", 0)
    codes = torch.randn(4, 5, generator=source)
    chosen = torch.randint(0, 5, (4,), generator=source)
    amounts = draw_amounts(config, 4, source)
    shifted = codes + torch.stack([amount * deformator[:, index] for amount, index in zip(amounts, chosen, strict=True)])
    with torch.no_grad():
        generator = FactorGenerator()
        logits, told = reconstructor(generator.generate(codes), generator.generate(shifted))
    figures = work.advance()
    label_loss = -logits.log_softmax(1)[range(4), chosen].mean().item()
    shift_loss = (told - amounts).abs().mean().item()
    assert figures["label_loss"] == pytest.approx(label_loss, abs=0.03)
    assert figures["shift_loss"] == pytest.approx(shift_loss, abs=0.03)
    assert figures["loss"] == pytest.approx(2 * label_loss + 0.5 * shift_loss, abs=0.06)
    assert figures["accuracy"] == pytest.approx((logits.argmax(1) == chosen).float().mean().item())


def test_the_plain_images_are_made_without_gradients() -> None:
    engine = factors()
    work = Discoverer(engine, DiscoveryConfig(directions_count=5, **QUICK))
    before = {name: value.clone() for name, value in work.deformator.state_dict().items()}
    work.advance()
    assert isinstance(engine.generator, FactorGenerator)
    assert engine.generator.made == [(4, False), (4, True)]
    assert not torch.equal(work.deformator.state_dict()["turns"], before["turns"])


def test_the_generator_stays_as_it_is(small_generator: Path) -> None:
    generator = load_pocket(small_generator).requires_grad_(True)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    work = Discoverer(Engine(generator, EngineConfig(device="cpu")), DiscoveryConfig(max_latent_dim=6, **QUICK))
    for _ in range(2):
        work.advance()
    assert work.deformator.count == 6 and not work.deformator.columns(12)[:, 6:].any()
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(parameter.grad is None for parameter in generator.parameters())


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=5), min_size=1, max_size=12))
def test_accuracies_are_running_averages(steps: list[list[tuple[int, bool]]]) -> None:
    recognition = Recognition(4, 5)
    for step in steps:
        recognition.see(torch.tensor([one for one, _ in step]), torch.tensor([right for _, right in step]))
    weighted = [(one, right, 0.8**age) for age, step in enumerate(reversed(steps)) for one, right in step]
    for index in range(4):
        seen = sum(weight for one, _, weight in weighted if one == index)
        right = sum(weight for one, told, weight in weighted if one == index and told)
        assert recognition.accuracies[index] == pytest.approx(right / seen if seen else 0.0)
    total = sum(weight for _, _, weight in weighted)
    assert recognition.accuracy == pytest.approx(sum(weight for _, told, weight in weighted if told) / total)


# Runs


def test_a_run_leaves_a_catalogue_and_its_figures(tmp_path: Path) -> None:
    engine, watcher = factors(), Watching()
    found = discover(engine, DiscoveryConfig(directions_count=7, steps=12, deformator="linear", **QUICK), tmp_path, watcher)
    assert found is not None and (found.step, found.early) == (12, False)
    each = {f"accuracy/{index}" for index in range(7)}
    assert [step for step, figures in watcher.figures.items() if each <= figures.keys()] == [5, 10, 12]
    assert each.isdisjoint(watcher.figures[4]) and watcher.pictures == [f"directions-{n:06d}" for n in (5, 10, 12)]
    catalogue = load_catalogue(tmp_path / "directions")
    assert catalogue.directions.shape == (7, 5) and catalogue.fingerprint == "factors-1" and catalogue.lighting is None
    tensors, _ = load_tensors(tmp_path / "checkpoint.safetensors")
    columns = tensors["deformator.weight"].T
    for index, entry in enumerate(catalogue.entries):
        assert torch.allclose(catalogue.directions[index] * entry.scores["length"], columns[index], atol=1e-5)
        assert entry.magnitude == pytest.approx(5 * entry.scores["length"], abs=0.006)
        assert entry.scores["accuracy"] == pytest.approx(watcher.figures[12][f"accuracy/{index}"], abs=1e-4)
    assert catalogue.provenance["discovery"]["step"] == 12
    assert watcher.notes == [found.verdict] and "after 12 steps" in found.verdict


@pytest.mark.parametrize("stops", [[7], [5], [2, 9, 12]])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path: Path, stops: list[int]) -> None:
    config = DiscoveryConfig(directions_count=5, steps=13, **QUICK)
    whole = Watching()
    assert discover(factors(), config, tmp_path / "whole", whole) is not None
    parts: dict[int, dict[str, float]] = {}
    for stop in stops:
        watcher = Watching(until=stop - len(parts))
        assert discover(factors(), config, tmp_path / "parts", watcher) is None
        parts.update(watcher.figures)
        assert len(parts) == stop
    last = Watching()
    assert discover(factors(), config, tmp_path / "parts", last) is not None
    assert last.notes[0] == f"resuming at step {stops[-1]} of 13"
    assert {**parts, **last.figures} == whole.figures
    one, other = (load_tensors(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert one[1] == other[1] and one[0].keys() == other[0].keys()
    assert all(torch.equal(value, other[0][name]) for name, value in one[0].items())


def test_a_killed_process_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    schedule = {"--steps": 60, "--checkpoint-every": 10, "--averaged-over": 10, "--batch-size": 4, "--directions-count": 5}
    options = ["--generator", "tests.analytic:FactorGenerator", "--engine.device", "cpu", "--reconstructor", "lenet"]
    options += [str(part) for pair in schedule.items() for part in pair]
    command = [sys.executable, "-m", "explorer", "discover", *options, "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and metrics.read_text().count("\n") >= 14:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = load_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]["step"]
    assert 10 <= done < 60
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "5 directions in" in ended.stdout and f"resuming at step {done} of 60" in ended.stderr
    config = DiscoveryConfig.from_json(json.loads((tmp_path / "run" / "config.json").read_text())["discovery"])
    with Run(tmp_path / "whole", "discover") as run:
        discover(factors(), config, tmp_path / "whole", run)
    assert told(tmp_path / "run") == told(tmp_path / "whole") and len(told(tmp_path / "run")) == 60


def told(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "milliseconds"} for line in lines]


def test_what_a_person_wrote_stays_when_the_run_goes_on(tmp_path: Path) -> None:
    config = DiscoveryConfig(directions_count=5, steps=10, **QUICK)
    assert discover(factors(), config, tmp_path, Watching(until=5)) is None
    folder = tmp_path / "directions"
    load_catalogue(folder).with_lighting(3, -1, 7.0).edited(1, label="size").save(folder)
    found = discover(factors(), config, tmp_path, Unwatched())
    assert found is not None and found.catalogue.lighting == 3
    assert (found.catalogue.entries[3].sign, found.catalogue.entries[3].magnitude) == (-1, 7.0)
    assert found.catalogue.title(1) == "1 size" and found.catalogue.entries[1].scores.keys() == {"accuracy"}
    assert found.catalogue.provenance["discovery"]["step"] == 10


@pytest.mark.parametrize("kind", DEFORMATORS)
def test_a_catalogue_goes_to_the_form_of_the_authors_and_back(tmp_path: Path, kind: str) -> None:
    config = DiscoveryConfig(deformator=kind, steps=3, deformator_learning_rate=0.1, **QUICK)
    found = discover(factors(), config, tmp_path / "run", Unwatched())
    assert found is not None
    folder = tmp_path / "run" / "directions"
    files = export_catalogue(found.catalogue, tmp_path / "theirs", kind, None, folder / "shift_predictor.safetensors")
    assert {path.name.split("_")[0] for path in files} == {"args.json", "deformator", "shift"}
    import_path(tmp_path / "theirs", tmp_path / "back")
    back = load_catalogue(tmp_path / "back")
    assert torch.allclose(back.directions, found.catalogue.directions, atol=1e-5)
    if kind == "linear":
        magnitudes = [entry.magnitude for entry in found.catalogue.entries]
        assert [entry.magnitude for entry in back.entries] == pytest.approx(magnitudes, abs=1e-4)


# An early end


def test_a_run_without_progress_ends_early_and_stays_ended(tmp_path: Path) -> None:
    rates: dict[str, Any] = {"deformator_learning_rate": 1e-8, "reconstructor_learning_rate": 1e-8}
    # Over so many steps the average of guesses does not rise.
    config = DiscoveryConfig(directions_count=5, steps=10_000, patience=20, **rates, **{**QUICK, "averaged_over": 1_000_000})
    watcher = Watching()
    found = discover(factors(), config, tmp_path, watcher)
    assert found is not None and found.early and found.step < 1000 and found.step == len(watcher.figures)
    assert "stopped early: the accuracy is" in found.verdict and "--reconstructor resnet18" in found.verdict
    again = Watching()
    same = discover(factors(), config, tmp_path, again)
    assert same is not None and (same.verdict, same.step) == (found.verdict, found.step) and not again.figures


def test_the_end_says_what_was_seen_and_what_to_change() -> None:
    stuck = Recognition(4, 10)
    stuck.see(torch.tensor([0, 1, 2, 3]), torch.tensor([True, True, False, False]))
    config = DiscoveryConfig(directions_count=4)
    assert describe_end(config, stuck, 900, 300) == (
        "stopped early: the accuracy is 50.0% after 900 steps and has not risen by half a point since step 300; 2 of 4 "
        "directions are recognised in at least 50% of their pairs. To raise it, try fewer directions (--directions-count 2) "
        "or longer shifts (--shift-scale 9), in a new folder."
    )
    assert "more steps (--steps 200000)" in describe_end(config, stuck, 900, None)
    lenet = dataclasses.replace(config, reconstructor="lenet", shift_scale=20.0)
    advice = describe_end(lenet, stuck, 900, None)
    assert "--reconstructor resnet18" in advice and "--shift-scale" not in advice
    done = Recognition(2, 10)
    done.see(torch.tensor([0, 1]), torch.tensor([True, True]))
    assert describe_end(config, done, 5, None).endswith("at least 50% of their pairs. Nothing needs to change.")


# What is refused


@pytest.mark.parametrize(
    "values",
    [
        {"deformator": "fc"},
        {"reconstructor": "vgg"},
        {"shift_distribution": "cauchy"},
        {"directions_count": 1},
        {"max_latent_dim": 0},
        {"shift_scale": 0.0},
        {"min_shift": 7.0},
        {"deformator_learning_rate": 0.0},
        {"batch_size": 1},
        {"steps": 0},
        {"patience": -1},
        {"seed": -1},
    ],
)
def test_bad_configuration_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LanternError, match=f"{next(iter(values))} is"):
        DiscoveryConfig(**values)


def test_configuration_goes_through_json_with_the_authors_defaults() -> None:
    config = DiscoveryConfig()
    assert DiscoveryConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert (config.shift_scale, config.min_shift, config.shift_distribution) == (6.0, 0.5, "uniform")
    assert (config.label_weight, config.shift_weight, config.batch_size, config.steps) == (1.0, 0.25, 32, 100_000)
    assert (config.deformator_learning_rate, config.reconstructor_learning_rate) == (1e-4, 1e-4)
    assert config.count(120) == 120 and (config.deformator, config.reconstructor) == ("ortho", "resnet18")
    assert DiscoveryConfig(max_latent_dim=30).count(120) == 30


def test_more_coordinates_than_there_are_and_another_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LanternError, match="latent code has 5 numbers"):
        discover(factors(), DiscoveryConfig(max_latent_dim=6, **QUICK), tmp_path, Unwatched())
    assert not (tmp_path / "config.json").exists()
    discover(factors(), DiscoveryConfig(steps=2, **QUICK), tmp_path, Unwatched())
    with pytest.raises(LanternError, match="another configuration"):
        discover(factors(), DiscoveryConfig(steps=3, **QUICK), tmp_path, Unwatched())


def test_a_loss_that_is_no_number_is_refused_and_not_saved(tmp_path: Path) -> None:
    class Wild(FactorGenerator):
        def generate(self, codes: Tensor) -> Tensor:
            return super().generate(codes) + (torch.inf if len(self.made) > 13 else 0)

    engine = Engine(Wild(), EngineConfig(device="cpu"))
    with pytest.raises(LanternError, match=r"the loss is nan at step 7.*learning-rate"):
        discover(engine, DiscoveryConfig(steps=20, **QUICK), tmp_path, Unwatched())
    tensors, header = load_tensors(tmp_path / "checkpoint.safetensors")
    assert header["step"] == 5 and all(bool(value.isfinite().all()) for value in tensors.values())


def test_a_generator_without_gradients_and_too_little_memory_are_named(tmp_path: Path) -> None:
    class Blind(FactorGenerator):
        def generate(self, codes: Tensor) -> Tensor:
            return super().generate(codes.detach())

    class Full(FactorGenerator):
        def generate(self, codes: Tensor) -> Tensor:
            if codes.requires_grad:
                raise torch.OutOfMemoryError("the test's memory is full")
            return super().generate(codes)

    for generator, told in ((Blind(), "lets no gradients through"), (Full(), r"memory enough for 4 pairs.*--batch-size")):
        with pytest.raises(LanternError, match=told):
            discover(Engine(generator, EngineConfig(device="cpu")), DiscoveryConfig(steps=2, **QUICK), tmp_path, Unwatched())
