"""BigBiGAN as its authors published it: a TF-Hub module, run by TensorFlow on the CPU, or turned into the PyTorch form."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.generators.base import Generator
from explorer.generators.bigbigan import FoldedBigBiGAN, unfolded
from explorer.generators.tfhub_names import REMEDY, is_handle, module_name, to_pytorch
from explorer.weights.known import MODULES
from explorer.weights.store import home, installed, needed
from segmentation.errors import LanternError, require

_LATENT_DIM, _RESOLUTION, _ENCODER_RESOLUTION, _COLOURS = 120, 128, 256, 3


class TfHubGenerator:
    """The generator of a TF-Hub module (signature ``generate``): latent codes (B, 120) to images of 128 pixels.

    TensorFlow keeps to the CPU, so that the GPU's memory is left to PyTorch; what it gives goes to the device asked for.
    No gradients pass.
    """

    def __init__(self, module: Any, name: str, fingerprint: str) -> None:
        # The signatures hold on to the module only weakly.
        self._module = module
        self._generate = _signature(module, name, "generate", "z", ("default",))
        self.name = name
        self.fingerprint = fingerprint
        self.latent_dim = int(_input(self._generate, "z").shape[-1] or _LATENT_DIM)
        self.resolution = int(self._generate.structured_outputs["default"].shape[1] or _RESOLUTION)
        self.device = torch.device("cpu")

    def to(self, target: torch.device) -> TfHubGenerator:
        """Itself; its images and latent codes come on ``target`` from now on."""
        self.device = target
        return self

    def generate(self, codes: Tensor) -> Tensor:
        """Images (B, 3, 128, 128), float32 in [-1, 1], for latent ``codes`` (B, 120).

        Errors: :class:`LanternError` if gradients are asked for, or TensorFlow cannot.
        """
        if codes.requires_grad and torch.is_grad_enabled():
            remedy = "Turn it into PyTorch first: python -m explorer convert --module MODULE --out FILE.safetensors."
            raise LanternError(f"no gradients pass through the TF-Hub module {self.name}", remedy)
        (images,) = self._run(self._generate, "z", codes, "default")
        return images.permute(0, 3, 1, 2).contiguous()

    def _run(self, signature: Any, argument: str, values: Tensor, *names: str) -> list[Tensor]:
        tensorflow = _tensorflow()
        array = values.detach().to("cpu", torch.float32).numpy()
        problem = f"TensorFlow could not run the module {self.name} on {len(array)} at once"
        with _explained(problem, "Choose a smaller batch size."), tensorflow.device("/CPU:0"):
            outputs = signature(**{argument: tensorflow.constant(array)})
            arrays = [np.array(outputs[name], np.float32) for name in names]
        return [torch.from_numpy(array).to(self.device) for array in arrays]


class TfHubBigBiGAN(TfHubGenerator):
    """A module that has the encoder as well (signature ``encode``): images of 256 pixels to latent codes."""

    def __init__(self, module: Any, name: str, fingerprint: str) -> None:
        super().__init__(module, name, fingerprint)
        self._encode = _signature(module, name, "encode", "x", ("z_sample", "z_mean", "z_stdev"))
        self.encoder_resolution = int(_input(self._encode, "x").shape[1] or _ENCODER_RESOLUTION)

    def encode(self, images: Tensor, mean: bool = False) -> Tensor:
        """Latent codes (B, 120), float32, for ``images`` (B, 3, 256, 256), float in [-1, 1].

        They are drawn anew at every call from the distribution that the encoder gives (``z_sample``, what the paper
        embeds images with); with ``mean`` they are its mean. Errors: :class:`LanternError` if the images have another
        shape, or TensorFlow cannot.
        """
        return self._codes(images, "z_mean" if mean else "z_sample")

    def posterior(self, images: Tensor) -> Tensor:
        """Mean and standard deviation (B, 2, 120) of that distribution, for ``images`` as in :meth:`encode`."""
        return self._codes(images, "z_mean", "z_stdev").unflatten(1, (2, -1))

    def _codes(self, images: Tensor, *outputs: str) -> Tensor:
        side = self.encoder_resolution
        fits = images.dim() == 4 and tuple(images.shape[1:]) == (_COLOURS, side, side)
        require(fits, f"the images have shape {tuple(images.shape)}", f"{self.name} encodes (N, {_COLOURS}, {side}, {side}).")
        return torch.cat(self._run(self._encode, "x", images.permute(0, 2, 3, 1), *outputs), 1)


class Conversion(NamedTuple):
    """A TF-Hub module in its PyTorch form, and how the two compare."""

    state: dict[str, Tensor]
    """The weights under the keys of the ported checkpoint."""
    fingerprint: str
    """The module's."""
    difference: float
    """Largest absolute difference of any pixel, in [-1, 1], of the images that the two make of the same latent codes."""
    passed_over: list[str]
    """Variables of the generator that only training needs."""


