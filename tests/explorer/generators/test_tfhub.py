from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explorer.engine import Engine
from explorer.generators.base import Generator
from explorer.generators.bigbigan import load_bigbigan
from explorer.generators.registry import load_generator
from explorer.generators.tfhub import TfHubBigBiGAN, TfHubGenerator, _digest, convert_module, load_tfhub
from explorer.generators.tfhub_names import to_pytorch
from explorer.weights.installing import install
from segmentation.errors import LanternError
from segmentation.tensors import load_tensors
from tests.explorer.generators.tfhub_module import (
    AVERAGE,
    ROOT,
    Arrays,
    encoder_arrays,
    module_arrays,
    with_averages,
    write_module,
)
from tests.explorer.test_commands import run

FIXTURES = Path(__file__).parents[2] / "fixtures"
State = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def ported() -> State:
    """A checkpoint of the authors' port, its weights as arrays."""
    loaded = torch.load(FIXTURES / "bigbigan_ch4.pth", weights_only=True)
    return {key: tensor.numpy() for key, tensor in loaded.items() if not key.endswith("sv0")}


@pytest.fixture(scope="module")
def pictures() -> dict[str, NDArray[np.float32]]:
    """Latent codes ``z``, and the ``images`` that the authors' code makes of them with these weights."""
    with np.load(FIXTURES / "bigbigan_ch4.npz") as file:
        return {"z": file["z"], "images": file["images"]}


@pytest.fixture(scope="module")
def arrays(ported: State) -> Arrays:
    return with_averages(module_arrays(ported))


