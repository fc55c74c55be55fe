"""Which floating-point precision a network runs in on a device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

PRECISIONS = ("auto", "float32", "bfloat16")
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 natively: every GPU that PyTorch supports, and CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return True
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context for ``precision`` on ``device``; ``auto`` takes bfloat16 where it is fast.

    What is to run in float32 does so in full: TensorFloat-32 is switched off, for the whole process.
    """
    if precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device)):
        return torch.autocast(device.type, torch.bfloat16)
    # cuDNN convolves in TensorFloat-32 unless told otherwise, and its ten bits of mantissa flip pixels of masks.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return nullcontext()


def out_of_memory(error: RuntimeError) -> bool:
    """Whether ``error`` says that the memory of a device, or of the machine, is full."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def placed(module: ModuleT, device: torch.device) -> ModuleT:
    """``module`` itself, moved to ``device``, its convolutions in the layout that is fastest (channels last)."""
    convert_conv2d_weight_memory_format(module.to(device), torch.channels_last)
    return module
