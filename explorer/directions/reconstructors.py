"""The networks that tell, from a pair of images, along which direction a code was shifted, and how far.

Their parameters have the names and shapes of those that the method's authors publish, so that weights go both ways.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segmentation.configuration import check_choice
from segmentation.errors import require
from segmentation.normalisation import BatchNorm1d, BatchNorm2d

RECONSTRUCTORS = ("resnet18", "lenet")
"""resnet18: ResNet-18 (He et al., 2016), for images as they are; lenet: small and quick, for simple ones."""
_CHANNELS = 6
_RESNET_SIDE, _LENET_SIDE = 8, 32
_LABELS = 1000


class Reconstructor(nn.Module):
    """Two images that differ by a shift become the logits of its direction and its amount."""

    smallest = 1
    """Side in pixels of the smallest images it takes."""

    def features(self, pairs: Tensor) -> Tensor:
        """What is known of ``pairs`` (B, 6, H, W): (B, F)."""
        raise NotImplementedError

    def heads(self) -> tuple[nn.Module, nn.Module]:
        """What makes logits (B, K) and amounts (B, 1) of the features."""
        raise NotImplementedError

    def forward(self, images: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and amounts (B,) for ``images`` and ``shifted``, each (B, 3, H, W) in [-1, 1]."""
        pairs = torch.cat([images, shifted], 1).contiguous(memory_format=torch.channels_last)
        features = self.features(pairs)
        logits, amounts = (head(features) for head in self.heads())
        return logits, amounts.squeeze(1)

    def published_state(self) -> dict[str, Tensor]:
        """The state dict in the form of the method's authors."""
        return dict(self.state_dict())


class _Block(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        same = stride == 1 and channels_in == channels
        around = (nn.Conv2d(channels_in, channels, 1, stride, bias=False), BatchNorm2d(channels))
        self.downsample = None if same else nn.Sequential(*around)

    def forward(self, maps: Tensor) -> Tensor:
        around = maps if self.downsample is None else self.downsample(maps)
        inner = self.bn1(self.conv1(maps)).relu()
        result: Tensor = (self.bn2(self.conv2(inner)) + around).relu()
        return result


class _ResNetFeatures(nn.Module):
    """The body of a ResNet-18 for six channels: (B, 6, H, W) to (B, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_CHANNELS, 64, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(_Block(64, 64, 1), _Block(64, 64, 1))
        self.layer2 = nn.Sequential(_Block(64, 128, 2), _Block(128, 128, 1))
        self.layer3 = nn.Sequential(_Block(128, 256, 2), _Block(256, 256, 1))
        self.layer4 = nn.Sequential(_Block(256, 512, 2), _Block(512, 512, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pairs: Tensor) -> Tensor:
        maps = self.maxpool(self.bn1(self.conv1(pairs)).relu())
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = layer(maps)
        features: Tensor = maps.mean((2, 3))
        return features


class ResNetReconstructor(Reconstructor):
    """ResNet-18 with a linear layer for the direction and one for the amount."""

    smallest = _RESNET_SIDE

    def __init__(self, count: int) -> None:
        super().__init__()
        self.features_extractor = _ResNetFeatures()
        self.type_estimator = nn.Linear(512, count)
        self.shift_estimator = nn.Linear(512, 1)

    def features(self, pairs: Tensor) -> Tensor:
        """See :meth:`Reconstructor.features`."""
        result: Tensor = self.features_extractor(pairs)
        return result

    def heads(self) -> tuple[nn.Module, nn.Module]:
        """See :meth:`Reconstructor.heads`."""
        return self.type_estimator, self.shift_estimator

    def published_state(self) -> dict[str, Tensor]:
        """See :meth:`Reconstructor.published_state`; theirs carries a classifier along that nothing uses."""
        unused = {"weight": torch.zeros(_LABELS, 512), "bias": torch.zeros(_LABELS)}
        return {**self.state_dict(), **{f"features_extractor.fc.{name}": value for name, value in unused.items()}}


class LeNetReconstructor(Reconstructor):
    """Three convolutions of 5x5, averaged over the image, and two hidden layers of 84, one for each answer."""

    smallest = _LENET_SIDE

    def __init__(self, count: int) -> None:
        super().__init__()
        self.convnet = nn.Sequential(
            *_convolution(_CHANNELS, 6),
            nn.MaxPool2d(2),
            *_convolution(6, 16),
            nn.MaxPool2d(2),
            *_convolution(16, 120),
        )
        self.fc_logits, self.fc_shift = _answer(count), _answer(1)

    def features(self, pairs: Tensor) -> Tensor:
        """See :meth:`Reconstructor.features`."""
        result: Tensor = self.convnet(pairs).mean((2, 3))
        return result

    def heads(self) -> tuple[nn.Module, nn.Module]:
        """See :meth:`Reconstructor.heads`."""
        return self.fc_logits, self.fc_shift


def _convolution(channels_in: int, channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels_in, channels, 5), BatchNorm2d(channels), nn.ReLU()


def _answer(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(120, 84), BatchNorm1d(84), nn.ReLU(), nn.Linear(84, size))


def make_reconstructor(kind: str, count: int, resolution: int) -> Reconstructor:
    """A new reconstructor of ``kind`` (one of :data:`RECONSTRUCTORS`) for ``count`` directions and images of ``resolution``.

    Its weights are drawn from torch's global source. Errors: :class:`LanternError` if the images are too small for it.
    """
    check_choice("reconstructor", kind, RECONSTRUCTORS)
    made: Reconstructor = ResNetReconstructor(count) if kind == "resnet18" else LeNetReconstructor(count)
    problem = f"the images are {resolution} px wide, and {kind} takes no smaller ones than {made.smallest} px"
    remedy = "Choose --reconstructor resnet18." if resolution >= _RESNET_SIDE else "Choose a generator of larger images."
    require(resolution >= made.smallest, problem, remedy)
    return made
