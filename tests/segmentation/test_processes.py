from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from segmentation.errors import LanternError
from segmentation.normalisation import BatchNorm1d, BatchNorm2d, share_statistics
from segmentation.processes import Alone, Several, first_process, join
from tests.segmentation.forked import ended, together

CPU = torch.device("cpu")


def test_processes_add_gather_agree_and_share_statistics(tmp_path: Path) -> None:
    maps = torch.randn(5, 3, 4, 6) * 2 + 1
    rows = torch.randn(5, 3)

    def work(index: int) -> None:
        processes, device = join(CPU)
        assert isinstance(processes, Several) and (processes.index, processes.count, device.type) == (index, 2, "cpu")
        numbers = [torch.tensor([1.0 + index, 5.0]), torch.tensor([[2.0 * index]])]
        processes.add(numbers)
        assert [part.tolist() for part in numbers] == [[3.0, 10.0], [[2.0]]]
        mean = [torch.tensor([float(index)])]
        processes.average(mean)
        assert mean[0].item() == 0.5
        assert processes.gather({"index": index, "name": "é" * index}) == [{"index": 0, "name": ""}, {"index": 1, "name": "é"}]
        torch.manual_seed(index)
        net = torch.nn.Sequential(BatchNorm2d(3), torch.nn.Conv2d(3, 2, 1))
        processes.agree(net)
        share_statistics(net, processes)
        assert processes.decide(lambda: True) and not processes.decide(lambda: False)
        # The whole batch is cut into unequal parts.
        own = slice(0, 2) if index == 0 else slice(2, 5)
        norms: list[tuple[Any, Any]] = [(net[0], maps), (BatchNorm1d(3), rows)]
        for norm, whole in norms:
            share_statistics(norm, processes)
            part = whole[own].clone().requires_grad_()
            (norm(part) * whole[own].cos()).sum().backward()
            gradients = [norm.weight.grad.clone(), norm.bias.grad.clone()]
            processes.add(gradients)
            kind: Any = torch.nn.BatchNorm2d if whole.dim() == 4 else torch.nn.BatchNorm1d
            expected, all_maps = kind(3).double(), whole.double().requires_grad_()
            (expected(all_maps) * whole.double().cos()).sum().backward()
            for found, wanted in (
                (part.grad, all_maps.grad[own]),
                (gradients[0], expected.weight.grad),
                (gradients[1], expected.bias.grad),
                (norm.running_mean, expected.running_mean),
                (norm.running_var, expected.running_var),
            ):
                assert torch.allclose(found.double(), wanted, rtol=1e-5, atol=1e-6)
        (tmp_path / str(index)).touch()

    assert ended(together(work)) == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


@pytest.mark.parametrize("killed", [0, 1])
def test_who_is_left_says_that_another_has_ended(tmp_path: Path, killed: int) -> None:
    def work(index: int) -> None:
        processes, _ = join(CPU)
        processes.wait()
        if index == killed:
            (tmp_path / "waiting").touch()
            time.sleep(100)
        try:
            processes.wait()
        except LanternError as error:
            (tmp_path / "said").write_text(json.dumps([error.problem, error.remedy]))

    processes = together(work)
    deadline = time.monotonic() + 60
    while not (tmp_path / "waiting").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = processes[killed].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    ended(processes)
    problem, remedy = json.loads((tmp_path / "said").read_text())
    assert problem == "another of the 2 processes has ended, or cannot be reached any more"
    assert "run the same command again to go on from the last checkpoint" in remedy


def test_the_first_process_alone_decides_and_its_failure_is_known() -> None:
    def work(index: int) -> None:
        processes, _ = join(CPU)

        def fail() -> bool:
            assert index == 0
            raise LanternError("it cannot be", "Leave it.")

        with pytest.raises(LanternError, match="it cannot be" if index == 0 else "the first process has stopped"):
            processes.decide(fail)

    assert ended(together(work)) == [0, 0]


def test_a_single_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    processes, device = join(CPU)
    assert type(processes) is Alone and device == CPU and processes.first and first_process()
    value = torch.tensor([1.0, 2.0])
    processes.average([value])
    assert value.tolist() == [1.0, 2.0] and processes.decide(lambda: True) and not processes.decide(lambda: False)


@pytest.mark.parametrize(("device", "said"), [("cuda:1", "share the device cuda:1"), ("cuda", "a machine with 0 GPUs")])
def test_processes_need_devices_of_their_own(monkeypatch: pytest.MonkeyPatch, device: str, said: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(LanternError, match=said):
        join(torch.device(device))


def test_the_own_statistics_are_those_of_double_precision() -> None:
    """Long rows of maps far from 0, in both layouts."""
    maps = 100 + torch.randn(4, 8, 96, 96)
    for form in (torch.contiguous_format, torch.channels_last):
        norm: Any = BatchNorm2d(8, momentum=None)
        expected: Any = torch.nn.BatchNorm2d(8, momentum=None).double()
        found = norm(maps.contiguous(memory_format=form))
        assert torch.allclose(found.double(), expected(maps.double()), atol=2e-5)
        assert torch.allclose(norm.running_var.double(), expected.running_var, rtol=1e-6)
        assert torch.allclose(norm.running_mean.double(), expected.running_mean, rtol=1e-7)
        assert norm.num_batches_tracked == 1


def test_a_trained_normalisation_is_pytorchs_own() -> None:
    norm, own = BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    norm(torch.randn(4, 3, 5, 5))
    own.load_state_dict(norm.state_dict())
    maps = torch.randn(2, 3, 5, 5)
    assert torch.equal(norm.eval()(maps), own.eval()(maps))
