"""What the stand-in for cuDNN computes of convolutions, as the tensors of a graph say.

Each has three engines, as in the library's lists: tensor cores, which round float32 to tf32; one
that adds in another order whenever it runs; and one that is exact and deterministic.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.cublaslt.stand_in_product import tf32
from hpcad.backend.cudnn.stand_in_operation import Compute, Engine, Given, Operation

if TYPE_CHECKING:
    from hpcad.backend.cudnn.stand_in_graph import Graph

Window = tuple[Any, ...]


def _refusal(graph: Graph) -> str:
    kind = graph.io_data_type
    for port, t in graph.ports.items():
        n, c, h, w = t.layout[0]
        if t.data_type is not kind:
            return f"{port} of another type than {kind.name}"
        if t.layout[1] != (h * w * c, 1, w * c, c):
            return f"{port} of {(n, c, h, w)} lies by {t.layout[1]}: features are not the last"
    return ""


def _mismatch(graph: Graph) -> str:
    """Whether images, weights and results fit each other."""
    by_role = {port.lower().removeprefix("d"): t.layout[0] for port, t in graph.ports.items()}
    x = by_role.get("image") or by_role["x"]
    w = by_role.get("weight") or by_role.get("filter") or by_role["w"]
    y = by_role.get("loss") or by_role["y"]
    said = graph.options
    slides = zip(
        x[2:], w[2:], said["pre_padding"], said["post_padding"], said["stride"], said["dilation"],
        strict=True,
    )  # fmt: skip
    pixels = tuple((n + p + q - d * (k - 1) - 1) // s + 1 for n, k, p, q, s, d in slides)
    expected = (x[0], w[0], *pixels)
    if y != expected or x[1] != w[1] or by_role.get("bias", (1, w[0], 1, 1)) != (1, w[0], 1, 1):
        return f"images {x} and weights {w} make {expected}, with a bias of each filter; not {y}"
    return ""


def _workspace(graph: Graph) -> int:
    """Bytes: as many as there are in the weights, in float32."""
    port = next(name for name in ("weight", "filter", "DW") if name in graph.ports)
    return int(4 * np.prod(graph.ports[port].layout[0]))


def _windows(graph: Graph, kernel: Any, out: Any) -> Iterator[tuple[int, int, Window]]:
    """For each element of the kernel, the padded pixels that it meets."""
    (sh, sw), (dh, dw) = graph.options["stride"], graph.options["dilation"]
    for r, s in itertools.product(range(kernel[0]), range(kernel[1])):
        rows = slice(r * dh, r * dh + sh * (out[0] - 1) + 1, sh)
        yield r, s, (..., rows, slice(s * dw, s * dw + sw * (out[1] - 1) + 1, sw))


def _padded(graph: Graph, x: Any) -> Any:
    before, after = graph.options["pre_padding"], graph.options["post_padding"]
    return np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)])


def _forward(graph: Graph, given: Given) -> dict[str, Any]:
    x, w = _padded(graph, given["image"]), given["weight"]
    out = graph.ports["Y"].layout[0]
    y = np.zeros(out, np.float32)
    for r, s, window in _windows(graph, w.shape[2:], out[2:]):
        y += np.einsum("nchw,kc->nkhw", x[window], w[:, :, r, s])
    if "bias" in given:
        y += given["bias"]
    return {"Y": np.maximum(y, 0) if graph.options.get("relu") else y}


def _input(graph: Graph, given: Given) -> dict[str, Any]:
    g, w = given["loss"], given["filter"]
    shape = graph.ports["DX"].layout[0]
    padded = _padded(graph, np.zeros(shape, np.float32))
    for r, s, window in _windows(graph, w.shape[2:], g.shape[2:]):
        padded[window] += np.einsum("nkhw,kc->nchw", g, w[:, :, r, s])
    top, left = graph.options["pre_padding"]
    return {"DX": padded[:, :, top : top + shape[2], left : left + shape[3]]}


def _weight(graph: Graph, given: Given) -> dict[str, Any]:
    x, g = _padded(graph, given["image"]), given["loss"]
    dw = np.zeros(graph.ports["DW"].layout[0], np.float32)
    for r, s, window in _windows(graph, dw.shape[2:], g.shape[2:]):
        dw[:, :, r, s] = np.einsum("nkhw,nchw->kc", g, x[window])
    return {"DW": dw}


def _by_tensor_cores(compute: Compute) -> Compute:
    return lambda graph, given: compute(graph, {port: tf32(x) for port, x in given.items()})


def _by_atomics(compute: Compute) -> Compute:
    """Every other run, answers differ as if they had been added in another order."""
    runs: Iterator[int] = itertools.count()

    def again(graph: Graph, given: Given) -> dict[str, Any]:
        factor = np.float32(1 + (next(runs) % 2) * 2.0**-12)
        return {port: factor * x for port, x in compute(graph, given).items()}

    return again


def _convolution(name: str, written: str, compute: Callable[..., dict[str, Any]]) -> Operation:
    engines = (
        Engine(frozenset({"NONDETERMINISTIC"}), _by_atomics(compute)),
        Engine(frozenset({"TENSOR_CORE"}), _by_tensor_cores(compute)),
        Engine(frozenset(), compute),
    )
    return Operation(name, (written,), _refusal, _workspace, engines, _mismatch)


FORWARD = _convolution("conv_fprop", "Y", _forward)
INPUT = _convolution("conv_dgrad", "DX", _input)
WEIGHT = _convolution("conv_wgrad", "DW", _weight)
