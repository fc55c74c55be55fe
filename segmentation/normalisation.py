"""Batch normalisation (Ioffe and Szegedy, 2015) whose statistics are those of the whole batch, also where processes share it.

Several processes then train the network that a single one would. In float32 on a CPU a single process uses it too: PyTorch's
own statistics of channels-last maps are off by a hundred times the rounding.
"""

from __future__ import annotations

from collections.abc import Callable
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
        mean, variance, count = _statistics(maps.detach(), self.processes)
        self._remember(mean, variance, count)
        scale = (variance + self.eps).rsqrt()
        normalise: Callable[..., Tensor] = _Normalise.apply
        return normalise(maps, self.weight, self.bias, mean.float(), scale.float(), count, self.processes)

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
    """Sums (C,), float64, of ``maps`` (B, C) or (B, C, H, W): each image's in float32, exact enough for its few pixels."""
    own = maps.float()
    return (own.sum((2, 3)) if own.dim() == 4 else own).double().sum(0)


def _statistics(maps: Tensor, processes: Alone) -> tuple[Tensor, Tensor, float]:
    """Mean and variance (C,), float64, of ``maps`` (B, C) or (B, C, H, W) of all processes, and of how many numbers.

    Every image is seen by itself first, so that it does not matter which process has it, and one message is enough.
    """
    own, pixels = maps.float(), maps[0, 0].numel()
    if own.dim() == 4:
        means = own.mean((2, 3), keepdim=True)
        spreads = (own - means).square().sum((2, 3)).double()
        own = means[:, :, 0, 0]
    else:
        spreads = torch.zeros_like(own, dtype=torch.float64)
    means = own.double()
    sums = [pixels * means, spreads + pixels * means.square(), torch.full_like(means, pixels)]
    totals = torch.stack(sums).sum(1)
    processes.add([totals])
    mean, squares = totals[:2] / totals[2]
    return mean, (squares - mean.square()).clamp(min=0), float(totals[2, 0])


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
