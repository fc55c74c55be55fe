"""A data set becomes latent codes: whole, in shares, killed and taken up again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from explorer.encoding import Encoded, EncodingConfig, Share, encode_data_set, run_folder
from explorer.engine import Engine, EngineConfig
from explorer.generators.base import Generator
from explorer.generators.listing import Listing
from explorer.runs.store import Run
from explorer.sources import read_embeddings
from segmentation.errors import LanternError
from segmentation.progress import Unwatched, Watcher
from tests.analytic import DiscEncoder, DiscGenerator, disc_photograph
from tests.explorer.encoders import DrawingEncoder, FaintEncoder, LoggingEncoder, flat_codes, write_flat
from tests.explorer.test_commands import run
from tests.segmentation.forked import in_a_process

ROOT = Path(__file__).parents[2]
LOGGING = f"{Path(__file__).with_name('encoders.py')}:LoggingEncoder"


class Counting(Unwatched):
    """Asks to stop after so many steps, and remembers what it was told."""

    def __init__(self, steps: int = 10**9) -> None:
        self.left = steps
        self.notes: list[str] = []
        self.told: list[tuple[int, int, dict[str, float]]] = []
        self.resumed: list[tuple[int, int]] = []

    def resume(self, step: int, steps: int) -> None:
        self.resumed.append((step, steps))

    def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.told.append((step, steps, figures))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stop_requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def encode(
    generator: Generator,
    images: Path,
    out: Path,
    share: Share | None = None,
    watcher: Watcher | None = None,
    workers: int = 2,
    checkpoint_every: int | None = None,
    **config: Any,
) -> Encoded | None:
    engine = Engine(generator, EngineConfig(device="cpu"))
    values = {"block_size": 4, **config}
    watching, encoding = watcher or Counting(), EncodingConfig(**values)
    return encode_data_set(engine, Listing([images]), out, encoding, watching, share, workers, checkpoint_every)


def record_of(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    return record


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "log.txt"
    monkeypatch.setenv("ENCODER_LOG", str(path))
    return path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Ten photographs, number 6 of them black."""
    write_flat(tmp_path / "images", 10, first=1)
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "00007.png")
    return tmp_path / "images"


def encoded_by(log: Path) -> list[int]:
    pairs = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [int(red) + 256 * int(green) for red, green in pairs]


def test_codes_are_those_of_the_photographs_in_their_order(tmp_path: Path) -> None:
    expected = [(-1.5, 0.5), (0.2, -0.9), (1.1, 1.3), (0.0, -0.4), (-0.7, 0.8)]
    (tmp_path / "images" / "b").mkdir(parents=True)
    names = ("a0.png", "a1.png", "a2.png", "b/3.png", "b/4.png")
    for name, (light, ground) in zip(names, expected, strict=True):
        Image.fromarray(disc_photograph(light, ground)).save(tmp_path / "images" / name)
    out = tmp_path / "z.npy"
    made = encode(DiscEncoder(), tmp_path / "images", out, block_size=2)
    assert made == Encoded(5, [])
    codes = np.load(out, allow_pickle=False)
    assert codes.dtype == np.float32 and codes.shape == (5, 8)
    assert codes[:, :2] == pytest.approx(np.array(expected), abs=0.03)
    assert not codes[:, 2:].any()
    record = record_of(out)
    assert tuple(record["names"]) == names
    assert (record["generator"], record["fingerprint"], record["rows"]) == ("disc encoder", "disc-2", 5)
    assert record["run"]["preprocessing"] == "centre square, 32 px"
    assert {"python", "numpy", "torch", "pillow"} <= set(record["libraries"])
    assert record["libraries"]["numpy"] == np.__version__
    assert not list(run_folder(out).glob("*.npz"))