@pytest.fixture(scope="module")
def module(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with reference variables, what TensorFlow made by default when the real ones were written."""
    folder = tmp_path_factory.mktemp("hub") / "small-bigbigan" / "1"
    return write_module(folder, {**arrays, **encoder_arrays()}, reference_variables=True)


@pytest.fixture(scope="module")
def loaded(module: Path) -> TfHubBigBiGAN:
    generator = load_tfhub(str(module))
    assert isinstance(generator, TfHubBigBiGAN)
    return generator


@pytest.fixture(scope="module")
def raw_module(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module without encoder whose graph uses the raw weights, where a conversion takes their averages."""
    return write_module(tmp_path_factory.mktemp("hub") / "raw", arrays, ("generate",), averages=False)


@pytest.fixture
def photographs() -> torch.Tensor:
    return torch.rand((2, 3, 256, 256), generator=torch.Generator().manual_seed(1)) * 2 - 1


def expected_codes(photographs: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means and deviations that the written encoder must give, by NumPy."""
    blocks = photographs.numpy().reshape(-1, 3, 8, 32, 8, 32).mean((3, 5))
    features = blocks.transpose(0, 2, 3, 1).reshape(len(blocks), -1)
    weights = encoder_arrays()
    mean, raw = (features @ weights[f"GenEncWrapper/Encoder/{part}/w"] for part in ("mean", "stdev"))
    return mean, np.log1p(np.exp(raw))


def test_generates_the_images_of_the_reference(loaded: TfHubGenerator, pictures: dict[str, NDArray[np.float32]]) -> None:
    assert (loaded.name, loaded.latent_dim, loaded.resolution) == ("small-bigbigan", 120, 128)
    images = loaded.generate(torch.from_numpy(pictures["z"]))
    assert images.dtype == torch.float32 and images.shape == (3, 3, 128, 128)
    assert np.abs(images.numpy() - pictures["images"]).max() < 1e-3


def test_an_engine_drives_it(loaded: TfHubGenerator, pictures: dict[str, NDArray[np.float32]]) -> None:
    engine = Engine(loaded)
    assert engine.can_encode and engine.latent_dim == 120
    assert np.abs(engine.images(torch.from_numpy(pictures["z"])).numpy() - pictures["images"]).max() < 1e-3
    with pytest.raises(LanternError, match="explorer convert --module"):
        engine.differentiable_images(torch.zeros(1, 120, requires_grad=True))


def test_encodes_to_the_mean_and_to_samples_around_it(loaded: TfHubBigBiGAN, photographs: torch.Tensor) -> None:
    mean, deviation = expected_codes(photographs)
    assert loaded.encoder_resolution == 256
    assert np.allclose(loaded.encode(photographs, mean=True).numpy(), mean, atol=1e-5)
    assert np.allclose(loaded.posterior(photographs).numpy(), np.stack([mean, deviation], 1), atol=1e-5)
    samples = np.stack([loaded.encode(photographs).numpy() for _ in range(40)])
    noise = (samples - mean) / deviation
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05
    with pytest.raises(LanternError, match=r"\(2, 3, 128, 128\).*\(N, 3, 256, 256\)"):
        loaded.encode(photographs[:, :, ::2, ::2])


def test_every_weight_arrives_where_the_port_has_it(module: Path, ported: State) -> None:
    conversion = convert_module(str(module), count=2)
    assert conversion.difference < 1e-4
    assert set(conversion.state) == set(ported)
    shared = conversion.state.pop("shared.weight").numpy()
    assert np.array_equal(shared, np.repeat(ported["shared.weight"][:1], 1000, 0))
    assert all(np.array_equal(tensor.numpy(), ported[key]) for key, tensor in conversion.state.items())
    assert len(conversion.passed_over) == 11 and all("accumulation_counter" in name for name in conversion.passed_over)


def test_convert_writes_what_makes_the_same_images(
    module: Path,
    loaded: TfHubGenerator,
    pictures: dict[str, NDArray[np.float32]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "bigbigan.safetensors"
    assert run("convert", "--module", module, "--out", out) == 0
    said = capsys.readouterr().out
    assert float(said.split("latent codes: ")[1]) < 1e-4 and "11 variables passed over" in said
    images = load_bigbigan(out).generate(torch.from_numpy(pictures["z"]))
    assert np.abs(images.numpy() - pictures["images"]).max() < 1e-3
    assert load_tensors(out)[1]["module_fingerprint"] == loaded.fingerprint


def test_convert_refuses_a_module_that_makes_other_images(
    raw_module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "raw.safetensors"
    assert run("convert", "--module", raw_module, "--out", out) == 2
    said = capsys.readouterr().err
    assert "largest difference on 8 latent codes: " in said and "--tolerance" in said
    assert not out.parent.exists()


def test_convert_lists_every_name_that_does_not_match_and_writes_nothing(
    raw_module: Path,
    arrays: Arrays,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    renamed = dict(arrays)
    for suffix in ("", AVERAGE):
        renamed[f"{ROOT}GBlock_9/conv1/w{suffix}"] = renamed.pop(f"{ROOT}GBlock_2/conv1/w{suffix}")
    del renamed[f"{ROOT}attention/gamma"], renamed[f"{ROOT}conv_2d/u0"]
    renamed[f"{ROOT}conv_2d/b{AVERAGE}"] = np.zeros(5, np.float32)
    renamed[f"{ROOT}GBlock/conv0/w{AVERAGE}"] = np.zeros((3, 3, 64), np.float32)
    renamed[f"{ROOT}extra"] = np.zeros((2, 2), np.float32)
    # The graph stays that of the whole module; only what is stored of its variables changes.
    folder, other = shutil.copytree(raw_module, tmp_path / "module"), write_module(tmp_path / "other", renamed, ())
    shutil.rmtree(folder / "variables")
    shutil.move(other / "variables", folder / "variables")
    out = tmp_path / "out" / "file.safetensors"
    assert run("convert", "--module", folder, "--out", out) == 2
    said = capsys.readouterr().err
    lines = {line.split(":")[0].strip(): set(line.split(": ")[1].split(", ")) for line in said.splitlines() if ROOT in line}
    assert lines["missing"] == {f"{ROOT}GBlock_2/conv1/w", f"{ROOT}attention/gamma", f"{ROOT}conv_2d/u0"}
    assert lines["not used"] == {f"{ROOT}GBlock_9/conv1/w", f"{ROOT}extra"}
    assert f"{ROOT}conv_2d/b (5,) instead of (3,)" in said
    assert f"{ROOT}GBlock/conv0/w (3, 3, 64) instead of (3, 3, 64, 64)" in said
    assert not out.parent.exists()


def test_names_are_matched_under_another_scope(arrays: Arrays, ported: State) -> None:
    moved = {name.replace("GenEncWrapper", "module/Wrapper") + ":0": array for name, array in arrays.items()}
    moved["Other/Generator/unrelated"] = np.zeros(3, np.float32)
    state, _ = to_pytorch(moved, "it")
    assert np.array_equal(state["linear.weight"].numpy(), ported["linear.weight"])


def test_raw_weights_are_taken_where_there_is_no_average(arrays: Arrays, ported: State) -> None:
    name = f"{ROOT}GBlock_1/conv_sc/b"
    without = {key: array for key, array in arrays.items() if key != name + AVERAGE}
    assert not np.array_equal(arrays[name], ported["blocks.1.0.conv_sc.bias"])
    assert np.array_equal(to_pytorch(without, "it")[0]["blocks.1.0.conv_sc.bias"].numpy(), arrays[name])


def test_a_module_of_something_else_is_refused_by_its_names() -> None:
    with pytest.raises(LanternError, match=r"no variables named GenEncWrapper/Generator/\.\.\.; it has dense/kernel"):
        to_pytorch({"dense/kernel": np.zeros(3)}, "it")
    with pytest.raises(LanternError, match="bigbigan-resnet50"):
        to_pytorch({}, "it")


def test_resource_variables_and_open_sizes_are_read_too(
    arrays: Arrays, tmp_path: Path, pictures: dict[str, NDArray[np.float32]], photographs: torch.Tensor
) -> None:
    everything = {**arrays, **encoder_arrays()}
    folder = write_module(tmp_path / "new", everything, ("generate", "encode"), sides=False)
    generator = load_tfhub(str(folder))
    assert isinstance(generator, TfHubBigBiGAN)
    assert (generator.resolution, generator.encoder_resolution) == (128, 256)
    assert np.abs(generator.generate(torch.from_numpy(pictures["z"])).numpy() - pictures["images"]).max() < 1e-3
    assert np.allclose(generator.encode(photographs, mean=True).numpy(), expected_codes(photographs)[0], atol=1e-5)


def test_without_encode_it_still_generates(raw_module: Path, pictures: dict[str, NDArray[np.float32]]) -> None:
    engine = Engine(load_tfhub(str(raw_module)))
    images = engine.images(torch.from_numpy(pictures["z"]))
    assert images.shape == (3, 3, 128, 128) and images.std(0).mean() > 0.01
    assert not engine.can_encode
    with pytest.raises(LanternError, match="raw has no encoder"):
        engine.encode(torch.zeros(1, 3, 256, 256))


def test_without_generate_it_is_refused(tmp_path: Path) -> None:
    folder = write_module(tmp_path / "encoder", encoder_arrays(), ("encode",))
    with pytest.raises(LanternError, match="has no signature generate; it has encode"):
        load_tfhub(str(folder))


def test_the_fingerprint_follows_the_weights(loaded: TfHubGenerator, module: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(module, tmp_path / "copy")
    assert _digest(copy) == loaded.fingerprint
    data = copy / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    # TensorFlow itself would refuse to load this, for its checksum.
    assert _digest(copy) != loaded.fingerprint


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"\xffnonsense"), "is broken"),
        (lambda folder: os.truncate(folder / "saved_model.pb", 1000), "is broken"),
        (lambda folder: shutil.rmtree(folder / "variables"), "is broken"),
        (lambda folder: os.truncate(folder / "variables/variables.data-00000-of-00001", 5000), "is broken"),
        (lambda folder: (folder / "saved_model.pb").unlink(), "holds no saved_model.pb"),
        (shutil.rmtree, "there is no TF-Hub module"),
    ],
)
def test_a_broken_module_is_refused_in_words(module: Path, tmp_path: Path, harm, said: str) -> None:
    copy = shutil.copytree(module, tmp_path / "copy")
    harm(copy)
    for use in (load_tfhub, convert_module):
        with pytest.raises(LanternError, match=said) as caught:
            use(str(copy))
        assert caught.value.remedy and "Traceback" not in str(caught.value)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "module.tar.gz").write_bytes(b"x")
    with pytest.raises(LanternError, match="Unpack it"):
        load_tfhub(str(tmp_path / "module.tar.gz"))


@pytest.fixture
def server(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with the module as an archive, as TF Hub serves it, and a broken one."""
    site, cache = tmp_path / "site", tmp_path / "cache"
    (site / "small").mkdir(parents=True)
    with tarfile.open(site / "small" / "1", "w:gz") as archive:
        archive.add(module, ".")
    (site / "broken").write_bytes(b"<html>no module</html>")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cache))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, directory=str(site), **named)  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_handle_is_fetched_once(
    server: str, tmp_path: Path, loaded: TfHubGenerator, pictures: dict[str, NDArray[np.float32]]
) -> None:
    generator = load_tfhub(f"{server}/small/1")
    assert (generator.name, generator.fingerprint) == ("small", loaded.fingerprint)
    assert np.abs(generator.generate(torch.from_numpy(pictures["z"])).numpy() - pictures["images"]).max() < 1e-3
    shutil.rmtree(tmp_path / "site")
    assert load_tfhub(f"{server}/small/1").fingerprint == loaded.fingerprint


