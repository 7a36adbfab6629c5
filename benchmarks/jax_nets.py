"""The networks of step_cases.py in JAX: functions of hpcad's weights, by their names.

hpcad's layouts are the ones that suit XLA on CPUs, too: weights (inputs, outputs), images N,H,W,C
and filters (KH, KW, C, K), so no weight is turned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from step_cases import Case, initial_model

Weights = dict[str, Any]


def build(case: Case, **options: Any) -> tuple[Callable[[Weights, Any], Any], Weights]:
    """Return the network, a function (weights, input) -> logits, and its first weights.

    Parameters
    ----------
    options
        Ways to write the network: what the function of its kind takes by keyword.
    """
    model: Any = initial_model(case)
    weights = {name: jnp.array(array) for name, array in model.arrays().items()}
    kind = type(model).__name__
    if kind == "CharGPT":
        heads = model.blocks[0].attention.heads
        return partial(gpt, layers=len(model.blocks), heads=heads, **options), weights
    return partial({"MLP": mlp, "CNN": cnn, "RecurrentClassifier": lstm}[kind], **options), weights


def mlp(w: Weights, x: Any) -> Any:
    """Linear layers with ReLU between them."""
    count = len(w) // 2
    for i in range(count - 1):
        x = jax.nn.relu(_linear(w, f"layers.{i}", x))
    return _linear(w, f"layers.{count - 1}", x)


def cnn(w: Weights, x: Any, layout: str = "NHWC", pooling: str = "window") -> Any:
    """Stages of 3 x 3 convolution, 2 x 2 max pooling and ReLU, then two linear layers.

    Parameters
    ----------
    layout : {"NHWC", "NCHW"}
    pooling : {"window", "reshape"}
        XLA's windowed reduction, or the maximum over two axes of a reshaped array.
    """
    images = x[..., None] if layout == "NHWC" else x[:, None]
    for i in range(sum(name.startswith("stages.") for name in w) // 2):
        filters, bias = w[f"stages.{i}.weight"], w[f"stages.{i}.bias"]
        images = lax.conv_general_dilated(
            images, filters, (1, 1), "SAME", dimension_numbers=(layout, "HWIO", layout)
        )
        images += bias if layout == "NHWC" else bias[:, None, None]
        images = jax.nn.relu(_pool(images, layout, pooling))
    if layout == "NCHW":
        images = images.transpose(0, 2, 3, 1)
    x = images.reshape(len(images), -1)
    return _linear(w, "head", jax.nn.relu(_linear(w, "hidden", x)))


def lstm(w: Weights, x: Any, unroll: int = 1) -> Any:
    """A scan over time; the products with the input are one GEMM.

    Parameters
    ----------
    unroll : int
        Times in one iteration of the loop.
    """
    recurrent = w["recurrent.recurrent_weight"]
    products = x @ w["recurrent.input_weight"] + w["recurrent.bias"]

    def cell(state: tuple[Any, Any], z: Any) -> tuple[tuple[Any, Any], None]:
        h, c = state
        i, f, o, g = jnp.split(z + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), len(recurrent)), x.dtype)
    (h, _), _ = lax.scan(cell, (zeros, zeros), products.swapaxes(0, 1), unroll=unroll)
    return _linear(w, "head", h)


def gpt(
    w: Weights,
    tokens: Any,
    layers: int,
    heads: int,
    attention: str = "library",
    embedding: str = "rows",
) -> Any:
    """Token and position embedding, blocks, and a head tied to the token embedding.

    Parameters
    ----------
    attention : {"library", "products"}
        ``jax.nn.dot_product_attention``, or batched products of (head, time, feature) arrays.
    embedding : {"rows", "product"}
        Rows by index, whose derivative is a scatter, or a product with one-hot vectors.
    """
    table = w["tokens.weight"]
    rows = table[tokens] if embedding == "rows" else jax.nn.one_hot(tokens, len(table)) @ table
    x = rows + w["positions.weight"][: tokens.shape[1]]
    attend = {"library": _library_attention, "products": _attention}[attention]
    for i in range(layers):
        name = f"blocks.{i}"
        x = x + attend(w, f"{name}.attention", _norm(w, f"{name}.norm1", x), heads)
        hidden = _linear(w, f"{name}.expand", _norm(w, f"{name}.norm2", x))
        x = x + _linear(w, f"{name}.contract", jax.nn.gelu(hidden, approximate=True))
    return _norm(w, "norm", x) @ table.T


def _library_attention(w: Weights, name: str, x: Any, heads: int) -> Any:
    n, t, width = x.shape
    parts = _linear(w, f"{name}.qkv", x).reshape(n, t, 3, heads, width // heads)
    q, k, v = (parts[:, :, i] for i in range(3))
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    return _linear(w, f"{name}.projection", mixed.reshape(n, t, width))


def _attention(w: Weights, name: str, x: Any, heads: int) -> Any:
    n, t, width = x.shape
    parts = _linear(w, f"{name}.qkv", x).reshape(n, t, 3, heads, width // heads)
    q, k, v = parts.transpose(2, 0, 3, 1, 4)
    scores = q @ k.swapaxes(-1, -2) / (width // heads) ** 0.5
    causal = jnp.tril(jnp.ones((t, t), bool))
    mixed = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf)) @ v
    return _linear(w, f"{name}.projection", mixed.transpose(0, 2, 1, 3).reshape(n, t, width))


def _pool(images: Any, layout: str, pooling: str) -> Any:
    if pooling == "window":
        window = (1, 2, 2, 1) if layout == "NHWC" else (1, 1, 2, 2)
        return lax.reduce_window(images, -jnp.inf, lax.max, window, window, "VALID")
    first = layout.index("H")
    shape = images.shape
    pairs = (shape[first] // 2, 2, shape[first + 1] // 2, 2)
    return images.reshape(*shape[:first], *pairs, *shape[first + 2 :]).max((first + 1, first + 3))


def _linear(w: Weights, name: str, x: Any) -> Any:
    bias = w.get(f"{name}.bias")
    product = x @ w[f"{name}.weight"]
    return product if bias is None else product + bias


def _norm(w: Weights, name: str, x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    x = (x - mean) * lax.rsqrt(variance + 1e-5) * w[f"{name}.scale"]
    shift = w.get(f"{name}.shift")
    return x if shift is None else x + shift
