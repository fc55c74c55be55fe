from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.__main__ import main
from explorer.engine import Engine, EngineConfig
from explorer.generators.base import Encoder, Generator
from explorer.generators.bigbigan import (
    BigBiGAN,
    FoldedBigBiGAN,
    bigbigan_shapes,
    check_state,
    load_bigbigan,
    optional_shapes,
    save_bigbigan,
    unfolded,
)
from explorer.generators.bigbigan_network import spectral_norm
from segmentation.errors import LanternError
from segmentation.masks import raw_masks
from segmentation.tensors import load_tensors, save_tensors

FIXTURES = Path(__file__).parents[2] / "fixtures"
CHECKPOINT = FIXTURES / "bigbigan_ch4.pth"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def reference() -> tuple[Tensor, Tensor]:
    """Latent codes (3, 120) and the images (3, 3, 128, 128) that the method authors' code gives for the checkpoint."""
    arrays = np.load(FIXTURES / "bigbigan_ch4.npz")
    return torch.from_numpy(arrays["z"]), torch.from_numpy(arrays["images"])


def random_state(width: int, seed: int = 0) -> State:
    """Weights at random, with statistics, gains and biases far from those that do nothing."""
    source = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in bigbigan_shapes(width).items():
        values = torch.randn(shape, generator=source)
        if name.endswith("stored_var"):
            values = 0.3 + values.abs()
        elif name == "blocks.3.1.gamma":
            values = torch.tensor(0.8)
        elif name.endswith(".weight") and len(shape) > 1 and name != "shared.weight":
            values = values * int(np.prod(shape[1:])) ** -0.5
        elif name.endswith((".bias", "stored_mean", "output_layer.0.gain")):
            values = 0.3 * values
        state[name] = values
    return state


def images_of(network: BigBiGAN | FoldedBigBiGAN, codes: Tensor) -> Tensor:
    with torch.inference_mode():
        images: Tensor = network(codes)
    return images


def saved(tmp_path: Path, state: object, name: str = "weights.pth") -> Path:
    torch.save(state, tmp_path / name)
    return tmp_path / name


def test_the_keys_are_those_of_the_ported_checkpoint() -> None:
    listed = {name: tuple(shape) for name, shape in json.loads((FIXTURES / "bigbigan_keys_ch4.json").read_text()).items()}
    assert {**bigbigan_shapes(4), **optional_shapes(4)} == listed
    assert set(optional_shapes(4)) == {name for name in listed if name.endswith("sv0")}
    assert {name: tuple(tensor.shape) for name, tensor in BigBiGAN(4).state_dict().items()} == listed


def test_the_published_width_has_the_published_number_of_weights() -> None:
    learned = [name for name in bigbigan_shapes(96) if not name.endswith(("u0", "stored_mean", "stored_var"))]
    assert sum(int(np.prod(bigbigan_shapes(96)[name])) for name in learned) / 1e6 == pytest.approx(70.4, abs=0.05)


@pytest.mark.parametrize("form", [load_bigbigan, lambda path: unfolded(torch.load(path, weights_only=True), "checkpoint")])
def test_images_are_those_of_the_reference(form: Callable[[Path], BigBiGAN], reference: tuple[Tensor, Tensor]) -> None:
    codes, images = reference
    assert (images_of(form(CHECKPOINT), codes) - images).abs().max() < 1e-4


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_command_gives_the_images_of_the_reference(tmp_path: Path, reference: tuple[Tensor, Tensor], suffix: str) -> None:
    weights, codes, out = tmp_path / f"weights{suffix}", tmp_path / "z.npy", tmp_path / "images.npy"
    if suffix == ".pth":
        weights.write_bytes(CHECKPOINT.read_bytes())
    else:
        save_bigbigan(torch.load(CHECKPOINT, weights_only=True), weights)
    np.save(codes, reference[0].numpy())
    assert main(["sample", "--generator", str(weights), "--codes", str(codes), "--out", str(out)]) == 0
    assert np.abs(np.load(out) - reference[1].numpy()).max() < 1e-4


@pytest.mark.parametrize("width", [4, 5, 8, 20])
def test_folded_and_unfolded_agree(width: int) -> None:
    network = unfolded(random_state(width, seed=width), "random")
    codes = torch.randn(2, 120, generator=torch.Generator().manual_seed(1))
    images, folded = images_of(network, codes), images_of(FoldedBigBiGAN(network), codes)
    assert images.std() > 0.1
    assert (images.abs() < 0.9).float().mean() > 0.3, "saturated images would hide differences"
    assert (images - folded).abs().max() < 1e-4


def test_only_the_first_class_counts() -> None:
    state, codes = random_state(4), torch.randn(1, 120, generator=torch.Generator().manual_seed(1))
    images = images_of(FoldedBigBiGAN(unfolded(state, "random")), codes)
    others, first = state["shared.weight"].clone(), state["shared.weight"].clone()
    others[1:], first[0] = 7, 0
    assert torch.equal(images_of(FoldedBigBiGAN(unfolded({**state, "shared.weight": others}, "others")), codes), images)
    changed = images_of(FoldedBigBiGAN(unfolded({**state, "shared.weight": first}, "first")), codes)
    assert (changed - images).abs().max() > 0.01


