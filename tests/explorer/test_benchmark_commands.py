"""The commands of the benchmarks: datasets, reproduce, ablate."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer import ablation, benchmarking
from explorer.__main__ import main
from explorer.ablation import VARIANTS, AblationConfig
from explorer.benchmarking import Places, Scores
from explorer.runs.listing import metrics, tail, view
from segmentation.files import read_json
from segmentation.inference import InferenceConfig, load_segmenter
from segmentation.layouts import locate
from segmentation.methods import Network
from segmentation.progress import Unwatched
from segmentation.published import published_table
from segmentation.scoring import ScoringConfig, score
from segmentation.tables import Table
from segmentation.unet import save_unet
from tests.segmentation.forked import ended, in_a_process, together
from tests.segmentation.miniatures import build_all, ecssd, picture, save, truth
from tests.segmentation.test_inference import lively_net


def run(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_datasets_are_listed_with_counts_and_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ecssd(tmp_path)
    (tmp_path / "ECSSD/images/0002.jpg").unlink()
    assert run("datasets", "list", "--root", tmp_path) == 0
    told = capsys.readouterr().out
    assert f"ECSSD: 2 of 1000 images with masks in {tmp_path / 'ECSSD'}" in told
    assert "1 masks without an image: 0002" in told
    assert "DUTS-TE: not there" in told and "http://saliencydetection.net/duts/" in told
    assert "1 of 13 data sets are there" in told
    build_all(tmp_path)
    assert run("datasets", "list", "--root", tmp_path) == 0
    assert "13 of 13 data sets are there" in capsys.readouterr().out


def test_datasets_without_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("datasets", "list", "--root", tmp_path / "nowhere") == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    build_all(root)
    return root


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings of one recipe, as folders."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        (folder / f"seed{seed}").mkdir()
        save_unet(lively_net(seed), folder / f"seed{seed}/unet.safetensors", 16, {"source": {"generator": "disc"}})
    return folder


def scores(table: Path, method: str) -> dict[str, Any]:
    return next(row for row in read_json(table)["rows"] if row["method"] == method and row["origin"] == "measured")


def test_a_table_has_own_rows_with_mean_and_deviation(
    sets: Path, networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", "--table", 2, "--root", sets, "--out", tmp_path / "out", "--examples", 1]
    assert run(*command, "--weights", f"mine={networks}", "--methods", "centre", "--datasets", "Weizmann horses") == 0
    told = capsys.readouterr().out
    assert "| **mine** |" in told and "± " in told and "| **centre prior** |" in told
    assert "| E-BigBiGAN | 0.797" in told
    row = scores(tmp_path / "out/table.json", "mine")
    measured = []
    for seed in (1, 2):
        segmenter = load_segmenter(networks / f"seed{seed}/unet.safetensors")
        measured.append(score(Network(segmenter), locate(sets, "ECSSD"), ScoringConfig()).figures())
    assert row["scores"]["ECSSD"]["iou"]["runs"] == pytest.approx([part["iou"] for part in measured], abs=1e-6)
    assert row["runs"] == 2 and row["protocol"] == "voynov, shorter side 16"
    assert set(row["scores"]) == {"ECSSD", "DUTS-TE", "DUT-OMRON", "Weizmann horses"}
    kept = read_json(tmp_path / "out/scores/mine-1-ecssd.json")
    assert kept["provenance"]["method"]["made_by"] == {"source": {"generator": "disc"}}
    page = (tmp_path / "out/table.html").read_text()
    assert 'src="pictures/mine-0-ecssd-best-1.jpg"' in page
    assert (tmp_path / "out/pictures/mine-0-ecssd-best-1.jpg").is_file()
    assert (tmp_path / "out/table.csv").read_text().startswith("method,ECSSD max_f,ECSSD max_f std")


def test_what_was_scored_is_not_scored_again(
    sets: Path, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["reproduce", "--table", 1, "--root", sets, "--out", tmp_path / "out", "--weights", networks / "seed1"]
    assert run(*command) == 0
    first = (tmp_path / "out/table.md").read_text()

    def never(*_: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(benchmarking, "score", never)
    assert run(*command) == 0
    assert (tmp_path / "out/table.md").read_text() == first
    monkeypatch.undo()
    save_unet(lively_net(9), networks / "seed1/unet.safetensors", 16, {})
    assert run(*command) == 0
    assert (tmp_path / "out/table.md").read_text() != first


def test_progress_is_in_images_and_ends_complete_whatever_was_there(sets: Path, networks: Path, tmp_path: Path) -> None:
    command = ["reproduce", "--table", 2, "--root", sets, "--out", tmp_path, "--examples", 0, "--weights", networks / "seed2"]
    images = sum(len(locate(sets, name)) for name, _ in published_table(2).columns)
    for more, rows in (([], 1), ([], 1), (["--methods", "centre"], 2), (["--methods", "centre"], 2)):
        assert run(*command, *more) == 0
        told = view(tmp_path)
        assert (told.state, told.step, told.steps) == ("done", rows * images, rows * images)
        # Those of the row that was there first stay, and the new row's follow.
        assert [line["step"] for line in metrics(tmp_path)] == list(range(1, rows * images + 1))
    log = "\n".join(tail(tmp_path, 200))
    assert f"resuming: {images} of {2 * images} images are done already" in log
    assert f"resuming: {2 * images} of {2 * images} images are done already" in log


def test_localisation_has_a_table_of_its_own(sets: Path, tmp_path: Path) -> None:
    assert run("reproduce", "--table", 3, "--root", sets, "--out", tmp_path, "--methods", "border") == 0
    row = scores(tmp_path / "table.json", "border colour")
    assert row["scores"]["CUB-200-2011 boxes"]["max_box_acc"]["mean"] == 1
    assert 0.5 < row["scores"]["OpenImages"]["px_ap"]["mean"] <= 1


def test_without_data_the_table_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reproduce", "--table", 1, "--out", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "| PerturbGAN | — | 0.380" in told
    assert "Not run: CUB-200-2011: no folder of data sets was given. Give --root DIR, in which it is CUB_200_2011/" in told
    assert "Source: https://www.vision.caltech.edu/datasets/cub_200_2011/" in told
    assert "shows the best and the worst images" not in told
    assert "To run E-BigBiGAN (with z-noising): python -m explorer train --generator bigbigan" in told
    assert run("reproduce", "--table", 4, "--out", tmp_path / "four") == 0
    names = "Base, +Imagenet embeddings, +Size filter, +Histogram, +Connected components"
    assert f"- To run {names}: python -m explorer ablate; needs BigBiGAN's weights" in capsys.readouterr().out
    assert run("reproduce", "--table", 1, "--root", tmp_path, "--out", tmp_path / "more") == 0
    assert "Not run: Flowers-102 is not in" in capsys.readouterr().out


def test_bad_images_are_named_and_counted_below_the_table(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c", "d"):
        save(tmp_path / f"i/{name}.png", picture())
        save(tmp_path / f"m/{name}.png", truth())
    (tmp_path / "i/b.png").write_bytes(b"nothing")
    save(tmp_path / "m/c.png", truth()[:-1])
    (tmp_path / "m/d.png").rename(tmp_path / "m/e.png")
    pair = ("--images", tmp_path / "i", "--masks", tmp_path / "m")
    assert run("reproduce", "--table", 2, *pair, "--out", tmp_path / "out", "--methods", "centre", "border") == 0
    told = capsys.readouterr().out
    name = tmp_path.name
    assert told.count(f"- {name}: 2 images left out: b: ") == 1, "once for both rows"
    assert "b.png is no image" in told and "c.png is 32x23 pixels, its image 32x24" in told
    assert f"- {name}: 1 images without their truth, not scored: d\n" in told
    assert f"- {name}: 1 truths without their image, not scored: e\n" in told
    assert f"- border colour on {name}: 1 of 3 images\n" in told
    assert len(read_json(tmp_path / f"out/scores/centre-prior-0-{benchmarking.slug(name)}.json")["refused"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--table", 7], "the paper has no table 7"),
        (["--table", 1, "--methods", "best"], "no method is called best"),
        (["--table", 1, "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--table", 1, "--datasets", "ECSSD"], "named without a root"),
        (["--table", 1, "--images", "."], "images without masks"),
        (["--table", 1, "--root", "nowhere"], "the folder nowhere does not exist"),
        (["--table", 1, "--protocol", "best"], "voynov, per-image, pysod"),
        (["--table", 1, "--refinement.kind", "magic"], "none, bilateral, crf"),
    ],
)
def test_mistakes_are_explained(arguments: list[object], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reproduce", "--out", tmp_path / "out", *arguments) == 2
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_stopped_table_goes_on(sets: Path, networks: Path, tmp_path: Path) -> None:
    class Stopping(Unwatched):
        left = 1

        def stop_requested(self) -> bool:
            self.left -= 1
            return self.left < 0

    entries = benchmarking.entries_of([], ["centre", "border"])
    found = benchmarking.find(published_table(2), Places(sets), ScoringConfig())
    tables: list[Table] = []

    def work(watcher: Unwatched) -> Table | None:
        kept = Scores(tmp_path, ScoringConfig(examples=0), InferenceConfig(), "cpu")
        return benchmarking.reproduce(2, entries, found, kept, watcher, tables.append)

    assert work(Stopping()) is None
    done = work(Unwatched())
    assert done is not None and [row.method for row in done.rows[-2:]] == ["centre prior", "border colour"]
    assert all({name for name, _ in row.cells} == set(found.datasets) for row in done.rows[-2:])


@pytest.mark.timeout(300)
def test_two_processes_reproduce_the_table_that_one_does(
    sets: Path, networks: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", "--table", 2, "--root", sets, "--weights", f"mine={networks}", "--methods", "centre", "--out"]
    assert run(*command, tmp_path / "one") == 0
    capfd.readouterr()

    def work(index: int) -> None:
        raise SystemExit(run(*command, tmp_path / "two", "--device", "cpu"))

    assert ended(together(work)) == [0, 0]
    assert capfd.readouterr().out.count("| **centre prior** |") == 1, "the first alone prints"
    for method in ("centre prior", "mine"):
        one, two = (scores(tmp_path / name / "table.json", method)["scores"] for name in ("one", "two"))
        assert set(one) == set(two)
        for name, figures in one.items():
            for metric, cell in figures.items():
                assert two[name][metric]["runs"] == pytest.approx(cell["runs"], abs=1e-6)
    kept = sorted(path.name for path in (tmp_path / "two/scores").iterdir())
    assert kept == sorted(path.name for path in (tmp_path / "one/scores").iterdir())
    pictures = sorted(path.name for path in (tmp_path / "two/pictures").iterdir())
    assert pictures == sorted(path.name for path in (tmp_path / "one/pictures").iterdir())
    assert read_json(tmp_path / "two/status.json")["state"] == "done"
    again = (tmp_path / "two/table.md").read_text()
    assert run(*command, tmp_path / "two", "--device", "cpu") == 0
    assert (tmp_path / "two/table.md").read_text() == again


def small_ablation(generator: Path, sets: Path, embeddings: Path, out: Path) -> list[object]:
    return [
        *("ablate", "--generator", generator, "--embeddings", embeddings, "--out", out, "--seeds", 1),
        *("--training.steps", 2, "--training.batch-size", 2, "--training.unet.width", 2, "--training.held-out", 2),
        *("--training.synthesis.candidates", 4, "--score.root", sets, "--score.examples", 1),
    ]


def test_the_ablation_is_a_run_of_runs(
    small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ecssd(tmp_path)
    np.save(tmp_path / "z.npy", np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32))
    # What the size and histogram filters accept of an unfitted generator is chance.
    monkeypatch.setattr(ablation, "VARIANTS", (VARIANTS[0], ("+ connected components", True, ("components",))))
    command = small_ablation(small_generator, tmp_path, tmp_path / "z.npy", tmp_path / "out")
    assert run(*command) == 0
    told = capsys.readouterr().out
    assert "| **Base** |" in told and "| +Histogram | 0.779" in told
    assert ", seed 0." in told
    row = scores(tmp_path / "out/table.json", "+ connected components")
    assert len(row["scores"]["ECSSD"]["max_f"]["runs"]) == 1
    children = sorted(path.parent.name for path in (tmp_path / "out").glob("*/unet.safetensors"))
    assert children == ["base-seed0", "connected-components-seed0"]
    for child in children:
        status = read_json(tmp_path / "out" / child / "status.json")
        assert (status["kind"], status["state"], status["step"]) == ("train", "done", 2)
        config = read_json(tmp_path / "out" / child / "config.json")
        assert config["training"]["seed"] == int(child[-1])
        assert (not config["source"]["embeddings"]) == child.startswith("base")
        assert config["training"]["synthesis"]["filters"]["components"] == child.startswith("connected")
    before, told_before = (tmp_path / "out/table.md").read_text(), metrics(tmp_path / "out")

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(ablation, "train", never)
    assert run(*command) == 0
    assert (tmp_path / "out/table.md").read_text() == before
    ended = view(tmp_path / "out")
    assert (ended.state, ended.step, ended.steps) == ("done", 4, 4) and metrics(tmp_path / "out") == told_before


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [1, 2])
def test_an_ablation_that_was_killed_goes_on_to_the_same_table(
    small_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    ecssd(tmp_path)
    np.save(tmp_path / "z.npy", np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32))
    monkeypatch.setattr(ablation, "VARIANTS", (VARIANTS[0], ("+ connected components", True, ("components",))))

    def command(out: str) -> list[object]:
        steps = ("--training.steps", 3, "--training.checkpoint-every", 1)
        return [*small_ablation(small_generator, tmp_path, tmp_path / "z.npy", tmp_path / out), *steps]

    assert run(*command("whole")) == 0

    def killed() -> None:
        advance = ablation._Whole.advance

        def dying(self: ablation._Whole, at: int, steps: int, figures: dict[str, float]) -> None:
            advance(self, at, steps, figures)
            if self.run is not None and "components" in self.run.folder.name and at == step:
                os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(ablation._Whole, "advance", dying)
        run(*command("parts"))

    assert in_a_process(killed) == -signal.SIGKILL
    child = tmp_path / "parts/connected-components-seed0"
    assert (tmp_path / "parts/base-seed0/unet.safetensors").is_file() and not (child / "unet.safetensors").exists()
    assert run(*command("parts")) == 0
    assert f"resuming at step {2 + step} of 6 of all trainings" in "\n".join(tail(tmp_path / "parts", 200))
    whole, parts = (read_json(tmp_path / name / "table.json") for name in ("whole", "parts"))
    for one, other in zip(whole["rows"], parts["rows"], strict=True):
        for name, figures in one["scores"].items():
            for metric, cell in figures.items():
                assert other["scores"][name][metric]["runs"] == pytest.approx(cell["runs"], abs=1e-5)
    assert [row["method"] for row in parts["rows"]] == [row["method"] for row in whole["rows"]]


def test_each_row_of_the_ablation_adds_one_part() -> None:
    config = AblationConfig()
    on = []
    for _, embedded, filters in VARIANTS:
        kept = config.child(filters, 3)
        assert kept.seed == 3 and kept.steps == 12_000
        switches = kept.synthesis.filters
        on.append([embedded, switches.size, switches.histogram, switches.components])
    assert on == [[number > part for part in range(4)] for number in range(5)]


def test_an_ablation_needs_embeddings_and_data(
    small_generator: Path, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ablate", "--generator", small_generator, "--out", tmp_path / "a", "--score.root", sets) == 2
    assert "needs embeddings" in capsys.readouterr().err
    np.save(tmp_path / "z.npy", np.zeros((6, 12), np.float32))
    command = ["ablate", "--generator", small_generator, "--embeddings", tmp_path / "z.npy", "--out", tmp_path / "b"]
    assert run(*command) == 2
    assert "no data set to score on" in capsys.readouterr().err
