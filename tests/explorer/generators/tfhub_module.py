"""Writes a TF1 Hub module of BigBiGAN's shape: its generator in TensorFlow's operations and layouts, a small encoder.

Everything here is written from the description of the published module, on its own: nothing of the program is used.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
ROOT = "GenEncWrapper/Generator/"
AVERAGE = "/ema_0.9999"
v1 = tf.compat.v1
tf.get_logger().setLevel("ERROR")


def module_arrays(state: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """A PyTorch ``state`` under the module's names, in its layouts."""
    arrays: Arrays = {"linear/w": state["shared.weight"][:1]}
    first = {part: state[f"linear.{part}"] for part in ("weight", "bias", "u0")}
    channels = first["bias"].size // 16
    places = first["weight"].reshape(channels, 4, 4, 20).transpose(3, 1, 2, 0)
    arrays["GenZ/G_linear/w"] = places.reshape(20, 16 * channels)
    for name, part in (("b", "bias"), ("u0", "u0")):
        arrays[f"GenZ/G_linear/{name}"] = first[part].reshape(channels, 4, 4).transpose(1, 2, 0).reshape(first[part].shape)
    for i in range(5):
        block = f"GBlock_{i}" if i > 0 else "GBlock"
        for name, key in {"conv0": "conv1", "conv1": "conv2", "conv_sc": "conv_sc"}.items():
            _conv(arrays, f"{block}/{name}", state, f"blocks.{i}.0.{key}")
        for name, key in {"BatchNorm": "bn1", "BatchNorm_1": "bn2"}.items():
            norm = f"blocks.{i}.0.{key}"
            for part, own in {"scale": "gain", "offset": "bias"}.items():
                weight = state[f"{norm}.{own}.weight"]
                arrays[f"{block}/{name}/{part}/w"] = np.concatenate([weight[:, 128:], weight[:, :128]], 1).T
                arrays[f"{block}/{name}/{part}/u0"] = state[f"{norm}.{own}.u0"]
            _statistics(arrays, f"{block}/{name}", state, norm)
    arrays["attention/gamma"] = state["blocks.3.1.gamma"]
    for name, key in {"theta": "theta", "phi": "phi", "g": "g", "o_conv": "o"}.items():
        _conv(arrays, f"attention/{name}", state, f"blocks.3.1.{key}")
    _statistics(arrays, "BatchNorm", state, "output_layer.0")
    arrays["BatchNorm/scale"] = state["output_layer.0.gain"].reshape(1, 1, 1, -1)
    arrays["BatchNorm/offset"] = state["output_layer.0.bias"].reshape(1, 1, 1, -1)
    _conv(arrays, "conv_2d", state, "output_layer.2")
    return {ROOT + name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def _conv(arrays: Arrays, name: str, state: Mapping[str, NDArray[np.float32]], key: str) -> None:
    arrays[f"{name}/w"] = state[f"{key}.weight"].transpose(2, 3, 1, 0)
    arrays[f"{name}/u0"] = state[f"{key}.u0"]
    if f"{key}.bias" in state:
        arrays[f"{name}/b"] = state[f"{key}.bias"]


def _statistics(arrays: Arrays, name: str, state: Mapping[str, NDArray[np.float32]], key: str) -> None:
    arrays[f"{name}/accumulated_mean"] = state[f"{key}.stored_mean"].reshape(1, 1, 1, -1)
    arrays[f"{name}/accumulated_var"] = state[f"{key}.stored_var"].reshape(1, 1, 1, -1)
    arrays[f"{name}/accumulation_counter"] = np.full((), 7, np.float32)


def with_averages(arrays: Arrays) -> Arrays:
    """``arrays`` as averages of weights that are a little off; the attention has none."""
    learned = ("/w", "/b", "/scale", "/offset")
    averaged = [name for name in arrays if name.endswith(learned) and "attention" not in name]
    raw = {name: 1.02 * arrays[name] + 0.005 for name in averaged}
    return {**arrays, **raw, **{name + AVERAGE: arrays[name] for name in averaged}}


def encoder_arrays(seed: int = 5) -> Arrays:
    """Weights of the small encoder and of the discriminator."""
    generator = np.random.default_rng(seed)
    shapes = {
        "Encoder/mean/w": (192, 120),
        "Encoder/stdev/w": (192, 120),
        "Discriminator/x/w": (48, 1),
        "Discriminator/z/w": (120, 1),
    }
    return {f"GenEncWrapper/{name}": (0.1 * generator.standard_normal(s)).astype(np.float32) for name, s in shapes.items()}


def write_module(
    folder: Path,
    arrays: Arrays,
    signatures: tuple[str, ...] = ("generate", "encode", "discriminate"),
    averages: bool = True,
    reference_variables: bool = False,
    sides: bool = True,
) -> Path:
    """Write a module with the variables ``arrays``; its graph uses the averages where there are any, or the raw weights.

    ``reference_variables`` are what TensorFlow 1 made by default; without ``sides`` the graph leaves the size of pictures open.
    """
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        held: dict[str, Any] = {}
        feeds: dict[Any, Any] = {}
        for name, array in arrays.items():
            # Fed when initialised, so that the graph does not hold the numbers a second time.
            start = v1.placeholder(tf.float32, array.shape)
            held[name] = v1.get_variable(name, initializer=start, use_resource=not reference_variables)
            feeds[start] = array
        makers = {"generate": _generate, "encode": _encode, "discriminate": _discriminate}
        defined = {name: makers[name](_Weights(held, averages), sides) for name in signatures}
        session.run(v1.global_variables_initializer(), feeds)
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], signature_def_map=defined)
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


