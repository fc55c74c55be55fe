"""Directions from what a generator is made of: principal components of a layer (GANSpace), factors of first weights (SeFa)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.directions.bases import oriented
from explorer.directions.ranking import tell
from explorer.engine import Engine
from segmentation.errors import LanternError, require
from segmentation.kept import NOTHING, KeptPart, State
from segmentation.progress import Watcher

IMAGES = "images"
"""The layer that every generator has: its images."""
_POOLED, _POOLED_IMAGE, _PROBES, _NONE = 4, 16, 4, 1e-9


@runtime_checkable
class LatentWeights(Protocol):
    """A generator that can be factorised in closed form, because it offers the weights that meet a latent code first."""

    def latent_weights(self) -> Tensor:
        """These weights, (rows, d): each row makes one number of a latent code, whichever layer it belongs to."""


@dataclasses.dataclass(frozen=True)
class Factors:
    """Directions (K, d) of unit length, the strongest first, with figures (K,) of each by name."""

    directions: Tensor
    figures: dict[str, Tensor]

    def first(self, count: int) -> Factors:
        """The first ``count`` of them."""
        return Factors(self.directions[:count], {name: values[:count] for name, values in self.figures.items()})


def principal_components(
    engine: Engine, layer: str, samples: int, seed: int, watcher: Watcher, kept: KeptPart | None = None
) -> Factors:
    """Principal components of what ``layer`` gives, taken back to latent codes (Haerkoenen et al., 2020).

    The components are those of :func:`activations` on ``samples`` latent codes; direction k is the coefficient by which the
    codes are regressed on component k, of unit length. Directions are orthogonal where the layer is linear, and need not be
    elsewhere. Figures: ``share`` of the layer's variance that the component explains, and ``linear``, the share (0 to 1) of the
    component that is linear in the code: if small, the direction says little of it. There are at most d directions, fewer if
    the layer varies in fewer ways. Errors: :class:`LanternError` if there are too few samples or the layer is not to be had;
    ``KeyboardInterrupt`` if the watcher asks to stop.
    """
    remedy = f"Choose more samples than a latent code of {engine.name} has numbers ({engine.latent_dim})."
    require(samples > engine.latent_dim, f"principal components of {samples} samples say nothing of latent codes", remedy)
    codes = standardised(engine.codes(samples, seed))
    given = activations(engine, layer, codes, watcher, kept).double()
    coordinates, variances = _components(given - given.mean(0))
    count = min(engine.latent_dim, int((variances > _NONE * variances.sum()).sum()))
    require(count > 0, f"the layer {layer} gives the same for every latent code", "Choose another layer.")
    back = coordinates[:, :count].T @ codes.double()
    share = variances[:count] / variances.sum()
    linear = back.square().sum(1) / samples
    return Factors(oriented(F.normalize(back, dim=1)).float(), {"share": share, "linear": linear})


def standardised(codes: Tensor) -> Tensor:
    """``codes`` (N, d), N > d, moved and mixed as little as needed to have mean 0 and covariance I exactly, as N(0, I) has.

    Then nothing that is linear in the code is lost to the sampling.
    """
    centred = (codes - codes.mean(0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(codes))
    return (centred @ vectors @ values.rsqrt().diag() @ vectors.T).float()


def _components(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors (N, K) of N samples' coordinates along K principal components of (N, D), and variances (K,), descending."""
    count, width = centred.shape
    if count <= width:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        return vectors.flip(1), values.flip(0).clamp(min=0) / count
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    return F.normalize(centred @ vectors.flip(1), dim=0), values.flip(0).clamp(min=0) / count


def semantic_factors(engine: Engine, unit_rows: bool = False) -> Factors:
    """The directions that the weights which meet a latent code first stretch most (SeFa; Shen and Zhou, 2021).

    They are the eigenvectors of A^T A, A being what ``latent_weights`` of the generator gives (:class:`LatentWeights`), and as
    many as A has rank. With ``unit_rows`` each row of A is first divided by its length, as the authors' code does and their
    paper does not. Figures: ``strength``, the length of A times the direction. Errors: :class:`LanternError` if the generator
    offers no such weights.
    """
    if not isinstance(engine.generator, LatentWeights):
        remedy = "Choose --source pca, which needs no weights, or give the generator a method latent_weights() -> (rows, d)."
        raise LanternError(f"the generator {engine.name} does not say which weights meet a latent code first", remedy)
    weights = engine.generator.latent_weights().detach().cpu().double()
    fits = weights.dim() == 2 and weights.shape[1] == engine.latent_dim and bool(weights.isfinite().all())
    problem = f"latent_weights() of {engine.name} gives no finite numbers of shape (rows, {engine.latent_dim})"
    require(fits, f"{problem}: {tuple(weights.shape)}", "Let every row be what makes one number of a latent code.")
    weights = F.normalize(weights, dim=1) if unit_rows else weights
    values, vectors = torch.linalg.eigh(weights.T @ weights)
    count = int((values > _NONE * values.sum()).sum())
    require(count > 0, f"latent_weights() of {engine.name} are all 0", "Give a generator that is fitted.")
    return Factors(oriented(vectors.T.flip(0)[:count]).float(), {"strength": values.flip(0)[:count].sqrt()})


