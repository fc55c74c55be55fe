from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import kstest

from explorer.engine import Engine, EngineConfig, FairLock
from explorer.generators.pocket import PocketConfig, PocketGenerator, load_pocket
from segmentation.errors import LanternError
from tests.analytic import DiscEncoder, DiscGenerator, lighting
from tests.explorer.encoders import DrawingEncoder


def engine(batch_size: int = 64, **options: int) -> Engine:
    return Engine(DiscGenerator(**options), EngineConfig(device="cpu", batch_size=batch_size))


def test_codes_are_standard_normal_and_seeded() -> None:
    codes = engine().codes(4000, seed=3)
    assert codes.shape == (4000, 8)
    assert kstest(codes.flatten().numpy(), "norm").pvalue > 0.01
    assert torch.equal(codes, engine().codes(4000, seed=3))
    assert not torch.equal(codes, engine().codes(4000, seed=4))


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_the_first_codes_do_not_depend_on_how_many_are_asked_for(count: int) -> None:
    assert torch.equal(engine().codes(count, 5), engine().codes(100, 5)[:count])


def test_truncation_is_a_truncated_normal() -> None:
    codes = engine().codes(4000, 0, truncation=0.8)
    assert codes.abs().max() <= 0.8
    half = math.erf(0.8 / math.sqrt(2))
    density = math.exp(-0.32) / math.sqrt(2 * math.pi)
    assert codes.var().item() == pytest.approx(1 - 2 * 0.8 * density / half, abs=0.01)


def test_a_code_moves_continuously_with_truncation() -> None:
    near = engine().codes(10, 0, 1.0) - engine().codes(10, 0, 1.001)
    assert 0 < near.abs().max() < 0.01


def test_batches_are_split_and_agree_with_one_large_one() -> None:
    small, large = engine(batch_size=5), engine(batch_size=64)
    codes = large.codes(23, 0)
    assert torch.allclose(small.images(codes), large.images(codes), atol=1e-6)
    assert isinstance(small.generator, DiscGenerator)
    assert small.generator.largest_batch == 5


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    tight = engine(batch_size=32)
    assert isinstance(tight.generator, DiscGenerator)
    tight.generator.memory = 6
    codes = tight.codes(21, 0)
    assert torch.equal(tight.images(codes), engine().images(codes))
    assert tight.batch_size == 4


def test_memory_for_not_even_one_image_is_said() -> None:
    tight = engine()
    assert isinstance(tight.generator, DiscGenerator)
    tight.generator.memory = 0
    with pytest.raises(LanternError, match="memory"):
        tight.images(tight.codes(2, 0))


def test_other_errors_of_a_generator_are_not_taken_for_memory() -> None:
    class Broken(DiscGenerator):
        def generate(self, codes: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Engine(Broken(), EngineConfig(device="cpu")).images(torch.zeros(1, 8))


def test_pairs_are_the_images_at_both_ends_of_the_shift() -> None:
    made, direction = engine(), lighting()
    codes = made.codes(6, 1)
    images, shifted = made.pairs(codes, direction, 3.0)
    assert torch.equal(images, made.images(codes))
    assert torch.allclose(shifted, made.images(codes + 3.0 * direction), atol=1e-6)


def test_a_walk_visits_every_magnitude_in_order() -> None:
    made, direction = engine(), lighting()
    codes = made.codes(3, 1)
    walked = made.walk(codes, direction, (-2.0, 0.0, 1.5))
    assert walked.shape == (3, 3, 3, 32, 32)
    for at, magnitude in enumerate((-2.0, 0.0, 1.5)):
        assert torch.allclose(walked[:, at], made.images(codes + magnitude * direction), atol=1e-6)


class Slow(DiscGenerator):
    """Notes how many threads are in it at the same time."""

    inside = most = 0

    def generate(self, codes: torch.Tensor) -> torch.Tensor:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.005)
        self.inside -= 1
        return super().generate(codes)