def test_a_broken_image_among_many_is_passed_over_counted_and_named(tmp_path: Path, log: Path) -> None:
    write_flat(tmp_path / "images", 700)
    (tmp_path / "images" / "00350.png").write_bytes(b"no image")
    half = (tmp_path / "images" / "00411.png").read_bytes()
    (tmp_path / "images" / "00411.png").write_bytes(half[: len(half) // 2])
    out, watcher = tmp_path / "z.npy", Counting()
    made = encode(LoggingEncoder(), tmp_path / "images", out, watcher=watcher, block_size=64)
    good = [number for number in range(700) if number not in (350, 411)]
    assert np.allclose(np.load(out), flat_codes(good), atol=1e-6)
    record = record_of(out)
    assert record["names"] == [f"{number:05d}.png" for number in good]
    assert made is not None and made.rows == 698
    assert [name for name, _ in made.skipped] == ["00350.png", "00411.png"]
    assert record["skipped"] == [list(pair) for pair in made.skipped]
    assert "00350.png is no image" in made.skipped[0][1]
    assert [step for step, _, _ in watcher.told] == [*range(64, 700, 64), 700]
    assert all(steps == 700 for _, steps, _ in watcher.told) and watcher.told[-1][2]["skipped"] == 2


def test_a_photograph_without_a_finite_code_is_passed_over(tmp_path: Path, flat: Path) -> None:
    made = encode(FaintEncoder(), flat, tmp_path / "z.npy")
    assert made == Encoded(9, [("00007.png", "its latent code is not finite")])
    assert np.isfinite(np.load(tmp_path / "z.npy")).all()
    assert "00007.png" not in record_of(tmp_path / "z.npy")["names"]


def test_only_broken_images_are_an_error_and_can_be_mended(tmp_path: Path, log: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).write_bytes(b"no image")
    with pytest.raises(LanternError, match="none of the 2 photographs can be read; the first: a.png is no image"):
        encode(LoggingEncoder(), tmp_path / "images", tmp_path / "z.npy")
    assert not (tmp_path / "z.npy").exists()
    Image.new("RGB", (32, 32), (9, 0, 0)).save(tmp_path / "images" / "a.png")
    assert encode(LoggingEncoder(), tmp_path / "images", tmp_path / "z.npy") is not None
    assert np.allclose(np.load(tmp_path / "z.npy"), flat_codes([9]), atol=1e-6)


@pytest.mark.parametrize("sample", [True, False])
def test_an_encoder_with_a_distribution_is_drawn_from(tmp_path: Path, sample: bool) -> None:
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(4)
    greys = rng.integers(0, 256, 60)
    for number, grey in enumerate(greys):
        Image.new("RGB", (90 + number, 60), (int(grey),) * 3).save(tmp_path / "images" / f"{number:02d}.png")
    out = tmp_path / "z.npy"
    encode(DrawingEncoder(), tmp_path / "images", out, sample=sample)
    codes, means = np.load(out), greys[:, None] / 127.5 - 1
    if not sample:
        assert np.allclose(codes, np.broadcast_to(means, codes.shape), atol=1e-5)
        return
    noise = (codes - means)[:, 1:] / np.arange(1, 8)
    assert np.allclose(codes[:, :1], means, atol=1e-5)
    assert abs(noise.mean()) < 0.2 and noise.std() == pytest.approx(1, abs=0.12)
    assert len(np.unique(noise.round(4))) > 400
    assert record_of(out)["run"]["preprocessing"] == "paper, 48 px"
    encode(DrawingEncoder(), tmp_path / "images", tmp_path / "again.npy", block_size=7)
    encode(DrawingEncoder(), tmp_path / "images", tmp_path / "other.npy", seed=1)
    assert np.allclose(np.load(tmp_path / "again.npy"), codes, atol=1e-6)
    assert not np.allclose(np.load(tmp_path / "other.npy"), codes, atol=0.1)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shares_make_together_what_one_process_makes(tmp_path: Path, flat: Path, log: Path, count: int) -> None:
    whole, parts = tmp_path / "whole.npy", tmp_path / "parts.npy"
    encode(LoggingEncoder(), flat, whole, block_size=2)
    log.unlink()
    made = [encode(LoggingEncoder(), flat, parts, Share(index, count), block_size=2) for index in reversed(range(count))]
    assert made[:-1] == [None] * (count - 1) and made[-1] == Encoded(10, [])
    assert parts.read_bytes() == whole.read_bytes()
    assert parts.with_suffix(".json").read_text() == whole.with_suffix(".json").read_text()
    assert sorted(encoded_by(log)) == [0, *range(1, 7), *range(8, 11)]


def test_another_number_of_processes_goes_on(tmp_path: Path, flat: Path, log: Path) -> None:
    out, watcher = tmp_path / "z.npy", Counting()
    assert encode(LoggingEncoder(), flat, out, Share(1, 2), block_size=2) is None
    before = encoded_by(log)
    assert before == [3, 4, 0, 8]
    assert encode(LoggingEncoder(), flat, out, watcher=watcher, block_size=2) == Encoded(10, [])
    assert watcher.resumed == [(4, 10)] and watcher.told[0][0] == 6
    assert sorted(encoded_by(log)) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert np.allclose(np.load(out)[:, 0], flat_codes([1, 2, 3, 4, 5, 6, 0, 8, 9, 10])[:, 0])


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path: Path, flat: Path, log: Path) -> None:
    out = tmp_path / "z.npy"
    assert encode(LoggingEncoder(), flat, out, watcher=Counting(2)) is None
    assert len(encoded_by(log)) == 8 and not out.exists()
    assert encode(LoggingEncoder(), flat, out) == Encoded(10, [])
    assert sorted(encoded_by(log)) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]


