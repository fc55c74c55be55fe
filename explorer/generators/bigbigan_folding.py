"""BigBiGAN's generator as it is used: everything that no latent code changes is folded into plain weights.

That is the spectral norms, the constant class embedding, the statistics of the normalisations, the attention's gamma. Beyond
that, a convolution of an image doubled by nearest neighbours meets every pixel several times: four convolutions of 2x2, one for
each place in a doubled pixel, give the same for 4/9 of the work, and a 1x1 shortcut taken before the doubling costs a quarter.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, device, nn

from explorer.generators.bigbigan_network import (
    CHUNK,
    LATENT_DIM,
    RESOLUTION,
    SIDE,
    Attention,
    BigBiGAN,
    Block,
    ConditionalNorm,
    OutputNorm,
    SpectralConv2d,
    SpectralLinear,
    spectral_norm,
)

_DOUBLED_FROM = 16
"""The side from which 2x2 convolutions are faster; below, their larger weights cost more than they save."""


class FoldedConv2d(nn.Conv2d):
    """A convolution with a weight (out, in, k, k), of which it keeps the copy that autocast would make anew each time."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, padding: int | None = None) -> None:
        outputs, inputs, size = weight.shape[:3]
        padding = size // 2 if padding is None else padding
        super().__init__(inputs, outputs, size, padding=padding, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self._copy: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W')."""
        return self._conv_forward(features, self._weight(), self.bias)

    def _weight(self) -> Tensor:
        kind = self.weight.device.type
        if not torch.is_autocast_enabled(kind):
            return self.weight
        precision, copy = torch.get_autocast_dtype(kind), self._copy
        if copy is None or copy.dtype != precision or copy.device != self.weight.device:
            # One made in inference mode could not be used later where gradients are wanted.
            with torch.inference_mode(False), torch.no_grad():
                copy = self._copy = self.weight.to(precision)
        return copy


class Affine(nn.Linear):
    """Scales and shifts for (B, 20) numbers of a latent code, in float32 whatever the precision around."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__(weight.shape[1], weight.shape[0], device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, chunk: Tensor) -> Tensor:
        """(B, 20) to (B, out)."""
        with torch.autocast(chunk.device.type, enabled=False):
            return F.linear(chunk.to(self.weight.dtype), self.weight, self.bias)


def activated(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """ReLU of ``features`` (B, C, H, W) x ``scale`` + ``shift``, each (B, C), in the precision of the features."""
    scale, shift = (one.to(features.dtype)[:, :, None, None] for one in (scale, shift))
    return torch.addcmul(shift, features, scale).relu_()


class FoldedBlock(nn.Module):
    """A residual block for inputs of ``side`` pixels."""

    def __init__(self, block: Block, shared: Tensor, side: int) -> None:
        super().__init__()
        self.doubled = side >= _DOUBLED_FROM
        weight, bias = _plain(block.conv1)
        # The first convolution's bias goes into the shift that follows it, the shortcut's into the second convolution's.
        self.first = FoldedConv2d(_of_doubled(weight), padding=1) if self.doubled else FoldedConv2d(weight)
        (weight, second), (shortcut, third) = _plain(block.conv2), _plain(block.conv_sc)
        self.second, self.shortcut = FoldedConv2d(weight, second + third), FoldedConv2d(shortcut)
        parts = [*_affine(block.bn1, shared, 0), *_affine(block.bn2, shared, bias)]
        self.affine = Affine(*(torch.cat(kind) for kind in zip(*parts, strict=True)))
        inputs, outputs = block.conv1.in_channels, block.conv1.out_channels
        self.sizes = [inputs, inputs, outputs, outputs]

    def forward(self, features: Tensor, chunk: Tensor) -> Tensor:
        """(B, in, H, W) under 20 numbers of the latent code (B, 20) to (B, out, 2H, 2W)."""
        scale, shift, second_scale, second_shift = self.affine(chunk).split(self.sizes, 1)
        inner = activated(features, scale, shift)
        inner = _interleaved(self.first(inner)) if self.doubled else self.first(F.interpolate(inner, scale_factor=2))
        inner = self.second(activated(inner, second_scale, second_shift))
        return inner + F.interpolate(self.shortcut(features), scale_factor=2)


class FoldedAttention(nn.Module):
    """Self-attention by the fused kernel, whose queries, keys and values must be equally long: the short ones end in zeros."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        values = _plain(attention.g)[0]
        short = [_plain(layer)[0] for layer in (attention.theta, attention.phi)]
        padded = [torch.cat([weight, weight.new_zeros(len(values) - len(weight), *weight.shape[1:])]) for weight in short]
        self.project = FoldedConv2d(torch.cat([*padded, values]))
        self.out = FoldedConv2d(attention.gamma * _plain(attention.o)[0])
        self.size = len(values)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        queries, rest = self.project(features).split([self.size, 2 * self.size], 1)
        keys, values = F.max_pool2d(rest, 2).chunk(2, 1)
        queries, keys, values = (part.flatten(2).transpose(1, 2)[:, None] for part in (queries, keys, values))
        seen = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)[:, 0]
        return features + self.out(seen.transpose(1, 2).unflatten(2, features.shape[2:]))