def test_every_chunk_of_the_latent_code_changes_the_image() -> None:
    generator, codes = load_bigbigan(CHECKPOINT), torch.zeros(7, 120)
    for chunk in range(6):
        codes[chunk + 1, 20 * chunk : 20 * (chunk + 1)] = 1
    images = images_of(generator, codes)
    assert ((images[1:] - images[0]).abs().amax((1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize("shape", [(7, 5), (6, 3, 3, 3)])
def test_the_spectral_norm_is_the_largest_singular_value_once_its_vector_is_found(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    left, values, _ = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    assert spectral_norm(weight, left[:, :1].T).item() == pytest.approx(values[0].item(), rel=1e-5)
    assert spectral_norm(weight, torch.randn(1, shape[0])) < values[0] * (1 + 1e-5)


def test_it_keeps_the_protocol_and_brings_no_encoder() -> None:
    generator = load_bigbigan(CHECKPOINT)
    assert isinstance(generator, Generator)
    assert not isinstance(generator, Encoder)
    assert (generator.name, generator.latent_dim, generator.resolution) == ("bigbigan", 120, 128)
    assert generator.to(torch.device("cpu")) is generator


def test_convolutions_run_in_the_fast_layout() -> None:
    engine = Engine(load_bigbigan(CHECKPOINT), EngineConfig(device="cpu"))
    assert isinstance(engine.generator, FoldedBigBiGAN)
    weights = [weight for weight in engine.generator.state_dict().values() if weight.dim() == 4]
    assert len(weights) == 5 * 3 + 2 + 1
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert engine.images(engine.codes(2, 0)).is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_is_near_float32_and_leaves_it_as_it_was() -> None:
    engine = Engine(FoldedBigBiGAN(unfolded(random_state(8), "random")), EngineConfig(device="cpu"))
    codes = engine.codes(6, 0)
    exact, rough = engine.images(codes, "float32"), engine.images(codes, "bfloat16")
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().mean() < 0.02
    assert torch.equal(engine.images(codes, "bfloat16"), rough)
    assert torch.equal(engine.images(codes, "float32"), exact)
    flipped = raw_masks(exact[:3], exact[3:]) != raw_masks(rough[:3], rough[3:])
    assert flipped.float().mean() < 0.05


def test_gradients_reach_the_codes_even_after_bfloat16_images() -> None:
    engine = Engine(load_bigbigan(CHECKPOINT), EngineConfig(device="cpu", precision="bfloat16"))
    engine.images(engine.codes(1, 0))
    code = engine.codes(1, 0).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        engine.generator.generate(code).sum().backward()
    assert code.grad is not None
    assert (code.grad != 0).all()


def test_gradients_are_those_of_the_unfolded_form() -> None:
    network = unfolded(random_state(8), "random")
    code = torch.randn(1, 120, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weights = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    (expected,) = torch.autograd.grad((network(code) * weights).sum(), code)
    (found,) = torch.autograd.grad((FoldedBigBiGAN(network).generate(code) * weights).sum(), code)
    assert expected.norm() > 1
    assert (found - expected).norm() < 1e-3 * expected.norm()


def test_saving_keeps_images_and_fingerprint(tmp_path: Path, reference: tuple[Tensor, Tensor]) -> None:
    path = tmp_path / "bigbigan.safetensors"
    published = torch.load(CHECKPOINT, weights_only=True)
    save_bigbigan(published, path, {"source": "somewhere"})
    tensors, header = load_tensors(path)
    assert header == {"source": "somewhere", "kind": "bigbigan", "width": 4}
    assert set(tensors) == set(bigbigan_shapes(4))
    assert all(torch.equal(tensor, published[name]) for name, tensor in tensors.items())
    first, second = load_bigbigan(CHECKPOINT), load_bigbigan(path)
    # How sums are rounded while folding hangs, on some processors, on where in memory the weights lie.
    assert torch.allclose(images_of(first, reference[0]), images_of(second, reference[0]), rtol=0, atol=1e-5)
    assert first.fingerprint == second.fingerprint


def test_the_fingerprint_changes_with_any_weight(tmp_path: Path) -> None:
    state = random_state(4)
    known = {load_bigbigan(saved(tmp_path, state)).fingerprint}
    for name in ("blocks.3.1.gamma", "output_layer.0.stored_mean", "shared.weight"):
        known.add(load_bigbigan(saved(tmp_path, {**state, name: state[name] + 1e-3})).fingerprint)
    assert len(known) == 4


def test_a_checkpoint_in_another_precision_is_read(tmp_path: Path, reference: tuple[Tensor, Tensor]) -> None:
    state = torch.load(CHECKPOINT, weights_only=True)
    double = load_bigbigan(saved(tmp_path, {name: tensor.double() for name, tensor in state.items()}))
    assert (images_of(double, reference[0]) - reference[1]).abs().max() < 1e-4
    half = load_bigbigan(saved(tmp_path, {name: tensor.half() for name, tensor in state.items()}))
    assert (images_of(half, reference[0]) - reference[1]).abs().max() < 0.05


@pytest.mark.parametrize("width", [4, 12, 96])
def test_the_width_is_read_from_the_state(width: int) -> None:
    # Expanded zeros: at the published width the weights would fill hundreds of megabytes.
    state = {name: torch.zeros(()).expand(shape) for name, shape in bigbigan_shapes(width).items()}
    assert check_state(state, "zeros") == width


def said_of(state: State) -> str:
    with pytest.raises(LanternError) as caught:
        check_state(state, "weights.pth")
    assert caught.value.problem.startswith("weights.pth")
    return caught.value.problem


def test_of_half_a_checkpoint_every_missing_key_is_named() -> None:
    state = random_state(4)
    for names in (list(state)[: len(state) // 2], list(state)[len(state) // 2 :]):
        missing = [name for name in state if name not in names]
        said = said_of({name: state[name] for name in names})
        assert f"({len(missing)} missing: {', '.join(missing)})" in said


def test_everything_that_is_wrong_is_said_at_once() -> None:
    state = random_state(8)
    other = random_state(4)
    del state["blocks.0.0.conv1.u0"]
    state |= {"optimizer": torch.zeros(1), "blocks.5.0.conv1.bias": torch.zeros(8)}
    state |= {name: other[name] for name in ("linear.bias", "blocks.2.0.conv2.weight")}
    state["output_layer.2.bias"][1] = torch.nan
    state["blocks.3.1.theta.u0"][0, 0] = torch.inf
    state["output_layer.0.stored_var"][3] = -1
    state["output_layer.0.gain"] = torch.ones(8, dtype=torch.int64)
    said = said_of(state)
    assert "of width 8" in said
    assert "1 missing: blocks.0.0.conv1.u0;" in said
    assert "2 unexpected: optimizer, blocks.5.0.conv1.bias;" in said
    assert "linear.bias (1024,) instead of (2048,)" in said
    assert "blocks.2.0.conv2.weight (16, 16, 3, 3) instead of (32, 32, 3, 3)" in said
    assert "2 with NaN or infinity: blocks.3.1.theta.u0, output_layer.2.bias;" in said
    assert "1 with negative variance: output_layer.0.stored_var" in said
    assert "1 not of real numbers: output_layer.0.gain;" in said


def test_layers_of_zeros_have_no_spectral_norm_and_are_named(tmp_path: Path) -> None:
    state = random_state(4)
    for name in ("blocks.1.0.conv2.weight", "blocks.4.0.bn1.gain.u0"):
        state[name] = torch.zeros_like(state[name])
    with pytest.raises(LanternError, match=r"spectral norm: blocks\.1\.0\.conv2, blocks\.4\.0\.bn1\.gain\."):
        load_bigbigan(saved(tmp_path, state))


@pytest.mark.parametrize("width", [3, 0])
def test_widths_without_an_attention_are_refused(width: int) -> None:
    with pytest.raises(LanternError, match=f"width is {width}"):
        BigBiGAN(width)


class _Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({**random_state(4), "more": _Malice(target)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LanternError, match="holds more than weights.*was not opened"):
        load_bigbigan(path)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the file was harmless: the test would prove nothing"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_files_cut_short_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        saved(tmp_path, random_state(4), path.name)
    else:
        save_bigbigan(random_state(4), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(
        LanternError,
        match=f"cut{suffix} (is no PyTorch file|is not a safetensors file|holds more than weights, or it is damaged)",
    ):
        load_bigbigan(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(120), "is not a state dict"),
        ([torch.zeros(3)], "is not a state dict"),
        ({}, "holds nothing of BigBiGAN"),
        ({3: torch.zeros(3)}, "holds nothing of BigBiGAN"),
        ({"inc.conv.weight": torch.zeros(64, 3, 3, 3)}, "holds nothing of BigBiGAN"),
        ({"linear.bias": 5}, "holds nothing of BigBiGAN"),
        ({"linear.bias": torch.zeros(1024), 3: "x"}, "1 unexpected: 3"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(LanternError, match=said):
        load_bigbigan(saved(tmp_path, content))


def test_other_safetensors_and_missing_files_are_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / "unet.safetensors", {"weight": torch.zeros(3)}, {"kind": "unet"})
    with pytest.raises(LanternError, match="holds unet, not a BigBiGAN generator"):
        load_bigbigan(tmp_path / "unet.safetensors")
    for name in ("gone.pth", "gone.safetensors"):
        with pytest.raises(LanternError, match=f"{name} does not exist"):
            load_bigbigan(tmp_path / name)


def test_a_bad_state_is_not_saved(tmp_path: Path) -> None:
    state = random_state(4)
    del state["linear.bias"]
    with pytest.raises(LanternError, match="1 missing: linear.bias"):
        save_bigbigan(state, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())
