"""What the stand-in for cuDNN computes of attention, as the tensors of a graph say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.cudnn.stand_in_operation import Engine, Given, Operation

if TYPE_CHECKING:
    from hpcad.backend.cudnn.stand_in_graph import Graph


def _refusal(graph: Graph) -> str:
    halves = (graph.module.data_type.HALF, graph.module.data_type.BFLOAT16)
    if graph.io_data_type not in halves:
        return "attention of other types than half ones"
    for port, t in graph.ports.items():
        dim, stride = t.layout
        if port == "stats":
            heads, rows = dim[1:3]
            if stride != (heads * rows, rows, 1, 1) or t.data_type.value != "float32":
                return "stats that are not float32 without gaps"
        elif t.data_type is not graph.io_data_type:
            return f"{port} of another type"
        elif dim[3] % 8 or dim[3] > 128 or stride[3] != 1 or any(s % 8 for s in stride[:3]):
            return f"{port} lies as {dim} by {stride}"
    queries, keys = graph.ports["q"].layout[0], graph.ports["k"].layout[0]
    if queries[2] == keys[2] == 1:
        return "one query and one key"
    return ""


def _workspace(graph: Graph) -> int:
    """Bytes: on the way back as many as scores in a half type, and sums."""
    batch, heads, queries, _ = graph.ports["q"].layout[0]
    keys = graph.ports["k"].layout[0][2]
    back = 2 * keys + 4 if "dQ" in graph.ports else 1
    return batch * heads * queries * back


def _scores(graph: Graph, given: Given) -> Any:
    scores = graph.options["attn_scale"] * np.einsum("bhqd,bhkd->bhqk", given["q"], given["k"])
    if graph.options["use_causal_mask"]:
        queries, keys = scores.shape[-2:]
        scores[..., np.arange(keys)[None, :] > np.arange(queries)[:, None]] = -np.inf
    return scores


def _forward(graph: Graph, given: Given) -> dict[str, Any]:
    scores = _scores(graph, given)
    top = scores.max(-1, keepdims=True)
    sums = top + np.log(np.exp(scores - top).sum(-1, keepdims=True))
    return {"o": np.einsum("bhqk,bhkd->bhqd", np.exp(scores - sums), given["v"]), "stats": sums}


def _back(graph: Graph, given: Given) -> dict[str, Any]:
    p, g = np.exp(_scores(graph, given) - given["stats"]), given["dO"]
    inner = (g * given["o"]).sum(-1, keepdims=True)
    ds = graph.options["attn_scale"] * p * (np.einsum("bhqd,bhkd->bhqk", g, given["v"]) - inner)
    return {
        "dQ": np.einsum("bhqk,bhkd->bhqd", ds, given["k"]),
        "dK": np.einsum("bhqk,bhqd->bhkd", ds, given["q"]),
        "dV": np.einsum("bhqk,bhqd->bhkd", p, g),
    }


def _attention(name: str, written: tuple[str, ...], compute: Any) -> Operation:
    return Operation(name, written, _refusal, _workspace, (Engine(frozenset(), compute),))


FORWARD = _attention("sdpa", ("o", "stats"), _forward)
BACK = _attention("sdpa_backward", ("dQ", "dK", "dV"), _back)