@pytest.mark.parametrize("load", [load_tfhub, load_generator])
@pytest.mark.parametrize("handle", ["https://tfhub.dev/deepmind/bigbigan-resnet50/1", "bigbigan-resnet50"])
def test_an_installed_module_is_not_fetched(
    load: Callable[[str], Generator],
    handle: str,
    module: Path,
    loaded: TfHubGenerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    install("bigbigan-resnet50", module)
    generator = load(handle)
    assert (generator.name, generator.fingerprint) == ("bigbigan-resnet50", loaded.fingerprint)
    assert not (tmp_path / "cache").exists()


def test_a_handle_that_cannot_be_fetched_is_refused_in_words(server: str) -> None:
    for handle in (f"{server}/nothing/1", f"{server}/broken", "http://127.0.0.1:1/deepmind/bigbigan-resnet50/1"):
        with pytest.raises(LanternError, match=f"the TF-Hub module {handle} could not be fetched") as caught:
            load_tfhub(handle)
        assert "the connection" in caught.value.remedy


def test_tensorflow_comes_only_when_asked_for_and_says_nothing(module: Path) -> None:
    script = (
        "import sys, torch\n"
        "from explorer.commands import converting\n"
        "from explorer.generators.tfhub import load_tfhub\n"
        "assert 'tensorflow' not in sys.modules\n"
        f"generator = load_tfhub({str(module)!r})\n"
        "generator.generate(torch.zeros(1, 120)), generator.encode(torch.zeros(1, 3, 256, 256))\n"
        "import tensorflow\n"
        "assert tensorflow.config.get_visible_devices('GPU') == []\n"
        "print('heard', file=sys.stderr)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "heard\n")


def test_without_tensorflow_it_says_what_to_install(module: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "from explorer.__main__ import exit_code\n"
        "from explorer.generators.tfhub import load_tfhub\n"
        f"sys.exit(exit_code(lambda: load_tfhub({str(module)!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and 'pip install "tensorflow' in done.stderr
