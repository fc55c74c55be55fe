from __future__ import annotations

from pathlib import Path

import pytest
import torch

from explorer.engine import Engine, EngineConfig
from explorer.generators.base import Encoder, Generator
from explorer.generators.pocket import PocketConfig, PocketGenerator, load_pocket, save_pocket
from explorer.generators.registry import load_generator
from segmentation.errors import LanternError
from segmentation.tensors import save_tensors
from segmentation.unet import UNet, UNetConfig, save_unet

SMALL = PocketConfig(latent_dim=12, appearance_dim=4, map_channels=4, width=16)


def saved(tmp_path: Path, config: PocketConfig = SMALL) -> Path:
    torch.manual_seed(0)
    save_pocket(PocketGenerator(config), tmp_path / "generator.safetensors")
    return tmp_path / "generator.safetensors"


@pytest.mark.parametrize("resolution", [64, 128])
def test_shapes_and_ranges_at_both_resolutions(tmp_path: Path, resolution: int) -> None:
    generator = load_pocket(saved(tmp_path, PocketConfig(12, 4, resolution, 4, 16)))
    images = generator.generate(torch.randn(2, 12) * 3)
    assert images.shape == (2, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert generator.encode(images).shape == (2, 12)


def test_it_keeps_the_protocols(tmp_path: Path) -> None:
    generator = load_pocket(saved(tmp_path))
    assert isinstance(generator, Generator)
    assert isinstance(generator, Encoder)
    assert (generator.latent_dim, generator.resolution, generator.name) == (12, 64, "pocket")


def test_saving_keeps_the_images_to_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = PocketGenerator(SMALL).eval()
    save_pocket(generator, tmp_path / "g.safetensors")
    codes = torch.randn(4, 12)
    assert (load_pocket(tmp_path / "g.safetensors").generate(codes) - generator.generate(codes)).abs().max() < 0.01


def test_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    first, again = load_pocket(saved(tmp_path)), load_pocket(saved(tmp_path))
    assert first.fingerprint == again.fingerprint
    with torch.no_grad():
        dict(first.named_parameters())["decoder.last.0.weight"][0, 0, 0, 0] += 0.5
    save_pocket(first, tmp_path / "other.safetensors")
    assert load_pocket(tmp_path / "other.safetensors").fingerprint != again.fingerprint


def test_images_do_not_depend_on_their_neighbours_in_the_batch(tmp_path: Path) -> None:
    engine = Engine(load_pocket(saved(tmp_path)), EngineConfig(device="cpu", batch_size=3))
    codes = engine.codes(7, 0)
    assert torch.allclose(engine.images(codes)[5:6], engine.images(codes[5:6]), atol=1e-5)


def test_the_registry_loads_a_file_and_names_what_it_cannot(tmp_path: Path) -> None:
    assert load_generator(str(saved(tmp_path))).latent_dim == 12
    with pytest.raises(LanternError, match="there is no generator 'biggan'"):
        load_generator("biggan")
    with pytest.raises(LanternError, match=r"gone\.safetensors does not exist"):
        load_generator(str(tmp_path / "gone.safetensors"))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(LanternError, match="cut short"):
        load_pocket(path)


def test_another_network_is_refused(tmp_path: Path) -> None:
    save_unet(UNet(UNetConfig(4)), tmp_path / "unet.safetensors", 64, {})
    with pytest.raises(LanternError, match="holds unet, not a pocket generator"):
        load_pocket(tmp_path / "unet.safetensors")


@pytest.mark.parametrize("values", [{"resolution": 96}, {"width": 20}, {"latent_dim": 0}])
def test_impossible_shapes_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(LanternError):
        PocketConfig(**values)


def test_the_appearance_follows_the_gaussian_that_it_was_given_and_back() -> None:
    generator = PocketGenerator(SMALL)
    random = torch.Generator().manual_seed(3)
    mean = torch.randn(4, generator=random).double()
    factor = torch.randn(4, 4, generator=random).double()
    covariance = factor @ factor.T + 0.1 * torch.eye(4)
    generator.fit_appearances(mean, covariance)
    standard = torch.randn(20_000, 4, generator=random)
    drawn = generator.appearances_of(standard).double()
    assert torch.allclose(drawn.mean(0), mean, atol=0.1)
    assert torch.allclose(drawn.T.cov(), covariance, atol=0.05 * covariance.abs().max().item())
    assert torch.allclose(generator.standardise(drawn), standard, atol=1e-4)


def test_another_appearance_leaves_the_map_as_it_is_and_changes_the_image() -> None:
    torch.manual_seed(1)
    generator = PocketGenerator(SMALL).eval()
    codes = torch.randn(2, 12)
    swapped = torch.cat([codes[:, :8], codes[[1, 0], 8:]], 1)
    maps, other = generator.latent(generator.parts(codes)[0]), generator.latent(generator.parts(swapped)[0])
    assert torch.equal(maps, other)
    assert not torch.equal(generator.generate(codes), generator.generate(swapped))


def test_a_file_from_before_the_appearance_still_makes_the_same_images(tmp_path: Path) -> None:
    plain = PocketGenerator(PocketConfig(latent_dim=12, appearance_dim=0, map_channels=4, width=16)).eval()
    path = tmp_path / "old.safetensors"
    config = {name: value for name, value in plain.config.to_json().items() if name != "appearance_dim"}
    save_tensors(path, plain.state_dict(), {"kind": "pocket generator", "name": "old", "config": config})
    codes = torch.randn(2, 12)
    assert torch.allclose(load_pocket(path).generate(codes), plain.generate(codes), atol=1e-6)
    assert plain.encode(plain.generate(codes)).shape == (2, 12)