def test_a_finished_run_is_not_made_again(tmp_path: Path, flat: Path, log: Path) -> None:
    out = tmp_path / "z.npy"
    first = encode(LoggingEncoder(), flat, out)
    content, stamp = out.read_bytes(), out.stat().st_mtime_ns
    watcher = Counting()
    again = encode(LoggingEncoder(), flat, out, watcher=watcher)
    assert again == first and again is not None and again.already
    assert (watcher.resumed, watcher.notes) == ([(10, 10)], [f"done already: {out}"])
    assert (len(encoded_by(log)), out.stat().st_mtime_ns) == (10, stamp)
    out.unlink()
    assert encode(LoggingEncoder(), flat, out) == first
    assert out.read_bytes() == content


def test_killed_at_any_write_it_goes_on_without_encoding_again(
    tmp_path: Path, flat: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tmp_path / "whole.npy"
    encode(LoggingEncoder(), flat, expected)
    replace, unlink, left = Path.replace, Path.unlink, 0

    class KilledError(BaseException):
        pass

    def counted() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError

    def dying_replace(path: Path, target: Path) -> Path:
        counted()
        moved = replace(path, target)
        counted()
        return moved

    def dying_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("block-"):
            counted()
        unlink(path, missing_ok)

    moments = 0
    for moment in range(1, 100):
        log.unlink(missing_ok=True)
        out = tmp_path / f"{moment}" / "z.npy"
        left = moment
        with monkeypatch.context() as dying:
            dying.setattr(Path, "replace", dying_replace)
            dying.setattr(Path, "unlink", dying_unlink)
            try:
                encode(LoggingEncoder(), flat, out, workers=1)
            except KilledError:
                moments += 1
        saved = len(list(run_folder(out).glob("block-*.npz")))
        before, ended = encoded_by(log), out.with_suffix(".json").exists()
        assert encode(LoggingEncoder(), flat, out) == Encoded(10, [])
        assert out.read_bytes() == expected.read_bytes()
        again = encoded_by(log)[len(before) :]
        assert len(again) == (0 if ended else 10 - min(10, 4 * saved))
        if left > 0:
            break
    # Three blocks, the configuration, the codes and the record, before and after; three blocks removed.
    assert moments == 15


def test_what_is_different_is_named(tmp_path: Path, flat: Path, log: Path) -> None:
    out = tmp_path / "z.npy"
    encode(LoggingEncoder(), flat, out, watcher=Counting(1))

    def refusal(generator: Generator | None = None, images: Path = flat, **config: Any) -> str:
        with pytest.raises(LanternError) as caught:
            encode(generator or LoggingEncoder(), images, out, **config)
        assert "z.run" in caught.value.problem and "begin anew" in caught.value.remedy
        return caught.value.problem

    assert "block_size 4, not 5" in refusal(block_size=5)
    assert "seed 0, not 3" in refusal(seed=3) and "photographs" not in refusal(seed=3)
    other = LoggingEncoder()
    other.fingerprint = "disc-3"
    assert "another fingerprint (disc-2, not disc-3)" in refusal(other)
    assert "another preprocessing (centre square, 32 px, not paper, 48 px)" in refusal(DrawingEncoder())
    (flat / "00003.png").rename(flat / "x.png")
    assert "another list of photographs (other names)" in refusal()
    (flat / "x.png").unlink()
    assert "another list of photographs (10, not 9)" in refusal()
    write_flat(flat, 1, first=3)
    assert encode(LoggingEncoder(), flat, out) is not None


def test_a_damaged_block_is_made_anew(tmp_path: Path, flat: Path, log: Path) -> None:
    out = tmp_path / "z.npy"
    encode(LoggingEncoder(), flat, out, Share(0, 2), block_size=2)
    block = run_folder(out) / "block-0000002.npz"
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(LanternError, match=r"block-0000002.npz was damaged and is removed"):
        encode(LoggingEncoder(), flat, out, block_size=2)
    assert encode(LoggingEncoder(), flat, out, block_size=2) == Encoded(10, [])


def test_a_disk_that_goes_away_is_no_broken_image(tmp_path: Path, flat: Path, log: Path) -> None:
    found = Listing([flat])
    away = flat.rename(tmp_path / "away")
    engine = Engine(LoggingEncoder(), EngineConfig(device="cpu"))
    out = tmp_path / "z.npy"
    with pytest.raises(FileNotFoundError):
        encode_data_set(engine, found, out, EncodingConfig(), Unwatched())
    away.rename(flat)
    assert encode_data_set(engine, found, out, EncodingConfig(), Unwatched()) == Encoded(10, [])


def test_a_record_never_lies_beside_other_codes(tmp_path: Path, flat: Path, log: Path) -> None:
    out = tmp_path / "z.npy"
    encode(LoggingEncoder(), flat, out)
    shutil.rmtree(run_folder(out))

    def full(descriptor: int) -> None:
        if not out.with_suffix(".json").exists():
            raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segmentation.files.os.fsync", full)
        with pytest.raises(LanternError, match="disk is full"):
            encode(LoggingEncoder(), flat, out, block_size=3)
    assert not out.with_suffix(".json").exists()


@pytest.mark.parametrize("values", [{"block_size": 0}, {"seed": -1}, {"block_size": 4000}])
def test_bad_configuration_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LanternError):
        EncodingConfig(**values)
    with pytest.raises(LanternError, match="shard is 2"):
        Share(2, 2)


