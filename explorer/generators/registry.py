"""Which generators there are, and how a name, a file, a handle or a class of one's own becomes one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from explorer.generators.base import Generator
from explorer.generators.bigbigan import KIND as BIGBIGAN
from explorer.generators.bigbigan import load_bigbigan
from explorer.generators.pocket import PocketGenerator, load_pocket
from explorer.generators.tfhub import load_tfhub
from explorer.generators.tfhub_names import is_handle
from explorer.weights.known import MODULES
from explorer.weights.store import needed
from segmentation.errors import LanternError, require
from segmentation.foreign import FOREIGN
from segmentation.tensors import read_header

ASSETS = Path(__file__).resolve().parents[2] / "assets"
POCKET = ASSETS / "pocket.safetensors"
_TYPES = {"name": str, "latent_dim": int, "resolution": int, "fingerprint": str}
_METHODS = ("generate", "to")
_OWN = "It must be callable without arguments and return a generator (explorer.generators.base.Generator)."


REGISTER: dict[str, Callable[[], Generator]] = {
    "pocket": lambda: load_pocket(POCKET),
    "bigbigan": lambda: load_bigbigan(needed("bigbigan")),
    **{name: partial(load_tfhub, name) for name in MODULES},
}
"""Generators that have a name; a program can add its own."""


def load_generator(name_or_file: str) -> Generator:
    """The generator of that name, in that weights file, at that handle, or of that class.

    A name in ``REGISTER``; a weights file (``.safetensors``, or BigBiGAN's ``.pth`` or ``.pt``); a TF-Hub module, by its
    ``http(s)://`` handle or its folder; ``module:Class`` or ``file.py:Class``, anything that returns a generator when it is
    called without arguments.

    Errors: :class:`LanternError` if there is nothing of that name, or it is no generator.
    """
    path = Path(name_or_file)
    if name_or_file in REGISTER:
        return checked(REGISTER[name_or_file](), name_or_file)
    if is_handle(name_or_file) or (name_or_file and path.is_dir()):
        return _from_hub(name_or_file)
    suffix = path.suffix.lower()
    if suffix in (".safetensors", *FOREIGN):
        remedy = f"Check the path, or give one of the names {', '.join(REGISTER)}."
        require(path.is_file(), f"the weights file {path} does not exist", remedy)
        return load_bigbigan(path) if suffix in FOREIGN or read_header(path).get("kind") == BIGBIGAN else load_pocket(path)
    place, _, attribute = name_or_file.rpartition(":")
    if place and attribute.isidentifier():
        return _own(place, attribute)
    raise LanternError(
        f"there is no generator {name_or_file!r}",
        f"Give one of the names {', '.join(REGISTER)}, a weights file ending in .safetensors, .pth or .pt, the handle or the "
        "folder of a TF-Hub module, or a class of your own as module:Class or file.py:Class.",
    )


def open_pocket(name_or_file: str) -> PocketGenerator:
    """As :func:`load_generator`, for one that was fitted here; :class:`LanternError` if it is another kind."""
    generator = load_generator(name_or_file)
    if not isinstance(generator, PocketGenerator):
        remedy = "Give pocket, or a file that fit-generator wrote (generator.safetensors)."
        raise LanternError(f"{name_or_file} is no pocket generator", remedy)
    return generator


def _from_hub(module: str) -> Generator:
    there = is_handle(module) or Path(module, "saved_model.pb").is_file()
    remedy = "Give the folder that holds its saved_model.pb, or a weights file."
    require(there, f"the folder {module} is no TF-Hub module", remedy)
    return load_tfhub(module)


def _own(place: str, attribute: str) -> Generator:
    full = f"{place}:{attribute}"
    try:
        module = _module_in(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except LanternError:
        raise
    except Exception as error:  # whatever somebody's module raises
        raise LanternError(f"{place} cannot be imported: {_said(error)}", "Mend it, or check the name.") from error
    maker = getattr(module, attribute, None)
    require(callable(maker), f"there is no {attribute} to call in {place}", _OWN)
    try:
        made = maker() if maker else None
    except LanternError:
        raise
    except Exception as error:  # whatever somebody's class raises
        raise LanternError(f"{full} cannot be made: {_said(error)}", _OWN) from error
    return checked(made, full)


def _module_in(path: Path) -> ModuleType:
    require(path.is_file(), f"{path} does not exist", "Check the path.")
    name = f"_generator_in_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Dataclasses look themselves up there while their module is still being made.
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _said(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} ({frames[-1].filename}, line {frames[-1].lineno})"


def checked(made: Any, origin: str) -> Generator:
    """``made`` itself if it keeps the protocol of :class:`Generator`.

    Errors: :class:`LanternError` that names ``origin`` and every attribute that is missing or of another kind.
    """
    require(not isinstance(made, type), f"{origin} gives the class {getattr(made, '__name__', '')}, not a generator", _OWN)
    missing = [name for name in (*_TYPES, *_METHODS) if not hasattr(made, name)]
    wrong = [
        f"{name} is {getattr(made, name)!r} instead of {'a text' if kind is str else 'a positive whole number'}"
        for name, kind in _TYPES.items()
        if name not in missing and not _fits(getattr(made, name), kind)
    ]
    wrong += [f"{name} is no method" for name in _METHODS if name not in missing and not callable(getattr(made, name))]
    faults = [f"{', '.join(missing)} missing"] if missing else []
    remedy = "A generator has name, latent_dim, resolution, fingerprint, generate(codes) and to(device)."
    require(not faults + wrong, f"{origin} is no generator: {'; '.join(faults + wrong)}", remedy)
    generator: Generator = made
    return generator


def _fits(value: Any, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str) and value != ""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