def test_one_thread_at_a_time_runs_the_generator() -> None:
    generator = Slow()
    made = Engine(generator, EngineConfig(device="cpu", batch_size=4))
    threads = [threading.Thread(target=made.images, args=(made.codes(12, seed),)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert generator.most == 1


def test_image_batches_are_the_images_a_batch_at_a_time() -> None:
    made = engine(batch_size=5)
    codes = made.codes(13, 0)
    batches = list(made.image_batches(codes))
    assert [len(batch) for batch in batches] == [5, 5, 3]
    assert torch.equal(torch.cat(batches), made.images(codes))
    assert {batch.device.type for batch in batches} == {"cpu"}


def test_image_batches_are_made_as_they_are_asked_for() -> None:
    made = Engine(Slow(), EngineConfig(device="cpu", batch_size=2))
    batches = made.image_batches(made.codes(200_000, 0))
    assert next(batches).shape == (2, 3, 32, 32)
    with pytest.raises(LanternError, match=r"\(2, 7\)"):
        made.image_batches(torch.zeros(2, 7))


def test_results_too_large_for_memory_are_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine(batch_size=4)
    codes = made.codes(9, 0)

    def full(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.empty(2**60)

    monkeypatch.setattr(torch, "cat", full)
    with pytest.raises(LanternError, match=r"9 at once\. Ask for fewer at once"):
        made.images(codes)


def test_memory_that_fills_on_the_way_is_not_laid_to_a_single_image() -> None:
    class Hoarding(DiscGenerator):
        made = 0

        def generate(self, codes: torch.Tensor) -> torch.Tensor:
            if self.made + len(codes) > 10:
                raise torch.OutOfMemoryError("the test's memory is full")
            self.made += len(codes)
            return super().generate(codes)

    made = Engine(Hoarding(), EngineConfig(device="cpu", batch_size=4))
    with pytest.raises(LanternError, match=r"full after 10 .*Ask for fewer at once"):
        made.images(made.codes(12, 0))


def test_threads_share_the_engine_without_mixing_their_images() -> None:
    made = engine(batch_size=4)
    expected = {seed: made.images(made.codes(17, seed)) for seed in range(6)}
    found: dict[int, torch.Tensor] = {}
    threads = [threading.Thread(target=lambda s=seed: found.update({s: made.images(made.codes(17, s))})) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[seed], expected[seed]) for seed in expected)


def test_the_lock_serves_in_the_order_of_arrival() -> None:
    lock, order = FairLock(), []

    def enter(number: int) -> None:
        with lock():
            order.append(number)

    with lock():
        threads = []
        for number in range(8):
            threads.append(threading.Thread(target=enter, args=(number,)))
            threads[-1].start()
            time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (torch.zeros(2, 7), r"\(2, 7\)"),
        (torch.zeros(8), r"\(8,\)"),
        (torch.zeros(0, 8), "no latent codes"),
        (torch.full((1, 8), float("nan")), "NaN"),
    ],
)
def test_bad_codes_are_refused_by_name(codes: torch.Tensor, said: str) -> None:
    with pytest.raises(LanternError, match=said):
        engine().images(codes)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_devices_that_are_there_are_taken(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert EngineConfig(device=name).torch_device() == torch.device(name)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:99", "cuda:x", "cuda:", "cuda:-1", "cuda:1:0", "cudax", "mps", "", "cuda:٣"])
def test_devices_that_are_not_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(LanternError, match=r"not to be had here.*cuda:0 to cuda:1"):
        EngineConfig(device=name).torch_device()


def test_float32_of_the_engine_is_full_float32() -> None:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        engine().images(torch.zeros(1, 8))
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_a_network_is_laid_out_for_speed_without_changing_its_images() -> None:
    torch.manual_seed(0)
    network = PocketGenerator(PocketConfig(latent_dim=8, appearance_dim=3, map_channels=4, width=16)).eval()
    codes = torch.randn(3, 8)
    with torch.inference_mode():
        plain = network.generate(codes)
    assert torch.allclose(Engine(network, EngineConfig(device="cpu")).images(codes), plain, atol=1e-5)
    last = next(module for module in reversed(list(network.decoder.modules())) if isinstance(module, torch.nn.Conv2d))
    assert last.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("values", [{"device": "tpu"}, {"precision": "float8"}, {"precision": "auto"}, {"batch_size": 0}])
def test_bad_configuration_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LanternError):
        Engine(DiscGenerator(), EngineConfig(**values))


def test_bad_seed_and_truncation_are_refused() -> None:
    for arguments in ((1, -1), (0, 0), (1, 0, 0.0)):
        with pytest.raises(LanternError):
            engine().codes(*arguments)


def test_a_generator_without_encoder_says_so() -> None:
    made = engine()
    assert not made.can_encode
    with pytest.raises(LanternError, match="no encoder"):
        made.encode(torch.zeros(1, 3, 32, 32))


def test_an_encoder_may_take_images_of_another_size_and_give_a_distribution() -> None:
    plain, drawing = Engine(DiscEncoder(), EngineConfig(device="cpu")), Engine(DrawingEncoder(), EngineConfig(device="cpu"))
    assert (plain.encoder_resolution, plain.has_posterior) == (32, False)
    assert (drawing.encoder_resolution, drawing.has_posterior, drawing.resolution) == (48, True, 32)
    images = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 3, 48, 48)
    found = drawing.posterior(images)
    assert found.shape == (5, 2, 8)
    assert torch.allclose(found[:, 0, 3], torch.linspace(-1, 1, 5), atol=1e-6)
    assert torch.equal(found[:, 1], torch.arange(8.0).expand(5, 8))
    with pytest.raises(LanternError, match=r"drawing takes \(N, 3, 48, 48\)"):
        drawing.posterior(images[..., :32, :32])
    with pytest.raises(LanternError, match=r"disc encoder takes \(N, 3, 32, 32\)"):
        plain.encode(images)
    with pytest.raises(LanternError, match="no distribution"):
        plain.posterior(images)


def test_codes_of_kindred_generators_are_accepted() -> None:
    kin = DiscGenerator()
    assert Engine(kin, EngineConfig(device="cpu")).accepted_fingerprints == ("disc-1",)
    kin.same_codes_as = ("module-1", "module-2")  # type: ignore[attr-defined]
    assert Engine(kin, EngineConfig(device="cpu")).accepted_fingerprints == ("disc-1", "module-1", "module-2")


def test_a_picture_may_be_made_in_another_precision(small_generator: Path) -> None:
    made = Engine(load_pocket(small_generator), EngineConfig(device="cpu"))
    codes, direction = made.codes(2, 0), torch.eye(12)[0]
    exact, rough = made.walk(codes, direction, (0.0, 2.0)), made.walk(codes, direction, (0.0, 2.0), "bfloat16")
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().mean() < 0.02


def test_gradients_reach_the_codes_and_the_images_are_the_same() -> None:
    made = Engine(DiscGenerator(), EngineConfig(device="cpu"))
    codes = made.codes(3, 1).requires_grad_()
    images = made.differentiable_images(codes)
    assert torch.allclose(images, made.images(codes.detach()), atol=0.02)
    images[:, :, 16, 16].sum().backward()
    assert codes.grad is not None
    assert (codes.grad[:, 0] > 0).all()
    with pytest.raises(LanternError, match="latent codes"):
        made.differentiable_images(torch.zeros(3, 5))