def test_a_generator_without_encoder_is_refused_and_nothing_is_written(tmp_path: Path, flat: Path) -> None:
    with pytest.raises(LanternError, match="no encoder"):
        encode(DiscGenerator(), flat, tmp_path / "z.npy")
    assert not run_folder(tmp_path / "z.npy").exists()


def environment(**more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "MASTER_ADDR")}
    return {**plain, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


@pytest.mark.timeout(600)
def test_a_process_killed_in_the_middle_goes_on(tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flat(tmp_path / "images", 120)
    out = tmp_path / "z.npy"
    options = ["--generator", LOGGING, "--images", str(tmp_path / "images"), "--out", str(out), "--block-size", "4"]
    command = [sys.executable, "-m", "explorer", "encode", *options]
    process = subprocess.Popen(command, env=environment(ENCODER_SECONDS="0.05"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(encoded_by(log)) < 24 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    first = len(encoded_by(log))
    assert 24 <= first < 120 and not out.exists()
    assert run("encode", *options) == 0
    # Of the block at hand the codes may have been there, and not yet saved.
    assert 120 <= len(encoded_by(log)) <= 124
    assert np.allclose(np.load(out), flat_codes(list(range(120))), atol=1e-6)
    status = json.loads((run_folder(out) / "status.json").read_text())
    assert (status["state"], status["step"], status["steps"]) == ("done", 120, 120)
    capsys.readouterr()
    assert run("encode", *options) == 0
    assert capsys.readouterr().out.startswith(f"done already: 120 photographs embedded in {out}")
    status = json.loads((run_folder(out) / "status.json").read_text())
    assert (status["state"], status["step"], status["steps"]) == ("done", 120, 120)


@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_kill_between_two_saves_costs_what_came_after_the_first(tmp_path: Path, flat: Path, log: Path, at: int) -> None:
    out, whole = tmp_path / "z.npy", tmp_path / "whole.npy"

    class Dying(Unwatched):
        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            if step == 2 * at:
                os.kill(os.getpid(), signal.SIGKILL)

    killed = in_a_process(lambda: encode(LoggingEncoder(), flat, out, watcher=Dying(), block_size=2, checkpoint_every=6))
    assert killed == -signal.SIGKILL
    saved = sorted(path.name for path in run_folder(out).glob("block-*.npz"))
    # The last save is that of the end.
    assert len(saved) == {2: 0, 3: 3, 5: 3}[at]
    again = Counting()
    assert encode(LoggingEncoder(), flat, out, watcher=again, block_size=2) == Encoded(10, [])
    assert again.resumed == ([(2 * len(saved), 10)] if saved else [])
    assert again.notes == ([f"resuming at photograph {2 * len(saved)} of 10"] if saved else [])
    encode(LoggingEncoder(), flat, whole, block_size=2)
    assert np.array_equal(np.load(out), np.load(whole))


def test_a_stop_saves_what_there_is(tmp_path: Path, flat: Path, log: Path) -> None:
    assert encode(LoggingEncoder(), flat, tmp_path / "z.npy", watcher=Counting(2), block_size=2, checkpoint_every=100) is None
    assert len(list(run_folder(tmp_path / "z.npy").glob("block-*.npz"))) == 2


@pytest.mark.timeout(600)
def test_processes_that_were_started_together_share_the_work(tmp_path: Path, log: Path) -> None:
    write_flat(tmp_path / "images", 50)
    (tmp_path / "images" / "00020.png").write_bytes(b"no image")
    out = tmp_path / "z.npy"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--generator", LOGGING, "--images", str(tmp_path / "images"), "--out", str(out), "--block-size", "4"]
    command = [*launcher, "-m", "explorer", "encode", *options, "--engine.device", "cpu"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("49 photographs embedded") == 1 and done.stdout.count("passed over: 00020.png") == 1
    good = [number for number in range(50) if number != 20]
    assert sorted(encoded_by(log)) == good
    assert np.allclose(np.load(out), flat_codes(good), atol=1e-6)
    assert json.loads((run_folder(out) / "status.json").read_text())["step"] == 50


def test_processes_that_do_not_meet_are_counted(
    tmp_path: Path, flat: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--generator", LOGGING, "--images", flat, "--out", tmp_path / "z.npy", "--block-size", 2)
    assert run("encode", *options, "--shards", 3, "--shard", 1) == 0
    assert "shard 1 of 3 is done, others are not" in capsys.readouterr().out
    monkeypatch.setenv("RANK", "2")
    assert run("encode", *options, "--shards", 3) == 0
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert run("encode", *options) == 0
    assert "10 photographs embedded" in capsys.readouterr().out
    assert sorted(encoded_by(log)) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
    states = [json.loads(path.read_text())["state"] for path in run_folder(tmp_path / "z.npy").rglob("status.json")]
    assert states == ["done"] * 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shard", "1"], "Give --shards too"),
        (["--shards", "3"], "environment's RANK is None"),
        (["--shards", "3", "--shard", "3"], "shard is 3"),
        (["--workers", "0"], "workers is 0"),
        (["--checkpoint-every", "8"], "checkpoint_every is 8, and blocks of 64 photographs"),
        (["--images", "none"], "none does not exist"),
    ],
)
def test_bad_options_are_said(
    tmp_path: Path, flat: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--images", str(flat)] if "--images" not in arguments else []
    assert run("encode", "--generator", LOGGING, "--out", tmp_path / "z.npy", *given, *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "z.npy").exists()


def test_the_file_stop_stops_every_process(tmp_path: Path, flat: Path, log: Path) -> None:
    out = tmp_path / "z.npy"

    class Asking(Unwatched):
        def advance(self, step: int, steps: int, figures: dict[str, float]) -> None:
            (run_folder(out) / "stop").touch()

    assert encode(LoggingEncoder(), flat, out, Share(1, 2), Asking(), block_size=1) is None
    assert len(encoded_by(log)) == 1
    # Left from before, it stops nobody.
    assert encode(LoggingEncoder(), flat, out, Share(1, 2), block_size=1) is None
    assert len(encoded_by(log)) == 5
    with Run(run_folder(out), "encode") as first:
        assert encode(LoggingEncoder(), flat, out, watcher=first, block_size=1) == Encoded(10, [])
    assert not (run_folder(out) / "stop").exists()


def test_codes_are_read_back_by_the_generator_that_made_them_alone(tmp_path: Path, flat: Path, log: Path) -> None:
    out = tmp_path / "z.npy"
    encode(LoggingEncoder(), flat, out)
    same, other, kin = DiscEncoder(), DiscGenerator(), DiscGenerator()
    kin.same_codes_as = ("disc-2",)  # type: ignore[attr-defined]
    for generator in (same, kin):
        assert np.array_equal(read_embeddings(out, Engine(generator, EngineConfig(device="cpu"))), np.load(out))
    with pytest.raises(LanternError, match=r"made with the generator disc encoder \(fingerprint disc-2\), not with disc"):
        read_embeddings(out, Engine(other, EngineConfig(device="cpu")))
    np.save(out, np.load(out)[:7])
    with pytest.raises(LanternError, match="speaks of 10 embeddings, and z.npy has 7"):
        read_embeddings(out, Engine(same, EngineConfig(device="cpu")))
    out.with_suffix(".json").write_text('{"kind": "something else"}')
    assert len(read_embeddings(out, Engine(other, EngineConfig(device="cpu")))) == 7