def activations(engine: Engine, layer: str, codes: Tensor, watcher: Watcher, kept: KeptPart | None = None) -> Tensor:
    """What ``layer`` of the generator gives for ``codes`` (N, d): (N, D), on the CPU.

    A layer is named as in ``named_modules()`` of PyTorch; of one that is called several times in a pass, the first call
    counts. Maps larger than 4x4 are averaged to 4x4. The layer :data:`IMAGES` are the images themselves, averaged to 16x16.
    With ``kept`` it goes on where it stopped. Errors: :class:`LanternError` if there is no such layer, or it does not give one
    tensor a code.
    """
    kept = kept or NOTHING.part("activations")
    rows: list[Tensor] = [] if kept.state is None else [kept.state.tensors["rows"]]

    def state() -> State:
        return State(sum(map(len, rows)), {"rows": torch.cat(rows)})

    while (done := sum(map(len, rows))) < len(codes):
        size = engine.batch_size
        batch, seen = codes[done : done + size], dict[str, Tensor]()
        with _recording(_chosen(engine, layer), seen, _pooled):
            images = engine.images(batch)
        if engine.batch_size < size:
            # Memory ran out on the way: what was recorded belongs to the attempt that failed.
            continue
        rows.append(_averaged(images, _POOLED_IMAGE).cpu() if layer == IMAGES else _rows_of(seen, layer, len(batch)))
        tell(watcher, done + len(batch), len(codes), kept, state)
    return torch.cat(rows)


def early_layer(engine: Engine, seed: int = 0) -> str:
    """The first layer that everything in a latent code which changes the image has reached, by name, else :data:`IMAGES`.

    That is what "an early layer" means for a generator that takes in its code bit by bit: in a pocket generator without
    appearance the first linear layer (``latent.style.0``), with appearance the first convolution that stands under it
    (``decoder.layers.1.second``), in BigBiGAN the first convolution of the last block (``blocks.5.first``). It is found by
    gradients; a generator without layers of PyTorch, or without gradients, has its images only.
    """
    layers, seen = _layers(engine), dict[str, Tensor]()
    if not layers:
        return IMAGES
    codes = engine.codes(_PROBES, seed).requires_grad_()
    with _recording(layers, seen, lambda output: output):
        images = engine.differentiable_images(codes)
    needed = _reached(images, codes)
    whole = (name for name, output in seen.items() if bool((_reached(output, codes) | ~needed).all()))
    return next(whole, IMAGES) if needed.any() else IMAGES


def _reached(output: Tensor, codes: Tensor) -> Tensor:
    """Which entries of a latent code, bool (d,), have reached ``output``."""
    if not output.requires_grad or len(output) != len(codes):
        return torch.zeros(codes.shape[1], dtype=torch.bool)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
    (slope,) = torch.autograd.grad(output, codes, weights, retain_graph=True, allow_unused=True)
    return torch.zeros(codes.shape[1], dtype=torch.bool) if slope is None else (slope != 0).any(0)


def _layers(engine: Engine) -> dict[str, nn.Module]:
    modules = engine.generator.named_modules() if isinstance(engine.generator, nn.Module) else ()
    return {name: module for name, module in modules if name}


def _chosen(engine: Engine, layer: str) -> dict[str, nn.Module]:
    if layer == IMAGES:
        return {}
    layers = _layers(engine)
    known = ", ".join([IMAGES, *list(layers)[:20]]) + (", ..." if len(layers) > 20 else "")
    require(layer in layers, f"the generator {engine.name} has no layer {layer!r}", f"Choose one of: {known}.")
    return {layer: layers[layer]}


@contextmanager
def _recording(layers: dict[str, nn.Module], seen: dict[str, Tensor], keep: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While this lasts, what ``layers`` give at their first call in this thread is kept in ``seen``, in the order of calls."""
    # The generator may be at work for somebody else at the same time.
    thread = threading.get_ident()

    def hook(name: str) -> Callable[..., None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if name not in seen and isinstance(output, Tensor) and threading.get_ident() == thread:
                seen[name] = keep(output)

        return record

    handles = [module.register_forward_hook(hook(name)) for name, module in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rows_of(seen: dict[str, Tensor], layer: str, count: int) -> Tensor:
    given = seen.get(layer)
    if given is None or len(given) != count:
        remedy = "Choose a layer that images pass through, or images."
        raise LanternError(f"the layer {layer} does not give one tensor for each latent code", remedy)
    return given


def _pooled(output: Tensor) -> Tensor:
    # A copy, since the next layer may overwrite it.
    return _averaged(output, _POOLED).detach().to("cpu", torch.float32, copy=True)


def _averaged(output: Tensor, side: int) -> Tensor:
    larger = output.dim() == 4 and min(output.shape[2:]) > side
    return (F.adaptive_avg_pool2d(output.float(), side) if larger else output).flatten(1)
