"""Whether a file is what it was taken for. Each check says in words what it found, or raises :class:`LanternError`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.directions.foreign import DIRECTION as ONE_DIRECTION
from explorer.directions.foreign import catalogue_of_direction, kind_of
from explorer.generators.bigbigan import check_state, read_bigbigan
from explorer.weights.known import DIRECTION, EMBEDDINGS, GENERATOR, MODULE, UNET, Known
from segmentation.errors import LanternError, require
from segmentation.foreign import load_foreign
from segmentation.unet import load_unet

LATENT_DIM = 120
_COPY = "Copy it again from where it came."
_ROWS = 1 << 16


def check(known: Known, path: Path) -> str:
    """What lies at ``path``, in words; :class:`LanternError` if it is not what is ``known``."""
    if known.width is not None:
        return {GENERATOR: check_bigbigan, UNET: check_unet}[known.kind](path, known.width)
    return {MODULE: check_module, DIRECTION: check_direction, EMBEDDINGS: check_embeddings}[known.kind](path)


def check_bigbigan(path: Path, width: int) -> str:
    """BigBiGAN's generator of that ``width``: a ported checkpoint, or a ``.safetensors`` that was converted."""
    state, _ = read_bigbigan(path)
    found = check_state(state, str(path))
    _check_width(path, found, width)
    return f"BigBiGAN's generator of width {found}"


def check_direction(path: Path) -> str:
    """One tensor of 120 finite numbers, not all zero."""
    loaded = load_foreign(path)
    numbers = loaded.numel() if kind_of(loaded) == ONE_DIRECTION else 0
    require(numbers == LATENT_DIM, f"{path} is not one tensor of {LATENT_DIM} numbers", _COPY)
    length = catalogue_of_direction(loaded, str(path)).entries[0].scores["length"]
    return f"a direction of {LATENT_DIM} numbers, of length {length:.3g}"


def check_embeddings(path: Path) -> str:
    """Latent codes: one array (N, 120) of finite floating-point numbers."""
    codes = _mapped(path)
    fits = codes.ndim == 2 and codes.shape[1] == LATENT_DIM and len(codes) > 0 and np.issubdtype(codes.dtype, np.floating)
    shape = "x".join(str(side) for side in codes.shape) or "()"
    require(fits, f"{path} is an array {shape} of {codes.dtype}, not (N, {LATENT_DIM}) of floats", _COPY)
    for start in range(0, len(codes), _ROWS):
        finite = bool(np.isfinite(codes[start : start + _ROWS]).all())
        require(finite, f"{path} holds NaN or infinity after row {start}", _COPY)
    return f"{len(codes):,} latent codes of {LATENT_DIM} numbers"


def _mapped(path: Path) -> NDArray[np.generic]:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise LanternError(f"{path} is not a .npy array, or it is cut short ({error})", _COPY) from error
    whole = array.offset + array.nbytes == path.stat().st_size
    require(whole, f"{path} goes on after its array of {array.nbytes:,} bytes", _COPY)
    return array


def check_unet(path: Path, width: int) -> str:
    """The authors' U-Net of that ``width``."""
    found = load_unet(path).net.config.width
    _check_width(path, found, width)
    return f"a U-Net of width {found}"


def check_module(path: Path) -> str:
    """A TF-Hub module: a folder of a graph that can generate, with its variables. TensorFlow is not asked."""
    graph = path / "saved_model.pb"
    require(graph.is_file(), f"{path} holds no saved_model.pb, so it is not a TF-Hub module", _COPY)
    names = graph.read_bytes()
    signatures = [name for name in ("generate", "encode", "discriminate") if name.encode() in names]
    require("generate" in signatures, f"the graph in {path} has no signature generate", _COPY)
    variables = list((path / "variables").glob("variables.data-*"))
    complete = bool(variables) and (path / "variables" / "variables.index").is_file()
    require(complete, f"{path} lacks its variables", _COPY)
    return f"a TF-Hub module that names {', '.join(signatures)}"


def _check_width(path: Path, found: int, width: int) -> None:
    require(found == width, f"{path} is of width {found}, the published one of width {width}", "Give the published file.")
