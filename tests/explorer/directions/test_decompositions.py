from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.directions.decompositions import (
    IMAGES,
    LatentWeights,
    activations,
    early_layer,
    principal_components,
    semantic_factors,
    standardised,
)
from explorer.engine import Engine, EngineConfig
from explorer.generators.base import Generator
from explorer.generators.bigbigan import load_bigbigan
from explorer.generators.bigbigan_folding import FoldedBlock
from explorer.generators.pocket import PocketConfig, PocketGenerator
from segmentation.errors import LanternError
from segmentation.progress import Unwatched
from tests.analytic import GROUND, OBJECT, DiscGenerator
from tests.explorer.directions.layered import Layered, Linear

BIGBIGAN = Path(__file__).parents[2] / "fixtures" / "bigbigan_ch4.pth"


def engine(generator: Generator, batch_size: int = 64) -> Engine:
    return Engine(generator, EngineConfig(device="cpu", batch_size=batch_size))


def stretched(d: int = 5) -> Tensor:
    """Weights (192, d) whose singular values are d, d - 1, ..., 1 tenths."""
    source = torch.Generator().manual_seed(2)
    left, _ = torch.linalg.qr(torch.randn(192, d, generator=source))
    right, _ = torch.linalg.qr(torch.randn(d, d, generator=source))
    return left @ torch.arange(d, 0, -1).float().diag() @ right.T / 10


def pocket(appearance: int) -> PocketGenerator:
    torch.manual_seed(5)
    generator = PocketGenerator(PocketConfig(latent_dim=12, appearance_dim=appearance, map_channels=4, width=16))
    if appearance:
        mixed = torch.randn(appearance, appearance)
        generator.fit_appearances(torch.randn(appearance), (mixed @ mixed.T + torch.eye(appearance)).double())
    return generator.eval().requires_grad_(False)


def cosines(ours: Tensor, theirs: np.ndarray) -> np.ndarray:
    return np.abs((ours.double().numpy() * theirs).sum(1))


def test_components_of_a_linear_layer_are_its_singular_vectors() -> None:
    weight = stretched()
    found = principal_components(engine(Linear(weight)), "first", 40, 0, Unwatched())
    _, values, rows = np.linalg.svd(weight.double().numpy())
    assert found.directions.shape == (5, 5)
    assert cosines(found.directions, rows).min() > 1 - 1e-5
    assert np.allclose(found.figures["share"].numpy(), values**2 / (values**2).sum(), atol=1e-5)
    assert np.allclose(found.figures["linear"].numpy(), 1, atol=1e-5)


def test_components_of_any_layer_are_regressed_on_as_ganspace_does() -> None:
    made = engine(Layered())
    found = principal_components(made, "second", 300, 4, Unwatched())
    layers = made.generator
    assert isinstance(layers, Layered)
    codes = standardised(made.codes(300, 4))
    with torch.no_grad():
        given = layers.second(torch.cat([torch.tanh(layers.first(codes[:, :4])), codes[:, 4:]], 1)).double().numpy()
    centred = given - given.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    theirs = np.linalg.lstsq(centred @ axes[:6].T, codes.double().numpy(), rcond=None)[0]
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    assert cosines(found.directions, theirs).min() > 1 - 1e-5
    assert np.allclose(found.figures["share"].numpy(), values[:6] ** 2 / (values**2).sum(), atol=1e-6)
    # How much of each component the best linear function of the code explains.
    coordinates = centred @ axes[:6].T
    design = codes.double().numpy()
    rest = coordinates - design @ np.linalg.lstsq(design, coordinates, rcond=None)[0]
    expected = 1 - (rest**2).sum(0) / (coordinates**2).sum(0)
    assert np.allclose(found.figures["linear"].numpy(), expected, atol=1e-5)
    assert expected.min() < 0.97


def test_components_of_images_are_what_changes_them_most() -> None:
    found = principal_components(engine(DiscGenerator()), IMAGES, 400, 0, Unwatched())
    plane = found.directions[:2][:, [OBJECT, GROUND]]
    assert plane.norm(dim=1).min() > 0.97
    assert abs(torch.linalg.det(plane)) > 0.9
    assert found.figures["share"][:2].sum() > 0.7


def test_standardised_codes_have_mean_0_and_covariance_1() -> None:
    codes = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) @ torch.diag(torch.arange(1.0, 7)) + 3
    moved = standardised(codes).double()
    assert moved.mean(0).abs().max() < 1e-5
    assert torch.allclose(moved.T @ moved / 50, torch.eye(6).double(), atol=1e-5)
    drawn = torch.randn(5000, 6, generator=torch.Generator().manual_seed(1))
    assert (standardised(drawn) - drawn).abs().max() < 0.3


def test_a_layer_of_less_rank_gives_fewer_directions() -> None:
    weight = stretched()
    weight[:, 4] = weight[:, 0]
    made = engine(Linear(weight))
    assert len(principal_components(made, "first", 40, 0, Unwatched()).directions) == 4
    assert len(semantic_factors(made).directions) == 4