class _Weights:
    """The variables below a scope, averages first."""

    def __init__(self, held: Mapping[str, Any], averages: bool, scope: str = "GenEncWrapper") -> None:
        self._held, self._averages, self._scope = held, averages, scope

    def __truediv__(self, scope: str) -> _Weights:
        return _Weights(self._held, self._averages, f"{self._scope}/{scope}")

    def __getitem__(self, name: str) -> Any:
        full = f"{self._scope}/{name}"
        average = full + AVERAGE
        return tf.convert_to_tensor(self._held[average if self._averages and average in self._held else full])

    def __contains__(self, name: str) -> bool:
        return f"{self._scope}/{name}" in self._held

    def normalised(self) -> Any:
        """The weight ``w`` divided by its largest singular value, as the stored vector ``u0`` gives it."""
        weight = self["w"]
        matrix = tf.reshape(weight, (-1, weight.shape[-1]))
        right = _unit(tf.matmul(self["u0"], matrix, transpose_b=True))
        along = tf.matmul(right, matrix)
        return weight / tf.reduce_sum(along * _unit(along))


def _unit(vector: Any) -> Any:
    return vector / tf.maximum(tf.norm(vector), 1e-4)


def _signature(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    tensors = [{name: v1.saved_model.build_tensor_info(t) for name, t in part.items()} for part in (inputs, outputs)]
    return v1.saved_model.build_signature_def(*tensors, method_name="")


def _generate(weights: _Weights, sides: bool) -> Any:
    z = v1.placeholder(tf.float32, (None, 120))
    images = _images(weights / "Generator", z)
    open_images = v1.placeholder_with_default(images, (None, None, None, 3))
    upsampled = tf.image.resize(images, (256, 256))
    return _signature({"z": z}, {"default": images if sides else open_images, "upsampled": upsampled})


def _images(weights: _Weights, z: Any) -> Any:
    chunks = tf.split(z, 6, axis=1)
    shared = tf.matmul(tf.ones((tf.shape(z)[0], 1)), weights["linear/w"])
    first = weights / "GenZ/G_linear"
    h = tf.matmul(chunks[0], first.normalised()) + first["b"]
    h = tf.reshape(h, (-1, 4, 4, h.shape[-1] // 16))
    for i in range(5):
        block = weights / (f"GBlock_{i}" if i else "GBlock")
        condition = tf.concat([chunks[i + 1], shared], 1)
        inner = _convolved(block / "conv0", _doubled(tf.nn.relu(_conditional(block / "BatchNorm", h, condition))))
        inner = _convolved(block / "conv1", tf.nn.relu(_conditional(block / "BatchNorm_1", inner, condition)))
        h = inner + _convolved(block / "conv_sc", _doubled(h))
        h = _attended(weights / "attention", h) if i == 3 else h
    norm = weights / "BatchNorm"
    h = _standard(norm, h, 1e-5) * norm["scale"] + norm["offset"]
    return tf.tanh(_convolved(weights / "conv_2d", tf.nn.relu(h)))


def _convolved(weights: _Weights, h: Any) -> Any:
    h = tf.nn.conv2d(h, weights.normalised(), 1, "SAME")
    return h + weights["b"] if "b" in weights else h


def _doubled(h: Any) -> Any:
    return tf.repeat(tf.repeat(h, 2, axis=1), 2, axis=2)


def _standard(weights: _Weights, h: Any, eps: float) -> Any:
    return (h - weights["accumulated_mean"]) / tf.sqrt(weights["accumulated_var"] + eps)


def _conditional(weights: _Weights, h: Any, condition: Any) -> Any:
    scale, offset = (tf.matmul(condition, (weights / part).normalised())[:, None, None] for part in ("scale", "offset"))
    return _standard(weights, h, 1e-4) * (1 + scale) + offset


def _attended(weights: _Weights, h: Any) -> Any:
    _, high, wide, channels = h.shape
    theta, phi, g = (_convolved(weights / part, h) for part in ("theta", "phi", "g"))
    phi, g = (tf.nn.max_pool2d(part, 2, 2, "VALID") for part in (phi, g))
    queries, keys, values = (tf.reshape(part, (-1, part.shape[1] * part.shape[2], part.shape[3])) for part in (theta, phi, g))
    seen = tf.matmul(tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True)), values)
    seen = tf.reshape(seen, (-1, high, wide, channels // 2))
    return h + weights["gamma"] * _convolved(weights / "o_conv", seen)


def _encode(weights: _Weights, sides: bool) -> Any:
    side = 256 if sides else None
    x = v1.placeholder(tf.float32, (None, side, side, 3))
    features = tf.reshape(tf.nn.avg_pool2d(x, 32, 32, "VALID"), (-1, 192))
    mean = tf.matmul(features, weights["Encoder/mean/w"])
    stdev = tf.nn.softplus(tf.matmul(features, weights["Encoder/stdev/w"]))
    sample = mean + stdev * tf.random.normal(tf.shape(mean))
    return _signature({"x": x}, {"default": features, "z_mean": mean, "z_stdev": stdev, "z_sample": sample})


def _discriminate(weights: _Weights, _: bool) -> Any:
    x, z = v1.placeholder(tf.float32, (None, 128, 128, 3)), v1.placeholder(tf.float32, (None, 120))
    pooled = tf.reshape(tf.nn.avg_pool2d(x, 32, 32, "VALID"), (-1, 48))
    score_x = tf.matmul(pooled, weights["Discriminator/x/w"])[:, 0]
    score_z = tf.matmul(z, weights["Discriminator/z/w"])[:, 0]
    return _signature({"x": x, "z": z}, {"score_xz": score_x + score_z, "score_x": score_x, "score_z": score_z})
