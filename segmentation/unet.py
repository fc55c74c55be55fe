"""The U-Net that is trained on synthetic samples (paper, section 3.3), and its weights on disk, ours and the authors'."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError, require
from segmentation.foreign import FOREIGN, load_foreign, state_of
from segmentation.normalisation import BatchNorm2d
from segmentation.tensors import fingerprint, load_into, load_tensors, save_tensors
from segmentation.tensors import half as to_half

KIND = "unet"
PAPER_SIZE = 128
"""Shorter side, in pixels, of what the paper's network is trained on and shown."""
MIN_SIDE = 16
"""Shortest side the network takes: it halves the image four times."""
_FIRST = "inc.double_conv.0.weight"


@dataclasses.dataclass(frozen=True)
class UNetConfig(Config):
    """The size of the network."""

    width: int = 64
    """Channels of the first block; the deepest has eight times as many."""

    def __post_init__(self) -> None:
        check_range("width", self.width, 1, 256)


class _DoubleConv(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for source in (channels_in, channels_out):
            layers += [nn.Conv2d(source, channels_out, 3, padding=1), BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.double_conv(maps)
        return result


class _Down(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), _DoubleConv(channels_in, channels_out))

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.maxpool_conv(maps)
        return result


class _Up(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = _DoubleConv(channels_in, channels_out)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        raised = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
        # An odd side lost a row or column to pooling.
        rows, columns = skip.shape[2] - raised.shape[2], skip.shape[3] - raised.shape[3]
        raised = F.pad(raised, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        result: Tensor = self.conv(torch.cat([skip, raised], 1))
        return result


class _OutConv(nn.Module):
    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.conv(maps)
        return result


class UNet(nn.Module):
    """Images to two logits a pixel: background and object. The names of its parts are those of the authors' state dicts."""

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNetConfig()
        width = self.config.width
        self.inc = _DoubleConv(3, width)
        self.down1 = _Down(width, 2 * width)
        self.down2 = _Down(2 * width, 4 * width)
        self.down3 = _Down(4 * width, 8 * width)
        self.down4 = _Down(8 * width, 8 * width)
        self.up1 = _Up(16 * width, 4 * width)
        self.up2 = _Up(8 * width, 2 * width)
        self.up3 = _Up(4 * width, width)
        self.up4 = _Up(2 * width, width)
        self.outc = _OutConv(width)

    def cancelled(self) -> list[Tensor]:
        """The biases that the normalisations after them take away again: their gradients are nothing but rounding."""
        blocks = [module.double_conv for module in self.modules() if isinstance(module, _DoubleConv)]
        return [layer.bias for block in blocks for layer in block if isinstance(layer, nn.Conv2d) and layer.bias is not None]

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 2, H, W) for ``images`` (B, 3, H, W) in [-1, 1]; any H and W from 16 on."""
        fits = images.dim() == 4 and images.shape[1] == 3 and min(images.shape[2:]) >= MIN_SIDE
        remedy = f"The U-Net takes (B, 3, H, W), both sides {MIN_SIDE} pixels or more."
        require(fits, f"the images have shape {tuple(images.shape)}", remedy)
        skip1 = self.inc(images)  # (B, w, H, W)
        skip2 = self.down1(skip1)  # (B, 2w, H/2, W/2)
        skip3 = self.down2(skip2)  # (B, 4w, H/4, W/4)
        skip4 = self.down3(skip3)  # (B, 8w, H/8, W/8)
        maps = self.down4(skip4)  # (B, 8w, H/16, W/16)
        maps = self.up1(maps, skip4)  # (B, 4w, H/8, W/8)
        maps = self.up2(maps, skip3)  # (B, 2w, H/4, W/4)
        maps = self.up3(maps, skip2)  # (B, w, H/2, W/2)
        maps = self.up4(maps, skip1)  # (B, w, H, W)
        logits: Tensor = self.outc(maps)
        return logits


def saliency_logits(logits: Tensor) -> Tensor:
    """The logit (B, H, W) of "object" from the two ``logits`` (B, 2, H, W); its sigmoid is the softmax's second channel."""
    return logits[:, 1] - logits[:, 0]


@dataclasses.dataclass(frozen=True)
class LoadedUNet:
    """A network from disk, float32 on the CPU, in evaluation mode, with what its file says of it."""

    net: UNet
    size: int
    """Side of the images it was trained on, in pixels."""
    provenance: dict[str, Any]
    """What made the weights; empty for a foreign file."""
    name: str
    """The name of the file."""
    fingerprint: str
    """Changes with any weight."""


def save_unet(net: UNet, path: Path, size: int, provenance: Mapping[str, Any], half: bool = False) -> None:
    """Write ``net`` to ``path`` (safetensors), with the ``size`` of its training images and what made it.

    ``half`` stores the weights as float16, half the size.
    """
    check_range("size", size, MIN_SIDE, 65536)
    tensors = to_half(net.state_dict()) if half else net.state_dict()
    header = {"kind": KIND, "config": net.config.to_json(), "size": size, "provenance": dict(provenance)}
    save_tensors(path, tensors, header)


def load_unet(path: Path) -> LoadedUNet:
    """The U-Net in ``path``: a ``.safetensors`` that :func:`save_unet` wrote, or a foreign state dict (``.pth``, ``.pt``).

    A foreign file tells no size; it is taken to be the paper's, 128. Nothing in it can run. Errors: :class:`LanternError`
    if the file is missing, cut short, holds more than weights, or the weights fit no U-Net.
    """
    suffix = path.suffix.lower()
    remedy = f"Give a file ending in .safetensors, {' or '.join(FOREIGN)}."
    require(suffix in (".safetensors", *FOREIGN), f"{path} is no weights file", remedy)
    if suffix in FOREIGN:
        state = state_of(load_foreign(path))
        if state is None:
            raise LanternError(f"{path} is not a state dict", "Save the network anew: torch.save(net.state_dict(), path).")
        return LoadedUNet(unet_of(state, str(path)), PAPER_SIZE, {}, path.name, fingerprint(state, {}))
    tensors, header = load_tensors(path)
    found = header.get("kind", "something else")
    require(found == KIND, f"{path} holds {found}, not a U-Net", "Give a file that a training wrote.")
    net, size = UNet(UNetConfig.from_json(header.get("config"))), header.get("size", PAPER_SIZE)
    check_range("size", size, MIN_SIDE, 65536)
    load_into(net, tensors, str(path))
    provenance = dict(header.get("provenance") or {})
    return LoadedUNet(net.eval().requires_grad_(False), int(size), provenance, path.name, fingerprint(tensors, header))


def is_unet(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict looks like that of a U-Net."""
    return _FIRST in state


def unet_of(state: Mapping[str, Tensor], source: str) -> UNet:
    """The U-Net of a foreign ``state`` dict, in evaluation mode; ``source`` is what errors call it.

    Errors: :class:`LanternError` that names what does not fit, or holds NaN or infinity.
    """
    first = state.get(_FIRST)
    if first is None or first.dim() != 4:
        problem = f"{source} does not fit a UNet ({_FIRST} is missing or no kernel)"
        raise LanternError(problem, "Use weights that were made for this network.")
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    require(not broken, f"{source} holds NaN or infinity in {', '.join(broken)}", "Copy the file again from where it came.")
    net = UNet(UNetConfig(width=first.shape[0]))
    load_into(net, state, source)
    return net.eval().requires_grad_(False)