class FoldedBigBiGAN(nn.Module):
    """The generator that is used, made from an unfolded ``network``. See :class:`explorer.generators.base.Generator`.

    ``same_codes_as`` are the fingerprints of others, for example of the TF-Hub module, whose latent codes mean the same.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: BigBiGAN, fingerprint: str = "unsaved", same_codes_as: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.name, self.latent_dim, self.resolution = "bigbigan", LATENT_DIM, RESOLUTION
        self.fingerprint, self.same_codes_as, self.width = fingerprint, same_codes_as, network.width
        with torch.no_grad():
            self._fold(network)
        self.eval().requires_grad_(False)

    def _fold(self, network: BigBiGAN) -> None:
        weight, bias = _plain(network.linear)
        # Rows in the order (place, channel), so that the features are channels last from the beginning.
        order = torch.arange(len(bias), device=bias.device).view(-1, SIDE**2).T.flatten()
        self.first = Affine(weight[order], bias[order])
        self.blocks = nn.ModuleList()
        for level, (block, attention) in enumerate(network.levels()):
            self.blocks.append(FoldedBlock(block, network.shared.weight[0], SIDE << level))
            if attention is not None:
                self.blocks.append(FoldedAttention(attention))
        norm, _, last = network.output_layer
        assert isinstance(norm, OutputNorm)
        scale = norm.gain * (norm.stored_var + norm.eps).rsqrt()
        self.register_buffer("scale", scale[None])
        self.register_buffer("shift", (norm.bias - norm.stored_mean * scale)[None])
        self.last = FoldedConv2d(*_plain(last))

    def to(self, target: device) -> FoldedBigBiGAN:  # type: ignore[override]
        """Itself, with its weights on ``target``."""
        super().to(target)
        return self

    def generate(self, codes: Tensor) -> Tensor:
        """Images (B, 3, 128, 128), float32 in [-1, 1], for ``codes`` (B, 120)."""
        first, *chunks = codes.split(CHUNK, 1)
        features = self.first(first).view(len(codes), SIDE, SIDE, -1).permute(0, 3, 1, 2)
        remaining = iter(chunks)
        for layer in self.blocks:
            features = layer(features, next(remaining)) if isinstance(layer, FoldedBlock) else layer(features)
        return torch.tanh(self.last(activated(features, self.scale, self.shift)).float())

    def forward(self, codes: Tensor) -> Tensor:
        """The same as :meth:`generate`, for wrappers that call modules."""
        return self.generate(codes)

    def latent_weights(self) -> Tensor:
        """The weights (rows, 120) that meet a latent code first, see :mod:`explorer.directions.decompositions`.

        Those of the linear layer for its first 20 numbers; for every further 20, those of the scales and shifts of one block.
        """
        affine = [layer.affine.weight for layer in self.blocks if isinstance(layer, FoldedBlock)]
        return torch.block_diag(self.first.weight, *affine)


def _plain(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, SpectralConv2d | SpectralLinear)
    weight = layer.weight / spectral_norm(layer.weight, layer.u0)
    # A copy, since the layer's own may be mapped from a file that somebody replaces.
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.clone()


def _affine(norm: ConditionalNorm, shared: Tensor, offset: Tensor | float) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of the scale, and of the shift, by which features + ``offset`` are normalised."""
    inverse = (norm.stored_var + norm.eps).rsqrt()
    gain, bias = (_plain(layer)[0].split([len(shared), CHUNK], 1) for layer in (norm.gain, norm.bias))
    scale = inverse[:, None] * gain[1], inverse * (1 + gain[0] @ shared)
    moved = offset - norm.stored_mean
    shift = bias[1] + moved[:, None] * scale[0], bias[0] @ shared + moved * scale[1]
    return [scale, shift]


def _of_doubled(weight: Tensor) -> Tensor:
    """Kernels (4 out, in, 2, 2) that make of an image what ``weight`` (out, in, 3, 3) makes of its double.

    The 4 out are in the order (down, across, out). Of a doubled pixel's two rows the upper one sees the row above once and its
    own twice, the lower one its own twice and the row below once; columns alike.
    """
    seen = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
    return torch.einsum("auk,bvl,oikl->aboiuv", seen, seen, weight).flatten(0, 2)


def _interleaved(features: Tensor) -> Tensor:
    """What a convolution by :func:`_of_doubled` gives, (B, 4 C, H + 1, W + 1), put in place: (B, C, 2H, 2W)."""
    places = features.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
    high, wide = features.shape[2] - 1, features.shape[3] - 1
    rows = [torch.stack([places[:, a : a + high, b : b + wide, a, b] for b in (0, 1)], 3) for a in (0, 1)]
    return torch.stack(rows, 2).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
