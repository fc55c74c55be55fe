"""Batch normalisation (Ioffe and Szegedy, 2015) whose statistics are those of the whole batch, also where processes share it.

Several processes then train the network that a single one would. In float32 on a CPU a single process uses it too: PyTorch's
own adds up long rows of channels-last maps in float32, one number after the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segmentation.processes import Alone


class _Shared(nn.modules.batchnorm._BatchNorm):
    """What the normalisations for rows and for maps have in common; states are those of PyTorch's own."""

    processes = Alone()

    def forward(self, maps: Tensor) -> Tensor:
        exact = maps.device.type == "cpu" and maps.dtype == torch.float32
        if not self.training or (self.processes.count == 1 and not exact):
            normalised: Tensor = super().forward(maps)
            return normalised
        self._check_input_dim(maps)
        mean, variance, count = _statistics(maps.detach(), self.processes)
        self._remember(mean, variance, count)
        scale = (variance + self.eps).rsqrt()
        result: Tensor = _Normalise.apply(maps, self.weight, self.bias, mean.float(), scale.float(), count, self.processes)
        return result

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * (count / max(1.0, count - 1))).to(self.running_var), share)


class BatchNorm2d(_Shared, nn.BatchNorm2d):
    """For maps (B, C, H, W); see the module."""


class BatchNorm1d(_Shared, nn.BatchNorm1d):
    """For rows (B, C); see the module."""


def share_statistics(module: nn.Module, processes: Alone) -> None:
    """Let the normalisations in ``module`` see the batches of all ``processes`` from now on."""
    for part in module.modules():
        if isinstance(part, _Shared):
            part.processes = processes


def _sums(maps: Tensor) -> Tensor:
    """Sums (C,), float64, of ``maps`` (B, C, ...): each image's in float32, which is exact enough for its few pixels."""
    own = maps.float()
    rows = own.sum((2, 3)) if own.dim() == 4 else own
    return rows.double().sum(0)


def _statistics(maps: Tensor, processes: Alone) -> tuple[Tensor, Tensor, float]:
    """Mean and variance (C,), float64, of ``maps`` (B, C, ...) over all but the channels, of all processes, and of how many."""
    totals = torch.cat([_sums(maps), maps.new_tensor([maps.numel() // maps.shape[1]], dtype=torch.float64)])
    processes.add([totals])
    count = float(totals[-1])
    mean = totals[:-1] / count
    squares = _sums((maps.float() - _spread(mean.float(), maps)).square())
    processes.add([squares])
    return mean, squares / count, count


def _spread(values: Tensor, maps: Tensor) -> Tensor:
    """``values`` (C,) in the shape that meets ``maps`` (B, C, ...)."""
    return values.view(1, -1, *[1] * (maps.dim() - 2))


class _Normalise(torch.autograd.Function):
    """Maps, less their mean, over their deviation, times weight, plus bias; the gradient goes through the statistics too."""

    @staticmethod
    def forward(
        context: Any, maps: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, count: float, processes: Alone
    ) -> Tensor:
        context.save_for_backward(maps, weight, mean, scale)
        context.count, context.processes = count, processes
        gain = weight.float() * scale
        centred = maps.float() - _spread(mean, maps)
        return centred.mul_(_spread(gain, maps)).add_(_spread(bias.float(), maps)).to(maps.dtype)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, scale = context.saved_tensors
        gradient = gradients[0].float()
        normal = (maps.float() - _spread(mean, maps)).mul_(_spread(scale, maps))
        own = torch.stack([_sums(gradient), _sums(gradient * normal)])
        totals = own.clone()
        context.processes.add([totals])
        shift, tilt = (totals / context.count).float()
        inner = gradient - _spread(shift, maps) - normal.mul_(_spread(tilt, maps))
        passed = inner.mul_(_spread(weight.float() * scale, maps)).to(maps.dtype)
        return passed, own[1].to(weight.dtype), own[0].to(weight.dtype), None, None, None, None
