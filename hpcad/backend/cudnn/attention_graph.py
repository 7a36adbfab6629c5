"""Attention as graphs of cuDNN: tensors and the operation."""

from __future__ import annotations

from typing import Any

from hpcad.backend.cudnn.attention_problem import FOUND_BACK, GIVEN_BACK, UID, AttentionProblem


def graph_of(cudnn: Any, problem: AttentionProblem, **where: Any) -> Any:
    """The graph of a problem.

    Parameters
    ----------
    cudnn : module
    where
        ``handle``; or ``sm_version`` (90), with which a graph is checked where there is no GPU.
    """
    types = cudnn.data_type
    kind = types.BFLOAT16 if problem.dtype == "bfloat16" else types.HALF
    graph = cudnn.pygraph(
        io_data_type=kind,
        intermediate_data_type=types.FLOAT,
        compute_data_type=types.FLOAT,
        **where,
    )
    steps = dict(problem.steps)

    def tensor(name: str) -> Any:
        return graph.tensor(
            dim=problem.shape(name), stride=steps[name], data_type=kind, uid=UID[name], name=name
        )

    def answer(made: Any, name: str, shape: Any, stride: Any, dtype: Any) -> None:
        made.set_uid(UID[name]).set_output(True).set_name(name)
        made.set_dim(shape).set_stride(stride).set_data_type(dtype)

    options = {"attn_scale": problem.scale, "use_causal_mask": problem.causal}
    shape, stride = problem.log_sums
    if not problem.backward:
        q, k, v = (tensor(name) for name in "qkv")
        out, sums = graph.sdpa(q=q, k=k, v=v, generate_stats=True, name="attention", **options)
        answer(out, "out", problem.shape("out"), steps["out"], kind)
        answer(sums, "log_sums", shape, stride, types.FLOAT)
        return graph
    q, k, v, out, g = (tensor(name) for name in GIVEN_BACK)
    sums = graph.tensor(
        dim=shape, stride=stride, data_type=types.FLOAT, uid=UID["log_sums"], name="log_sums"
    )
    found = graph.sdpa_backward(
        q=q, k=k, v=v, o=out, dO=g, stats=sums,
        use_deterministic_algorithm=True, name="attention_back", **options,
    )  # fmt: skip
    for made, name in zip(found, FOUND_BACK, strict=True):
        answer(made, name, problem.shape(name), steps[name], kind)
    return graph
