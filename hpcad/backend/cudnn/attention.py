"""Attention by cuDNN for compiled steps: everything is settled before the call."""

from __future__ import annotations

from typing import Any

from hpcad.backend.cudnn.attention_graph import graph_of
from hpcad.backend.cudnn.attention_problem import UID, problem_of
from hpcad.backend.cudnn.context import context_of
from hpcad.backend.cudnn.plan import BoundCall, plan_of


class BoundAttention(BoundCall):
    """Attention on arrays at known places; see :func:`bind_attention`."""


def bind_attention(
    xp: Any, q: Any, k: Any, v: Any, out: Any, log_sums: Any, *, causal: bool
) -> BoundAttention | None:
    """Prepare ``out = softmax(q k^T / sqrt(D)) v`` and the logarithms of its sums.

    Binding asks cuDNN for a plan, which takes it a while for the first of a kind. The first call
    on a stream allocates, so that it must not be captured; later ones only enqueue. Not yet run
    on a GPU.

    Parameters
    ----------
    xp : module
        ``cupy``, or the strict device.
    q, k, v : device arrays, shapes (B, H, T, D), (B, H, S, D), (B, H, S, D)
        Bfloat16 or float16, D a multiple of 8 and at most 128; parts of a larger array will do.
    out : device array, shape (B, H, T, D)
    log_sums : device array, shape (B, H, T)
        Float32, without gaps: ``log sum exp(q k^T / sqrt(D))`` over keys, which is what cuDNN
        calls stats, the largest score plus the logarithm of the sum.
    causal : bool
        Queries see no later keys; then T = S.

    Returns
    -------
    callable or None
        None where cuDNN is not asked for, or has no plan: hpcad's kernels do it.

    Raises
    ------
    DeviceError
        cuDNN is asked for (``HPCAD_CUDNN=1``) and is not there.
    """
    return _bound(xp, {"q": q, "k": k, "v": v, "out": out}, log_sums, causal)


def bind_attention_back(
    xp: Any, q: Any, k: Any, v: Any, out: Any, g: Any, log_sums: Any, dq: Any, dk: Any, dv: Any,
    *, causal: bool,
) -> BoundAttention | None:  # fmt: skip
    """Prepare the gradients of q, k and v from that of ``out``; see :func:`bind_attention`.

    The same numbers give the same bits: cuDNN is asked for its deterministic algorithm, whose
    workspace grows with T S, and taken where 1 GiB is enough for that.

    Parameters
    ----------
    g : device array, shape (B, H, T, D)
        The cotangent of ``out``.
    dq, dk, dv : device arrays
        Written: of the shapes of q, k and v.
    """
    given = {"q": q, "k": k, "v": v, "out": out, "g": g}
    return _bound(xp, {**given, "dq": dq, "dk": dk, "dv": dv}, log_sums, causal)


def _bound(xp: Any, arrays: dict[str, Any], log_sums: Any, causal: bool) -> BoundAttention | None:
    context = context_of(xp)
    problem = None if context is None else problem_of(arrays, log_sums, causal)
    if context is None or problem is None:
        return None
    plan = plan_of(context, problem, graph_of)
    if plan is None:
        return None
    named = {**arrays, "log_sums": log_sums}
    return BoundAttention(plan, {UID[name]: int(x.data.ptr) for name, x in named.items()})