def test_what_a_layer_gives_is_recorded_once_for_each_code() -> None:
    whole = activations(engine(Layered()), "first", torch.randn(20, 6, generator=torch.Generator().manual_seed(0)), Unwatched())
    generator = Layered()
    generator.memory, generator.meddling = 3, True
    short = engine(generator, 16)
    pieces = activations(short, "first", torch.randn(20, 6, generator=torch.Generator().manual_seed(0)), Unwatched())
    assert short.batch_size == 2
    assert whole.shape == (20, 10)
    assert torch.allclose(whole, pieces, atol=1e-6)
    with torch.no_grad():
        expected = generator.first(torch.randn(20, 6, generator=torch.Generator().manual_seed(0))[:, :4])
    assert torch.allclose(whole, expected, atol=1e-6)


def test_large_maps_are_averaged() -> None:
    made = engine(pocket(4))
    codes = made.codes(3, 0)
    layer = made.generator.decoder.layers[0]  # type: ignore[attr-defined]
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    made.images(codes)
    handle.remove()
    blocks = seen[0].view(3, -1, 4, 2, 4, 2).mean((3, 5)).flatten(1)
    assert torch.allclose(activations(made, "decoder.layers.0", codes, Unwatched()), blocks, atol=1e-5)


@pytest.mark.parametrize("layer", ["third", "", "analysis.layers.0"])
def test_a_layer_that_is_not_to_be_had_is_refused(layer: str) -> None:
    made = engine(pocket(0))
    with pytest.raises(LanternError, match="layer"):
        principal_components(made, layer, 40, 0, Unwatched())


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(LanternError, match="more samples"):
        principal_components(engine(Layered()), "first", 6, 0, Unwatched())


def test_the_early_layer_is_the_first_that_all_of_the_code_has_reached() -> None:
    assert early_layer(engine(Layered(split=4))) == "second"
    assert early_layer(engine(Linear(stretched()))) == "first"
    assert early_layer(engine(pocket(0))) == "latent.style.0"
    assert early_layer(engine(load_bigbigan(BIGBIGAN))) == "blocks.5.first"
    assert early_layer(engine(DiscGenerator())) == IMAGES


def test_appearance_is_waited_for() -> None:
    generator = pocket(4)
    # An unfitted generator is built so that the styles of its maps do nothing yet.
    assert early_layer(engine(generator)) == "decoder.layers.1.second"


@pytest.mark.parametrize("unit_rows", [False, True])
def test_factors_are_the_eigenvectors_that_numpy_finds(unit_rows: bool) -> None:
    weight = stretched()
    found = semantic_factors(engine(Linear(weight)), unit_rows)
    rows = weight.double().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit_rows else rows
    values, vectors = np.linalg.eigh(rows.T @ rows)
    assert cosines(found.directions, vectors.T[::-1]).min() > 1 - 1e-5
    assert np.allclose(found.figures["strength"].numpy(), np.sqrt(values[::-1]), atol=1e-5)
    largest = found.directions.gather(1, found.directions.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_a_generator_without_first_weights_is_refused_with_a_way_out() -> None:
    with pytest.raises(LanternError, match=r"--source pca.*latent_weights"):
        semantic_factors(engine(DiscGenerator()))


def test_weights_of_another_shape_are_refused() -> None:
    generator = Linear(stretched())
    generator.latent_weights = lambda: torch.zeros(3, 4)  # type: ignore[method-assign]
    with pytest.raises(LanternError, match=r"\(rows, 5\)"):
        semantic_factors(engine(generator))


def first_outputs(generator: nn.Module, layers: Sequence[nn.Module], codes: Tensor) -> Tensor:
    seen: dict[int, Tensor] = {}

    def keep(number: int):
        return lambda module, inputs, output: seen.__setitem__(number, output.flatten(1))

    handles = [layer.register_forward_hook(keep(number)) for number, layer in enumerate(layers)]
    with torch.no_grad():
        generator.generate(codes)  # type: ignore[operator]
    for handle in handles:
        handle.remove()
    return torch.cat([seen[number] for number in range(len(layers))], 1)


@pytest.mark.parametrize("appearance", [0, 4])
def test_a_pocket_generators_first_weights_are_what_its_first_layers_do(appearance: int) -> None:
    generator = pocket(appearance)
    layers = [generator.latent.first, generator.latent.style[0]] + ([generator.decoder.style[0]] if appearance else [])
    codes, others = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))
    change = first_outputs(generator, layers, codes) - first_outputs(generator, layers, others)
    assert generator.latent_weights().shape == (16 * 16 + 32 + (16 if appearance else 0), 12)
    assert torch.allclose((codes - others) @ generator.latent_weights().T, change, atol=1e-5)
    found = semantic_factors(engine(generator))
    assert torch.allclose(found.directions @ found.directions.T, torch.eye(12), atol=1e-5)


def test_bigbigans_first_weights_are_what_its_first_layers_do() -> None:
    generator = load_bigbigan(BIGBIGAN)
    layers = [generator.first, *(block.affine for block in generator.blocks if isinstance(block, FoldedBlock))]
    codes, others = torch.randn(2, 2, 120, generator=torch.Generator().manual_seed(0))
    change = first_outputs(generator, layers, codes) - first_outputs(generator, layers, others)
    assert isinstance(generator, LatentWeights)
    assert torch.allclose((codes - others) @ generator.latent_weights().T, change, atol=1e-4)
    # Rank is all there can be: every 20 numbers have their own layer.
    found = semantic_factors(engine(generator))
    assert all((direction.view(6, 20).norm(dim=1) > 1e-3).sum() == 1 for direction in found.directions[:20])
