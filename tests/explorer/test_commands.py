from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import app
from explorer.__main__ import exit_code, main
from explorer.directions.catalogue import load_catalogue
from explorer.engine import Engine
from explorer.generators.pocket import PocketGenerator, load_pocket
from segmentation.tensors import load_tensors

FIXTURES = Path(__file__).parents[1] / "fixtures"
TRAIN = ["--batch-size", "4", "--unet.width", "4", "--held-out", "4", "--synthesis.filters.no-histogram"]


def run(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three photographs in ``images``, their masks in ``masks``."""
    for number in range(3):
        image, mask = np.full((48, 60 + number, 3), 40, np.uint8), np.zeros((48, 60 + number), np.uint8)
        image[10:30, 20:40], mask[10:30, 20:40] = 200, 255
        for kind, pixels in (("images", image), ("masks", mask)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f"{number}.png")
    return tmp_path


def test_sample_gives_the_generators_images_for_codes(small_generator: Path, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    np.save(tmp_path / "z.npy", codes)
    arguments = ("--generator", small_generator, "--codes", tmp_path / "z.npy", "--out", tmp_path / "images.npy")
    assert run("sample", *arguments) == 0
    images = np.load(tmp_path / "images.npy", allow_pickle=False)
    assert images.dtype == np.float32
    assert np.allclose(images, load_pocket(small_generator).generate(torch.from_numpy(codes)).numpy(), atol=1e-5)


def test_sample_by_seed_draws_a_grid(small_generator: Path, tmp_path: Path) -> None:
    arguments = ("--generator", small_generator, "--seed", 3, "--count", 5, "--columns", 2, "--out", tmp_path / "grid.png")
    assert run("sample", *arguments) == 0
    assert Image.open(tmp_path / "grid.png").size == (128, 192)


def test_walk_draws_codes_by_magnitudes(small_generator: Path, tmp_path: Path) -> None:
    arguments = ("--generator", small_generator, "--direction", 2, "--count", 2, "--steps", 3, "--out", tmp_path / "walk.png")
    assert run("walk", *arguments) == 0
    strip = np.asarray(Image.open(tmp_path / "walk.png"))
    assert strip.shape == (128, 192, 3)
    engine = Engine(load_pocket(small_generator))
    middle = ((engine.images(engine.codes(2, 0)) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    assert np.abs(strip[:64, 64:128].astype(int) - middle[0]).max() <= 1


@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_masks_of_pairs_on_disk(tmp_path: Path, preset: str) -> None:
    arguments = ("--pairs", FIXTURES / "masks.npz", "--preset", preset, "--out", tmp_path / "out.npz")
    assert run("masks", *arguments) == 0
    with np.load(FIXTURES / "masks.npz") as expected, np.load(tmp_path / "out.npz") as found:
        cleaned = expected["components_mask_4" if preset == "paper" else "components_mask_8"]
        assert np.array_equal(found["raw_mask"], expected["raw_mask"])
        assert np.array_equal(found["mask"], cleaned)
        assert np.array_equal(found["histogram_ok"], expected[f"histogram_keep_{preset}"])
        assert set(found["rejected_by"]) <= {"", "size", "histogram", "empty"}
        assert np.array_equal(found["accepted"], found["rejected_by"] == "")
        if preset == "paper":
            assert np.allclose(found["area"], expected["area"])
            assert np.array_equal(found["size_ok"], expected["area"] <= 0.5)


def test_masks_of_fresh_pairs(small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--generator", small_generator, "--direction", 4, "--count", 6)
    assert run("masks", *arguments, "--out", tmp_path / "m.npz") == 0
    assert "accepted 0." in capsys.readouterr().out
    with np.load(tmp_path / "m.npz") as found:
        assert found["mask"].shape == (6, 64, 64)
    assert run("masks", *arguments, "--out", tmp_path / "m.png") == 0
    assert Image.open(tmp_path / "m.png").size == (256, 384)


def test_encode_embeds_a_folder(small_generator: Path, photographs: Path) -> None:
    out = photographs / "z.npy"
    assert run("encode", "--generator", small_generator, "--images", photographs / "images", "--out", out) == 0
    assert np.load(out, allow_pickle=False).shape == (3, 12)
    assert json.loads((photographs / "z.json").read_text())["names"] == ["0.png", "1.png", "2.png"]


def test_generate_train_predict_evaluate(small_generator: Path, photographs: Path) -> None:
    options = ("--generator", small_generator, "--synthesis.filters.no-histogram")
    assert run("generate", *options, "--count", 6, "--out", photographs / "set") == 0
    assert np.load(photographs / "set" / "images-00000.npy").shape == (6, 64, 64, 3)
    assert run("train", "--generator", small_generator, "--steps", 3, *TRAIN, "--out", photographs / "run") == 0
    weights = photographs / "run" / "unet.safetensors"
    folders = ("--images", photographs / "images")
    assert run("predict", "--weights", weights, *folders, "--out", photographs / "saliency") == 0
    scored, again = photographs / "scores.json", photographs / "again.json"
    masks = ("--masks", photographs / "masks")
    assert run("evaluate", "--weights", weights, *folders, *masks, "--json", scored) == 0
    assert run("evaluate", "--predictions", photographs / "saliency", *masks, "--json", again) == 0
    first, second = (json.loads(path.read_text()) for path in (scored, again))
    assert {"max_f", "iou", "accuracy", "images", "protocol"} <= set(first)
    assert (first["images"], first["protocol"]) == (3, "voynov")
    for name in ("max_f", "iou", "accuracy"):
        assert first[name] == pytest.approx(second[name], abs=0.02)


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_what_says_how_samples_are_made_is_refused_where_they_are_made_already(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", tmp_path / "data", "--embeddings", tmp_path / "z.npy", "--direction", 3, "--engine.device", "cpu"]
    assert run(command, *given, "--steps", 2, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "--direction, --embeddings would count for nothing" in " ".join(told.split()) and "leave out --data" in told


def test_embeddings_change_the_samples(small_generator: Path, photographs: Path) -> None:
    np.save(photographs / "z.npy", np.zeros((4, 12), np.float32))
    sets = []
    for name, more in (("plain", ()), ("embedded", ("--embeddings", photographs / "z.npy", "--alpha", 0.01))):
        out = photographs / name
        filters = ("--synthesis.filters.no-histogram", "--synthesis.filters.no-size")
        assert run("generate", "--generator", small_generator, *filters, *more, "--count", 6, "--out", out) == 0
        sets.append(np.load(out / "images-00000.npy").astype(float))
    assert sets[1].std(0).mean() < 0.2 * sets[0].std(0).mean()


def test_directions_makes_a_catalogue(small_generator: Path, tmp_path: Path) -> None:
    arguments = (
        "--generator",
        small_generator,
        "--codes",
        4,
        "--filters.no-histogram",
        "--search.rounds",
        1,
        "--optimise.steps",
        2,
        "--out",
        tmp_path / "catalogue",
    )
    assert run("directions", *arguments) == 0
    found = load_tensors(tmp_path / "catalogue" / "directions.safetensors")[0]["directions"]
    assert torch.allclose(found @ found.T, torch.eye(12), atol=1e-4)
    chosen = ("choose", "--directions", tmp_path / "catalogue", "--direction", 7, "--sign", "-1", "--magnitude", 2.5)
    assert run(*chosen) == 0
    catalogue = load_catalogue(tmp_path / "catalogue")
    assert catalogue.lighting == 7
    assert (catalogue.entries[7].sign, catalogue.entries[7].magnitude) == (-1, 2.5)
    walk = ("walk", "--generator", small_generator, "--directions", tmp_path / "catalogue", "--out", tmp_path / "w.png")
    assert run(*walk) == 0


BAD: list[tuple[list[str], str]] = [
    (["sample", "--generator", "none.safetensors", "--out", "o.png"], "none.safetensors does not exist"),
    (["sample", "--generator", "half.safetensors", "--out", "o.png"], "half.safetensors is not a safetensors file"),
    (["sample", "--generator", "unet.safetensors", "--out", "o.png"], "holds unet, not a pocket generator"),
    (["sample", "--generator", "biggan", "--out", "o.png"], "there is no generator 'biggan'"),
    (["sample", "--generator", "g.safetensors", "--out", "o.txt"], "End it with .npy or .png"),
    (["sample", "--generator", "g.safetensors", "--codes", "wide.npy", "--out", "o.png"], "shape (2, 99)"),
    (["sample", "--generator", "g.safetensors", "--codes", "half.npy", "--out", "o.png"], "half.npy is not a .npy array"),
    (["sample", "--generator", "g.safetensors", "--codes", "code.npy", "--out", "o.png"], "code.npy is not a .npy array"),
    (["sample", "--generator", "g.safetensors", "--seed", "-1", "--out", "o.png"], "seed is -1"),
    (["sample", "--generator", "g.safetensors", "--truncation", "0", "--out", "o.png"], "truncation is 0"),
    (["walk", "--generator", "g.safetensors", "--direction", "12", "--out", "o.png"], "there is no direction 12"),
    (["walk", "--generator", "g.safetensors", "--magnitude", "-3", "--out", "o.png"], "magnitude is -3"),
    (["walk", "--generator", "g.safetensors", "--directions", "empty", "--out", "o.png"], "does not exist"),
    (["masks", "--pairs", "none.npz", "--out", "o.npz"], "none.npz does not exist"),
    (["masks", "--pairs", "half.npz", "--out", "o.npz"], "half.npz holds no pairs"),
    (["masks", "--pairs", "shapes.npz", "--out", "o.npz"], "shape"),
    (["masks", "--pairs", "range.npz", "--out", "o.npz"], "outside [-1, 1]"),
    (["masks", "--pairs", "half.npz", "--max-area", "1.5", "--out", "o.npz"], "max_area is 1.5"),
    (["encode", "--generator", "g.safetensors", "--images", "empty", "--out", "z.npy"], "has no images"),
    (["encode", "--generator", "g.safetensors", "--images", "bad", "--out", "z.npy"], "none of the 1 photographs can be read"),
    (["reconstruct", "--generator", "g.safetensors", "--images", "bad/a.jpg", "--out", "o.png"], "a.jpg is no image"),
    (["reconstruct", "--generator", "g.safetensors", "--images", "images", "--out", "o.npy"], "End it with .png or .jpg"),
    (["walk", "--generator", "g.safetensors", "--image", "none.jpg", "--out", "o.png"], "none.jpg does not exist"),
    (["walk", "--generator", "g.safetensors", "--alpha", "-1", "--out", "o.png"], "alpha is -1"),
    (["generate", "--generator", "g.safetensors", "--embeddings", "wide.npy", "--out", "s"], "shape (2, 99)"),
    (["train", "--generator", "g.safetensors", "--steps", "0", "--out", "r"], "steps is 0"),
    (["train", "--generator", "g.safetensors", "--synthesis.filters.max-area", "7", "--out", "r"], "max_area is 7"),
    (["train", "--generator", "g.safetensors", "--magnitude", "0", "--out", "r"], "magnitude is 0"),
    (["evaluate", "--masks", "masks"], "either images or predictions"),
    (
        ["evaluate", "--masks", "masks", "--images", "images", "--weights", "none.safetensors"],
        "none.safetensors does not exist",
    ),
    (["evaluate", "--masks", "masks", "--images", "images", "--weights", "half.safetensors"], "half.safetensors"),
    (["evaluate", "--masks", "masks", "--images", "images", "--weights", "g.safetensors"], "pocket generator, not a U-Net"),
    (["evaluate", "--masks", "masks", "--images", "few", "--weights", "unet.safetensors"], "mask"),
    (["evaluate", "--masks", "masks", "--images", "empty", "--weights", "unet.safetensors"], "empty"),
    (["predict", "--images", "bad", "--weights", "unet.safetensors", "--out", "s"], "bad"),
    (["fit-generator", "--images", "empty", "--out", "f"], "has no images"),
    (["fit-generator", "--images", "images", "--out", "f"], "3 photographs"),
    (["fit-generator", "--images", "images", "--pocket.resolution", "96", "--out", "f"], "resolution is 96"),
    (["fit-generator", "--images", "images", "--start", "none.safetensors", "--out", "f"], "none.safetensors does not exist"),
    (["fit-generator", "--images", "images", "--start", "unet.safetensors", "--out", "f"], "unet, not a pocket generator"),
    (["fit-generator", "--images", "images", "--favoured", "empty", "--out", "f"], "empty has no images"),
    (["fit-generator", "--images", "images", "--favoured-share", "2", "--out", "f"], "favoured_share is 2"),
    (["train", "--generator", "g.safetensors", "--augmentation.crop", "7", "--out", "r"], "crop is 7"),
    (["train", "--generator", "g.safetensors", "--prior", "2", "--out", "r"], "prior is 2"),
    (
        ["train", "--generator", "g.safetensors", "--embeddings", "none.npy", "gone.npy", "--out", "r"],
        "none.npy does not exist",
    ),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(a[:5]) for a, _ in BAD])
def test_bad_input_ends_with_2_and_names_the_thing(
    arguments: list[str], said: str, bad_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bad_folder)
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert said in " ".join(message.split())
    assert "Traceback" not in message


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch it-ran",)


@pytest.fixture
def bad_folder(tmp_path: Path, photographs: Path, small_generator: Path, small_unet: Path) -> Iterator[Path]:
    """Files that are missing, cut short, misshapen or hostile, beside sound ones."""
    for name, source in (("g.safetensors", small_generator), ("unet.safetensors", small_unet)):
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "directions").symlink_to(small_generator.parent / "directions")
    (tmp_path / "half.safetensors").write_bytes(small_generator.read_bytes()[:3000])
    np.save(tmp_path / "wide.npy", np.zeros((2, 99), np.float32))
    (tmp_path / "half.npy").write_bytes((tmp_path / "wide.npy").read_bytes()[:200])
    np.save(tmp_path / "code.npy", np.array([_Code()], dtype=object), allow_pickle=True)
    (tmp_path / "half.npz").write_bytes((FIXTURES / "masks.npz").read_bytes()[:4000])
    np.savez(tmp_path / "shapes.npz", image=np.zeros((2, 3, 8, 8)), shifted=np.zeros((2, 3, 8, 9)))
    np.savez(tmp_path / "range.npz", image=np.zeros((2, 3, 8, 8)), shifted=np.full((2, 3, 8, 8), 255.0))
    for name in ("empty", "bad", "few"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no image")
    (tmp_path / "few" / "0.png").write_bytes((photographs / "images" / "0.png").read_bytes())
    yield tmp_path
    assert not (tmp_path / "it-ran").exists(), "a pickle ran"


def test_a_full_disk_is_said_and_nothing_is_left_behind(
    small_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.npy"
    np.save(kept, np.arange(3))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("segmentation.files.os.fsync", full)
    assert run("sample", "--generator", small_generator, "--count", 2, "--out", kept) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "the disk is full" in message
    assert "kept.npy" in message
    assert np.array_equal(np.load(kept), np.arange(3))
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npy"]


def in_a_process(before: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = f"import sys\nfrom explorer.__main__ import main\n{before}\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-B", "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_that_does_not_fit_is_said_and_nothing_is_left_behind(small_generator: Path, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    out = tmp_path / "images.npy"
    ended = in_a_process(limit, "sample", "--generator", small_generator, "--count", 16, "--out", out)
    assert ended.returncode == 2
    message = " ".join(ended.stderr.split())
    assert f"the disk is full: {out} could not be written (File too large, " in message
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_fit_ends_as_failed_and_can_go_on(small_generator: Path, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    filters = ("--synthesis.filters.no-histogram", "--synthesis.filters.no-size")
    arguments = ("generate", "--generator", small_generator, *filters, "--count", 16, "--out", tmp_path / "set")
    ended = in_a_process(limit, *arguments)
    assert ended.returncode == 2
    assert "images-00000.npy" in " ".join(ended.stderr.split())
    assert json.loads((tmp_path / "set" / "status.json").read_text())["state"] == "failed"
    assert not list((tmp_path / "set").glob("*.npy"))
    assert run(*arguments) == 0
    assert len(np.load(tmp_path / "set" / "images-00000.npy")) == 16


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "explorer", "--help"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("number", [errno.EEXIST, errno.ENAMETOOLONG, errno.EIO, errno.ENOSPC])
def test_errors_of_the_system_are_said(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    assert exit_code(work) == 2
    message = capsys.readouterr().err
    assert f"somewhere could not be read or written ({os.strerror(number)})" in message
    assert ("Free some space" in message) == (number == errno.ENOSPC)


def test_the_app_says_errors_of_the_system(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def launch(config: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "weights")

    monkeypatch.setattr("explorer.ui.shell.launch_app", launch)
    monkeypatch.setattr(sys, "argv", ["app.py"])
    assert app.main() == 2
    assert "weights could not be read or written (Input/output error)" in capsys.readouterr().err


def test_a_file_or_an_endless_name_in_place_of_the_folder(
    small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    for out in ("file", "file/below", "x" * 300):
        assert run("generate", "--generator", small_generator, "--count", 2, "--out", tmp_path / out) == 2
        assert f"the folder {tmp_path / out} cannot be written" in capsys.readouterr().err.replace("\n", "")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_refused_training_leaves_the_finished_one_as_it_was(
    small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--generator", small_generator, *TRAIN, "--out", tmp_path / "run"]
    assert run(*arguments, "--steps", 2) == 0
    status = tmp_path / "run" / "status.json"
    before = status.read_bytes()
    assert json.loads(before)["state"] == "done"
    assert run(*arguments, "--steps", 3) == 2
    assert "another configuration" in " ".join(capsys.readouterr().err.split())
    assert status.read_bytes() == before
    assert run(*arguments, "--steps", 2) == 0
    again = json.loads(status.read_text())
    assert (again["state"], again["step"], again["steps"]) == ("done", 2, 2)


def test_capital_suffixes_are_suffixes(small_generator: Path, tmp_path: Path) -> None:
    arguments = ("sample", "--generator", small_generator, "--count", 2, "--out")
    assert run(*arguments, tmp_path / "a.NPY") == 0
    assert run(*arguments, tmp_path / "a.PNG") == 0
    assert np.load(tmp_path / "a.NPY").shape == (2, 3, 64, 64)
    assert Image.open(tmp_path / "a.PNG").format == "PNG"
    assert run("masks", "--pairs", FIXTURES / "masks.npz", "--out", tmp_path / "m.NPZ") == 0
    with np.load(tmp_path / "m.NPZ") as found:
        assert "raw_mask" in found


def test_many_images_are_written_as_they_are_made(
    small_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    generate = PocketGenerator.generate

    def counted(generator: PocketGenerator, codes: torch.Tensor) -> torch.Tensor:
        asked.append(len(codes))
        return generate(generator, codes)

    monkeypatch.setattr(PocketGenerator, "generate", counted)
    batches = ("--engine.batch-size", 4)
    assert run("sample", "--generator", small_generator, *batches, "--count", 10, "--out", tmp_path / "a.npy") == 0
    assert asked == [4, 4, 2]
    engine = Engine(load_pocket(small_generator))
    assert np.allclose(np.load(tmp_path / "a.npy"), engine.images(engine.codes(10, 0)).cpu().numpy(), atol=1e-5)


@pytest.mark.parametrize("command", ["sample --count 4097", "walk --count 1000 --steps 5", "masks --count 1025"])
def test_an_endless_picture_is_refused_before_it_is_made(
    small_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(*command.split(), "--generator", small_generator, "--out", tmp_path / "grid.png") == 2
    assert "is too large. Choose at most 4096" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_help_shows_no_path_of_this_machine(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    shown = "".join(capsys.readouterr().out.split())
    assert "--weights" in shown
    assert "unet.safetensors" not in shown


def test_help_lists_every_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "explorer", "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    names = [
        "app",
        "sample",
        "walk",
        "masks",
        "generate",
        "train",
        "evaluate",
        "predict",
        "encode",
        "reconstruct",
        "fit-generator",
    ]
    for name in names:
        assert name in ended.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_training_goes_on(small_generator: Path, tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "explorer", "train", "--generator", str(small_generator), "--steps", "40"]
    command += [*TRAIN, "--validate-every", "10", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= 12) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate(timeout=60)
    done = load_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]["step"]
    assert 10 <= done < 40
    assert main([*command[3:-2], "--out", str(tmp_path / "run")]) == 0
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
