"""The benchmarks of training and fitting run through at a tiny size, and what they print fits together."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch

from benchmarks import feeding, fitting, paper_schedule


def printed(main: object, arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments.split()])
    assert callable(main)
    main()
    return capsys.readouterr().out


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found is not None, text
    return [float(part) for part in found.groups()]


@pytest.mark.timeout(300)
def test_the_papers_schedule_is_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    size = "--steps 3 --batch-size 4 --width 4 --unet-width 4 --candidates 8 --acceptance 0.5 --device cpu"
    said = printed(paper_schedule.main, size, monkeypatch, capsys)
    (step,) = numbers(r"cpu: ([\d.]+) s a step of 4 over 3 steady steps", said)
    minutes, accepted = numbers(r"12000 steps: about ([\d.]+) min; (\d+) samples accepted a second", said)
    assert minutes == pytest.approx(12_000 * step / 60, rel=0.02, abs=0.11)
    assert accepted == pytest.approx(4 / step, abs=0.6, rel=0.02)
    (pairs,) = numbers(r"of making (\d+) pairs", said)
    # Of eight candidates each passes with a probability of a half.
    assert 4 <= pairs <= 32
    assert re.search(r"by themselves: a step's samples [\d.]+ s, a step [\d.]+ s", said)


@pytest.mark.timeout(300)
def test_feeding_is_timed_three_ways(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(feeding.main, "--steps 3 --batch-size 2 --samples 24", monkeypatch, capsys)
    written, acceptance = numbers(r"to disk: ([\d.]+) accepted samples a second \(acceptance (\d+)%\)", said)
    assert written > 0 and 5 < acceptance < 95
    for way in ("made when asked for", "made one step ahead", "read from shards"):
        speed, waiting = numbers(way + r" +([\d.]+) steps of 2 a second, (\d+)% of it waiting", said)
        assert speed > 0 and 0 <= waiting <= 100
    assert waiting <= 30, "reading from shards is not what a training waits for"


def test_the_operations_of_a_step_are_counted() -> None:
    layer, images = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.zeros(2, 3, 4, 4)
    assert fitting.step_operations(lambda: layer(images)) == 2 * (3 * 3 * 3) * (2 * 8 * 4 * 4)


@pytest.mark.timeout(300)
def test_every_stage_of_a_fit_is_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    size = "--steps 1 --batch-size 4 --adversarial-batch-size 4 --photographs 8 --device cpu"
    for stage, name in enumerate(("autoencoder", "variational", "joint", "adversarial")):
        figures = json.loads(printed(fitting.main, f"{size} --stage {stage}", monkeypatch, capsys))
        assert figures["stage"] == name and figures["images"] == 4
        assert figures["images_per_second"] == pytest.approx(4000 / figures["milliseconds"])
        assert figures["peak_gib"] > 0 and figures["gflop_per_image"] > 0.1
