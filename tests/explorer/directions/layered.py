"""Small generators made of layers, whose weights a test knows."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, device, nn


class Layered(nn.Module):
    """A linear layer, tanh, a second linear layer that meets the rest of the code, an image of 8 px; six numbers to a code.

    The second layer is called twice a pass. With ``memory`` the generator fails, after its layers, on more codes than that.
    """

    name, fingerprint, latent_dim, resolution = "layered", "layered-1", 6, 8

    def __init__(self, split: int = 4, seed: int = 0) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        self.split = split
        self.first, self.second = nn.Linear(split, 10), nn.Linear(10 + 6 - split, 12)
        self.last = nn.Linear(12, 3 * 64)
        for layer in (self.first, self.second, self.last):
            layer.weight = nn.Parameter(torch.randn(layer.weight.shape, generator=source) * 0.5, requires_grad=False)
            layer.bias = nn.Parameter(torch.randn(layer.bias.shape, generator=source), requires_grad=False)
        self.memory: int | None = None
        self.meddling = False

    def to(self, target: device) -> Layered:  # type: ignore[override]
        return self

    def generate(self, codes: Tensor) -> Tensor:
        if self.meddling:
            # Somebody else's images are made in another thread at the same time.
            other = threading.Thread(target=self.first, args=(torch.zeros(3, self.split),))
            other.start()
            other.join()
        inner = torch.tanh(self.first(codes[:, : self.split]))
        inner = torch.tanh(self.second(torch.cat([inner, codes[:, self.split :]], 1)))
        self.second(torch.zeros(1, 10 + 6 - self.split))
        if self.memory is not None and len(codes) > self.memory:
            raise torch.OutOfMemoryError("the test's memory is full")
        return torch.tanh(self.last(inner)).view(-1, 3, 8, 8)


class Linear(nn.Module):
    """An image of 8 px that is linear in the code: ``weight`` (192, d) times it, unbounded."""

    name, fingerprint, resolution = "linear", "linear-1", 8

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.latent_dim = weight.shape[1]
        self.first = nn.Linear(*weight.shape[::-1])
        self.first.weight = nn.Parameter(weight, requires_grad=False)

    def to(self, target: device) -> Linear:  # type: ignore[override]
        return self

    def latent_weights(self) -> Tensor:
        return self.first.weight

    def generate(self, codes: Tensor) -> Tensor:
        return self.first(codes).view(-1, 3, 8, 8)
