"""What a call of attention is: sizes, types and where rows lie; and what cuDNN takes of that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

LONGEST = 128  # elements of a head
_PIECE = 16  # bytes that are read together
# Bytes of workspace. To add without atomics, the way back may want the matrix of all scores.
MOST = 1 << 30

GIVEN = ("q", "k", "v", "out")
GIVEN_BACK = (*GIVEN, "g")
FOUND_BACK = ("dq", "dk", "dv")

#: The number of each tensor in a graph.
UID = {name: i for i, name in enumerate((*GIVEN_BACK, *FOUND_BACK, "log_sums"), start=1)}

Steps = tuple[int, int, int, int]


@dataclass(frozen=True)
class AttentionProblem:
    """Attention of arrays (B, H, T, D), forward or back.

    Attributes
    ----------
    dtype : str
        ``"bfloat16"`` or ``"float16"``.
    batch, heads, queries, keys, dim : int
    causal : bool
    steps : tuple of (name, steps)
        Elements from one batch, head, row and element to the next, of all arrays.
    """

    dtype: str
    batch: int
    heads: int
    queries: int
    keys: int
    dim: int
    causal: bool
    steps: tuple[tuple[str, Steps], ...]

    refused = ()  # the way back is asked for its deterministic algorithm

    @property
    def most(self) -> int:
        return MOST

    @property
    def backward(self) -> bool:
        return len(self.steps) > len(GIVEN)

    @property
    def scale(self) -> float:
        return 1.0 / math.sqrt(self.dim)

    def shape(self, name: str) -> tuple[int, int, int, int]:
        """Of ``"q"``, ``"dq"``..."""
        rows = self.keys if name[-1] in "kv" else self.queries
        return self.batch, self.heads, rows, self.dim

    @property
    def log_sums(self) -> tuple[tuple[int, ...], Steps]:
        """Shape (B, H, T, 1) and steps of the logarithms."""
        b, h, t = self.batch, self.heads, self.queries
        return (b, h, t, 1), (h * t, t, 1, 1)

    @property
    def flops(self) -> int:
        """Of the products; of hidden scores, too, unless causal."""
        scores = self.queries * self.keys
        if self.causal:
            scores -= self.queries * (self.queries - 1) // 2
        forward = 4 * self.batch * self.heads * scores * self.dim
        return forward * 5 // 2 if self.backward else forward


def problem_of(arrays: dict[str, Any], log_sums: Any, causal: bool) -> AttentionProblem | None:
    """The problem of arrays (B, H, T, D); None where cuDNN does not take them as they lie.

    Hidden are the keys behind a query's own position, which is the same for cuDNN and for hpcad
    where there are as many keys as queries. Other causal attention is left to hpcad's kernels.
    """
    q, k = arrays["q"], arrays["k"]
    batch, heads, queries, dim = q.shape
    keys = k.shape[2]
    if str(q.dtype) not in ("bfloat16", "float16") or dim % 8 or not 0 < dim <= LONGEST:
        return None
    if any(x.dtype != q.dtype for x in arrays.values()) or (causal and queries != keys):
        return None
    if str(log_sums.dtype) != "float32" or not log_sums.flags.c_contiguous:
        return None
    steps = {name: _steps(array) for name, array in arrays.items()}
    if not log_sums.size or None in steps.values():
        return None
    sizes = batch, heads, queries, keys, dim
    known = tuple((name, step) for name, step in steps.items() if step is not None)
    return AttentionProblem(str(q.dtype), *sizes, causal, known)


def _steps(array: Any) -> Steps | None:
    """Elements from one to the next; None where rows are not pieces of memory of their own."""
    size, dim = array.itemsize, array.shape[-1]
    if array.strides[-1] != size or array.data.ptr % _PIECE:
        return None
    steps, whole = [], dim
    for n, stride in reversed(list(zip(array.shape[:3], array.strides[:3], strict=True))):
        # Along an axis of length 1 a stride says nothing: cuDNN gets one that it likes.
        step = whole if n == 1 else stride // size
        if n > 1 and (stride % _PIECE or step < dim):
            return None
        steps.append(step)
        whole = max(whole, n * step)
    row, head, batch = steps
    return batch, head, row, 1