def load_tfhub(handle: str) -> TfHubGenerator:
    """The generator of the TF-Hub module ``handle``, with its encoder, if it has one.

    ``handle`` is a URL, the path of a folder, or the name of an installed module of the paper (:data:`MODULES`).

    A URL is fetched once, unless ``python -m explorer weights`` has installed it, into ``tfhub`` in the folder of installed
    weights, or where ``TFHUB_CACHE_DIR`` says. Errors: :class:`LanternError` if TensorFlow is not installed, the module
    cannot be fetched or read, or it has no signature ``generate``.
    """
    return _load(_folder(handle), handle)


def convert_module(handle: str, count: int = 8, seed: int = 0) -> Conversion:
    """The TF-Hub module ``handle`` in its PyTorch form, compared with it on ``count`` latent codes drawn by ``seed``.

    Errors: :class:`LanternError` as of :func:`load_tfhub` and :func:`to_pytorch`, which lists names that do not match.
    """
    folder = _folder(handle)
    state, passed_over = to_pytorch(_variables(folder, handle), handle)
    theirs = _load(folder, handle)
    codes = torch.randn((count, theirs.latent_dim), generator=torch.Generator().manual_seed(seed))
    difference = _difference(FoldedBigBiGAN(unfolded(state, handle)), theirs, codes)
    return Conversion(state, theirs.fingerprint, difference, passed_over)


def _difference(ours: Generator, theirs: Generator, codes: Tensor) -> float:
    sizes = [(one.latent_dim, one.resolution) for one in (ours, theirs)]
    require(sizes[0] == sizes[1], f"{theirs.name} makes other images than BigBiGAN: {sizes[1]}, not {sizes[0]}", REMEDY)
    with torch.inference_mode():
        differences = [(ours.generate(z) - theirs.generate(z)).abs().max() for z in codes.split(4)]
    # Not Python's max(), which passes over NaN.
    return float(torch.stack(differences).max())


