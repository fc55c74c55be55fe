"""The U-Net against the authors' numbers and a second implementation, and its files against damage and malice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segmentation.errors import LanternError
from segmentation.tensors import save_tensors
from segmentation.unet import UNet, UNetConfig, load_unet, saliency_logits, save_unet

FIXTURES = Path(__file__).parents[1] / "fixtures"


def seeded_state(shapes: Mapping[str, list[int]], source: torch.Generator) -> dict[str, Tensor]:
    """The weights of the fixture: drawn in the order of the sorted names."""
    state: dict[str, Tensor] = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.int64)
            continue
        drawn = torch.randn(shape, generator=source)
        if name.endswith("running_var"):
            drawn = 0.5 * drawn.abs() + 0.5
        elif len(shape) >= 2:
            drawn = drawn / math.sqrt(math.prod(shape[1:]))
        else:
            drawn = 1 + 0.1 * drawn if name.endswith("weight") else 0.1 * drawn
        state[name] = drawn
    return state


def small_net(seed: int = 0, width: int = 2) -> UNet:
    """A narrow network with statistics unlike those of a fresh one."""
    net = UNet(UNetConfig(width=width)).eval()
    shapes = {name: list(value.shape) for name, value in net.state_dict().items()}
    net.load_state_dict(seeded_state(shapes, torch.Generator().manual_seed(seed)))
    return net


@pytest.fixture(scope="module")
def keys() -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((FIXTURES / "unet_keys.json").read_text())
    return shapes


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(FIXTURES / "unet.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in ("input", "logits")}


def double_conv(state: Mapping[str, Tensor], name: str, maps: Tensor) -> Tensor:
    for conv, norm in ((0, 1), (3, 4)):
        part = f"{name}.double_conv."
        maps = F.conv2d(maps, state[f"{part}{conv}.weight"], state[f"{part}{conv}.bias"], padding=1)
        mean, var = (state[f"{part}{norm}.running_{what}"][:, None, None] for what in ("mean", "var"))
        weight, bias = (state[f"{part}{norm}.{what}"][:, None, None] for what in ("weight", "bias"))
        maps = ((maps - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)
    return maps


def doubling(side: int) -> Tensor:
    """(2 side, side): linear interpolation whose first and last samples are those of the input."""
    matrix = torch.zeros(2 * side, side)
    for row in range(2 * side):
        place = row * (side - 1) / (2 * side - 1)
        left = min(int(place), side - 1)
        matrix[row, left] += 1 - (place - left)
        matrix[row, min(left + 1, side - 1)] += place - left
    return matrix


def second_implementation(state: Mapping[str, Tensor], images: Tensor) -> Tensor:
    skips = [double_conv(state, "inc", images)]
    for level in range(1, 5):
        skips.append(double_conv(state, f"down{level}.maxpool_conv.1", F.max_pool2d(skips[-1], 2)))
    maps = skips.pop()
    for level in range(1, 5):
        skip = skips.pop()
        raised = doubling(maps.shape[2]) @ maps @ doubling(maps.shape[3]).T
        padded = torch.zeros(*raised.shape[:2], *skip.shape[2:])
        top, left = (skip.shape[2] - raised.shape[2]) // 2, (skip.shape[3] - raised.shape[3]) // 2
        padded[:, :, top : top + raised.shape[2], left : left + raised.shape[3]] = raised
        maps = double_conv(state, f"up{level}.conv", torch.cat([skip, padded], 1))
    return F.conv2d(maps, state["outc.conv.weight"], state["outc.conv.bias"])


def test_authors_weights_give_the_authors_logits(
    tmp_path: Path, keys: dict[str, list[int]], reference: dict[str, Tensor]
) -> None:
    source = torch.Generator().manual_seed(21)
    state = seeded_state(keys, source)
    images = torch.randn(1, 3, 64, 80, generator=source)
    assert torch.equal(images, reference["input"])
    torch.save(state, tmp_path / "authors.pth")
    loaded = load_unet(tmp_path / "authors.pth")
    assert (loaded.net.config.width, loaded.size, loaded.provenance, loaded.name) == (64, 128, {}, "authors.pth")
    with torch.inference_mode():
        torch.testing.assert_close(loaded.net(images), reference["logits"], atol=1e-4, rtol=0)


def test_state_dict_has_the_authors_names_and_shapes(keys: dict[str, list[int]]) -> None:
    assert {name: list(value.shape) for name, value in UNet().state_dict().items()} == keys


@settings(max_examples=8, deadline=None)
@given(st.integers(16, 70), st.integers(16, 70), st.integers(0, 5))
def test_any_size_agrees_with_a_second_implementation(height: int, width: int, seed: int) -> None:
    net = small_net(seed)
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(net(images), second_implementation(net.state_dict(), images), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 3, 15, 40), (1, 3, 40, 15), (1, 4, 32, 32), (3, 32, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LanternError, match="16 pixels or more"):
        small_net()(torch.zeros(shape))


def test_sigmoid_of_saliency_logits_is_the_second_softmax_channel() -> None:
    logits = torch.randn(2, 2, 5, 7, generator=torch.Generator().manual_seed(1)) * 4
    assert saliency_logits(logits).shape == (2, 5, 7)
    torch.testing.assert_close(saliency_logits(logits).sigmoid(), logits.exp()[:, 1] / logits.exp().sum(1))


@pytest.mark.parametrize("half", [False, True])
def test_saved_network_comes_back(tmp_path: Path, half: bool) -> None:
    net = small_net(3)
    path = tmp_path / "unet.safetensors"
    save_unet(net, path, 96, {"source": {"generator": "pocket"}, "steps": 7}, half=half)
    loaded = load_unet(path)
    assert (loaded.size, loaded.net.config) == (96, UNetConfig(width=2))
    assert loaded.provenance == {"source": {"generator": "pocket"}, "steps": 7}
    assert not loaded.net.training and not any(weight.requires_grad for weight in loaded.net.parameters())
    for name, value in net.state_dict().items():
        expected = value.half().float() if half and value.dtype == torch.float32 else value
        assert torch.equal(loaded.net.state_dict()[name], expected), name


def test_half_precision_file_is_half_as_large(tmp_path: Path) -> None:
    net = small_net(width=16)
    sizes = []
    for half in (False, True):
        save_unet(net, tmp_path / f"{half}.safetensors", 128, {}, half)
        sizes.append((tmp_path / f"{half}.safetensors").stat().st_size)
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.05)


def test_fingerprint_tells_networks_apart(tmp_path: Path) -> None:
    marks = []
    for index, seed in enumerate((1, 1, 2)):
        save_unet(small_net(seed), tmp_path / f"{index}.safetensors", 64, {})
        marks.append(load_unet(tmp_path / f"{index}.safetensors").fingerprint)
    assert marks[0] == marks[1] != marks[2]


@pytest.mark.parametrize("wrap", ["model", "state_dict", "module."])
def test_foreign_checkpoints_are_unwrapped(tmp_path: Path, wrap: str) -> None:
    net = small_net(5, width=3)
    state: dict[str, Any] = dict(net.state_dict())
    if wrap == "module.":
        state = {f"module.{name}": value for name, value in state.items()}
    else:
        state = {wrap: state, "opt": {"state": {}}, "step": 12000}
    torch.save(state, tmp_path / "checkpoint.pt")
    loaded = load_unet(tmp_path / "checkpoint.pt").net
    assert loaded.config.width == 3
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in net.state_dict().items())


class _Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "pwned"
    state = {**small_net().state_dict(), "payload": _Malice(target)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LanternError, match="holds more than weights.*was not opened"):
        load_unet(path)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the file was harmless: the test would prove nothing"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.99])
def test_files_cut_short_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(small_net().state_dict(), path)
    else:
        save_unet(small_net(), path, 128, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(LanternError, match=f"cut{suffix}"):
        load_unet(path)


@pytest.mark.parametrize("name", ["none.safetensors", "none.pth"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(LanternError, match=f"{name} does not exist"):
        load_unet(tmp_path / name)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").write_bytes(b"x")
    with pytest.raises(LanternError, match=r"ending in \.safetensors, \.pth or \.pt"):
        load_unet(tmp_path / "weights.onnx")


def test_misshapen_and_missing_weights_are_named(tmp_path: Path) -> None:
    state = dict(small_net().state_dict())
    del state["up2.conv.double_conv.0.bias"]
    state["outc.conv.weight"] = torch.zeros(1, 2, 1, 1)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(LanternError, match=r"missing: up2\.conv.*another shape: outc\.conv\.weight \(1, 2, 1, 1\)"):
        load_unet(tmp_path / "bad.pth")


@pytest.mark.parametrize("content", [{"fc.weight": torch.zeros(2, 2)}, [1, 2], {"a": 3}, torch.zeros(3)])
def test_other_foreign_content_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(LanternError, match=r"other\.pth (is not a state dict|does not fit a UNet)"):
        load_unet(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"kind": "pocket generator"}, "holds pocket generator, not a U-Net"),
        ({}, "holds something else, not a U-Net"),
        ({"kind": "unet", "config": {"width": 0}}, "width is 0"),
        ({"kind": "unet", "config": {"width": 2}, "size": "large"}, "size is 'large'"),
        ({"kind": "unet"}, "not a JSON object"),
    ],
)
def test_other_headers_are_refused(tmp_path: Path, header: dict[str, Any], words: str) -> None:
    save_tensors(tmp_path / "other.safetensors", small_net().state_dict(), header)
    with pytest.raises(LanternError, match=words):
        load_unet(tmp_path / "other.safetensors")
