"""Arrays made of other arrays: copies, triangles, nested sequences. All linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.primitives import shapes
from hpcad.primitives.elementwise import cast
from hpcad.primitives.indexing import is_tracked
from hpcad.primitives.joining import stack

# fmt: off
copy = Primitive("copy", lambda x: backend_of(x).xp.array(x), shapes.same,
                 [lambda g, _z, _x: g], jvp="linear")
tril = Primitive("tril", lambda x, *, k: np.tril(x, k), shapes.same,
                 [lambda g, _z, _x, k: tril(g, k=k)], jvp="linear")
triu = Primitive("triu", lambda x, *, k: np.triu(x, k), shapes.same,
                 [lambda g, _z, _x, k: triu(g, k=k)], jvp="linear")
# fmt: on


def nested(values: Sequence[Any], dtype: Any = None) -> Any:
    """Nested sequences of numbers, arrays and tensors as one array.

    It is a tensor if there is a tracked one inside, and differentiates: the parts are stacked.
    """
    if any(_has_tracked(value) for value in values):
        parts = [nested(v) if isinstance(v, (list, tuple)) else v for v in values]
        kind = np.result_type(*(p.dtype if hasattr(p, "dtype") else p for p in parts))
        return stack([_cast(p, np.dtype(dtype or kind)) for p in parts])
    return np.asarray([_stripped(value) for value in values], dtype)


def _has_tracked(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_has_tracked(v) for v in value)
    return is_tracked(value)


def _cast(part: Any, dtype: np.dtype) -> Any:
    if not hasattr(part, "dtype"):
        return np.asarray(part, dtype)
    return part if part.dtype == dtype else cast(part, dtype=dtype)


def _stripped(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_stripped(v) for v in value]
    return value_of(value)
