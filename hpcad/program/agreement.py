"""NumPy's functions on arrays that a capture stands for: an eager call gets what NumPy returns.

The functions of ``hpcad.numpy`` that take their place return numbers of the same value, but here
and there of another kind: a tuple instead of a list, an array without axes instead of a scalar,
a floating-point number of more digits. NumPy itself is asked what it would have returned.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.pytree import flatten
from hpcad.autodiff.tensor import Tensor, peek, value_of
from hpcad.program.captured import Captured, is_plain

if TYPE_CHECKING:
    from hpcad.program.capture import Capture

ULPS = 1 << 14  # of the largest number


def as_numpy(
    capture: Capture,
    called: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    ours: Any,
) -> Any:
    """What our function has returned, in the form that NumPy's returns.

    Parameters
    ----------
    called : callable
        NumPy's function.
    args, kwargs
        As it was called.
    ours : tree
    """
    leaves, structure = flatten((tuple(args), dict(kwargs)))
    if not all(map(is_plain, leaves)):
        return ours  # an eager call comes to our function, too
    plain_args, plain_kwargs = structure.build([peek(leaf) for leaf in leaves])
    name = getattr(called, "__name__", "a function")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            theirs = called(*plain_args, **plain_kwargs)
        except Exception:  # noqa: BLE001  (the user gets it from the eager call)
            capture.abandon(f"NumPy's {name} raises an error here")
            return ours
    found, _ = flatten(ours)
    expected, form = flatten(theirs)
    if len(found) != len(expected) or not all(map(_agree, found, expected)):
        capture.abandon(f"NumPy's {name} has another result here than that of hpcad.numpy")
        return ours
    return form.build([_like(capture, x, y) for x, y in zip(found, expected, strict=True)])


def _agree(ours: Any, theirs: Any) -> bool:
    """Whether the numbers are the same, but for rounding."""
    x, y = np.asarray(peek(ours)), np.asarray(theirs)
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return False
    if x.dtype.kind not in "fc" or not x.size:
        return bool(np.array_equal(x, y))
    finite = np.isfinite(y)
    scale = np.abs(y[finite]).max(initial=0)
    allowed = ULPS * np.finfo(y.dtype).eps * scale
    with np.errstate(all="ignore"):
        return bool(np.allclose(x, y, rtol=0, atol=allowed, equal_nan=True))


def _like(capture: Capture, ours: Any, theirs: Any) -> Any:
    inner = value_of(ours)
    if isinstance(inner, Captured):
        return Captured(theirs, capture, inner.symbol, plain=True)
    return theirs if isinstance(ours, Tensor) else ours
