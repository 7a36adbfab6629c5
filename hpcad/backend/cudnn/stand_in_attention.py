"""What the stand-in for cuDNN computes: attention as the tensors of a graph say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.half import named

if TYPE_CHECKING:
    from hpcad.backend.cudnn.stand_in_graph import Graph, Tensor

Spans = list[tuple[int, int]]  # addresses and bytes
WRITTEN = {"forward": ("o", "stats"), "back": ("dQ", "dK", "dV")}


def refusal(graph: Graph) -> str:
    """Why there is no plan; empty where there is one."""
    halves = (graph.module.data_type.HALF, graph.module.data_type.BFLOAT16)
    if graph.io_data_type not in halves:
        return "attention of other types than half ones"
    for port, t in graph.ports.items():
        dim, stride = _said(t)
        if port == "stats":
            heads, rows = dim[1:3]
            if stride != (heads * rows, rows, 1, 1) or t.data_type.value != "float32":
                return "stats that are not float32 without gaps"
        elif t.data_type is not graph.io_data_type:
            return f"{port} of another type"
        elif dim[3] % 8 or dim[3] > 128 or stride[3] != 1 or any(s % 8 for s in stride[:3]):
            return f"{port} lies as {dim} by {stride}"
    queries, keys = _said(graph.ports["q"])[0], _said(graph.ports["k"])[0]
    if queries[2] == keys[2] == 1:
        return "one query and one key"
    return ""


def workspace(graph: Graph) -> int:
    """Bytes: on the way back as many as scores in a half type, and sums."""
    batch, heads, queries, _ = _said(graph.ports["q"])[0]
    keys = _said(graph.ports["k"])[0][2]
    back = 2 * keys + 4 if "dQ" in graph.ports else 1
    return batch * heads * queries * back


def spans(graph: Graph, places: dict[str, int]) -> tuple[Spans, Spans]:
    """What is read, and what is written (whose gaps keep what they hold)."""
    written = _written(graph)
    reads = [_span(graph.ports[p], place) for p, place in places.items() if p not in written]
    return reads, [_span(graph.ports[p], place) for p, place in places.items() if p in written]


def compute(graph: Graph, places: dict[str, int], view: Callable[[int, int], np.ndarray]) -> None:
    """Read the operands, and write the answers."""
    at = {port: _array(graph.ports[port], place, view) for port, place in places.items()}
    given = {p: x.astype(np.float32) for p, x in at.items() if p not in _written(graph)}
    q, k, v, scale = given["q"], given["k"], given["v"], graph.options["attn_scale"]
    scores = scale * np.einsum("bhqd,bhkd->bhqk", q, k)
    if graph.options["use_causal_mask"]:
        queries, keys = scores.shape[-2:]
        scores[..., np.arange(keys)[None, :] > np.arange(queries)[:, None]] = -np.inf
    if "dQ" not in graph.ports:
        top = scores.max(-1, keepdims=True)
        sums = top + np.log(np.exp(scores - top).sum(-1, keepdims=True))
        found = {"o": np.einsum("bhqk,bhkd->bhqd", np.exp(scores - sums), v), "stats": sums}
    else:
        p, g = np.exp(scores - given["stats"]), given["dO"]
        inner = (g * given["o"]).sum(-1, keepdims=True)
        ds = scale * p * (np.einsum("bhqd,bhkd->bhqk", g, v) - inner)
        found = {
            "dQ": np.einsum("bhqk,bhkd->bhqd", ds, k),
            "dK": np.einsum("bhqk,bhqd->bhkd", ds, q),
            "dV": np.einsum("bhqk,bhqd->bhkd", p, g),
        }
    for port, answer in found.items():
        if port in at:  # what is no output is lost
            at[port][...] = answer.astype(at[port].dtype)


def _written(graph: Graph) -> tuple[str, ...]:
    return WRITTEN["back" if "dQ" in graph.ports else "forward"]


def _said(t: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and steps, which a graph that was validated has."""
    if t.dim is None or t.stride is None:
        raise RuntimeError("a tensor has no shape")
    return t.dim, t.stride


def _span(t: Tensor, place: int) -> tuple[int, int]:
    dim, stride = _said(t)
    last = sum((n - 1) * s for n, s in zip(dim, stride, strict=True))
    return place, (last + 1) * named(t.data_type.value).itemsize


def _array(t: Tensor, place: int, view: Callable[[int, int], np.ndarray]) -> Any:
    dim, stride = _said(t)
    flat = view(*_span(t, place)).view(named(t.data_type.value))
    steps = [s * flat.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(flat, dim, steps)
