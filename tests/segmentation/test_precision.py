"""The precision of a network, and what counts as full memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from segmentation.precision import autocast, out_of_memory

CPU = torch.device("cpu")


@pytest.fixture
def tensor_float() -> Iterator[None]:
    """TensorFloat-32 switched on, and afterwards as it was."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_float32_is_not_cut_to_tensor_float(tensor_float: None, device: str) -> None:
    with autocast(torch.device(device), "float32"):
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32


def test_bfloat16_is_what_layers_run_in() -> None:
    layer, inputs = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with autocast(CPU, "bfloat16"):
        assert layer(inputs).dtype == torch.bfloat16
    with autocast(CPU, "float32"):
        assert layer(inputs).dtype == torch.float32


def test_full_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**60)
    with pytest.raises(RuntimeError) as other:
        torch.ones(2) @ torch.ones(3)
    assert out_of_memory(full.value) and out_of_memory(torch.OutOfMemoryError("full"))
    assert not out_of_memory(other.value)