def _tensorflow() -> Any:
    """TensorFlow, imported when first asked for, silent and without a GPU."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silenced():
            import tensorflow
    except ImportError as error:
        raise _not_installed(error) from error
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Refused once TensorFlow has been used in this process; whoever did so has decided about the GPU.
    with contextlib.suppress(RuntimeError):
        tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep from standard error what TensorFlow writes there, past Python, before it reads its log level."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _tensorflow_hub() -> Any:
    _tensorflow()
    try:
        with warnings.catch_warnings():
            # It warns that pkg_resources, which it imports, is going to go away.
            warnings.simplefilter("ignore")
            import tensorflow_hub
    except ImportError as error:
        raise _not_installed(error) from error
    return tensorflow_hub


def _not_installed(error: ImportError) -> LanternError:
    packages = '"tensorflow>=2.20,<2.22" tensorflow-hub==0.16.1 "setuptools<81"'
    return LanternError(f"TensorFlow, which reads TF-Hub modules, cannot be imported ({error})", f"pip install {packages}.")


@contextlib.contextmanager
def _explained(problem: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except LanternError:
        raise
    except Exception as error:  # TensorFlow answers with errors of many kinds, KeyError and AssertionError among them.
        lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
        raise LanternError(f"{problem} ({lines[0].strip()[:300]})", remedy) from error


def _folder(handle: str) -> str:
    """Where the module lies, fetched first if ``handle`` is a URL of one that is not installed."""
    if handle in MODULES:
        return str(needed(handle))
    known = next((name for name, own in MODULES.items() if own == handle), None)
    if known is not None and (there := installed(known)) is not None:
        return str(there)
    path = Path(handle)
    if is_handle(handle):
        return _fetched(handle)
    require(path.exists(), f"there is no TF-Hub module {handle}", REMEDY)
    require(path.is_dir(), f"{handle} is a file, not a TF-Hub module", "Unpack it, and give the path of the folder.")
    found = (path / "saved_model.pb").is_file()
    require(found, f"{handle} holds no saved_model.pb, so it is not a TF-Hub module", REMEDY)
    return handle


def _fetched(handle: str) -> str:
    # By itself TensorFlow Hub takes the folder for temporary files.
    os.environ.setdefault("TFHUB_CACHE_DIR", str(home() / "tfhub"))
    remedy = (
        "Check the handle and the connection; python -m explorer weights --install goes on with a download that broke off, "
        "and a module that was fetched elsewhere is given as the folder it was unpacked to."
    )
    with _explained(f"the TF-Hub module {handle} could not be fetched", remedy):
        return str(_tensorflow_hub().resolve(handle))


def _load(folder: str, handle: str) -> TfHubGenerator:
    tensorflow, hub = _tensorflow(), _tensorflow_hub()
    with _explained(*_broken(handle)), tensorflow.device("/CPU:0"):
        module = hub.load(folder)
        digest = _digest(Path(folder))
    kind = TfHubBigBiGAN if "encode" in module.signatures else TfHubGenerator
    return kind(module, module_name(handle), digest)


def _digest(folder: Path) -> str:
    """Sixteen hexadecimal digits of the module's files: its graph and its weights."""
    digest = hashlib.sha256()
    for path in [folder / "saved_model.pb", *sorted((folder / "variables").iterdir())]:
        digest.update(f"{path.name} {path.stat().st_size}".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _variables(folder: str, handle: str) -> dict[str, NDArray[Any]]:
    """The module's numbers by the name of their variable.

    They come from its checkpoint: of modules as old as these, TensorFlow 2 need not list the variables.
    """
    tensorflow = _tensorflow()
    with _explained(*_broken(handle)):
        reader = tensorflow.train.load_checkpoint(str(Path(folder, "variables", "variables")))
        types = reader.get_variable_to_dtype_map()
        names = sorted(name for name, kind in types.items() if kind.is_floating or kind.is_integer)
        return {name: np.asarray(reader.get_tensor(name)) for name in names}


def _broken(handle: str) -> tuple[str, str]:
    return f"the TF-Hub module {handle} is broken, or not all there", "Delete it, and fetch it again."


def _signature(module: Any, source: str, name: str, argument: str, outputs: tuple[str, ...]) -> Any:
    """The signature ``name``, refused unless it takes ``argument`` and gives ``outputs``."""
    known = sorted(module.signatures)
    found = f"it has {', '.join(known)}" if known else "it has none"
    require(name in known, f"the TF-Hub module {source} has no signature {name}; {found}", REMEDY)
    signature = module.signatures[name]
    missing = sorted({argument} - set(signature.structured_input_signature[1]))
    missing += sorted(set(outputs) - set(signature.structured_outputs))
    require(not missing, f"the signature {name} of the TF-Hub module {source} lacks {', '.join(missing)}", REMEDY)
    return signature


def _input(signature: Any, argument: str) -> Any:
    return signature.structured_input_signature[1][argument]
