"""NumPy's functions on arrays that a capture stands for: an eager call gets what NumPy returns.

The functions of ``hpcad.numpy`` that take their place return numbers of the same value, but here
and there of another kind: a tuple instead of a list, an array without axes instead of a scalar,
a floating-point number of more digits. NumPy itself is asked what it would have returned; where
that is something else, the call goes on with it, eagerly.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.guard import fingerprint
from hpcad.autodiff.pytree import flatten
from hpcad.autodiff.tensor import Tensor, peek, value_of
from hpcad.backend import to_host
from hpcad.backend.half import is_inexact, limits
from hpcad.program.capture.captured import Captured, is_plain

if TYPE_CHECKING:
    from hpcad.program.capture.capture import Capture

ULPS = 1 << 14  # of the largest number


def substitute(
    capture: Capture,
    ours: Callable[[], Any],
    called: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """What our function returns, in the form that NumPy's returns.

    Parameters
    ----------
    ours : callable
        Our function, with the arguments.
    called : callable
        NumPy's.
    args, kwargs
        As it was called.
    """
    leaves, structure = flatten((tuple(args), dict(kwargs)))
    if not all(map(is_plain, leaves)):
        return ours()  # an eager call comes to our function, too
    found = None
    try:
        found = flatten(ours())[0]
    except Exception as error:  # noqa: BLE001  (NumPy may know better)
        capture.refuse(f"{type(error).__name__}: {error}")
    arrays = [peek(leaf) for leaf in leaves]
    theirs = _numpys(capture, called, *structure.build(arrays))
    expected, form = flatten(theirs)
    if found is None:
        return theirs
    if len(found) != len(expected) or not all(map(_agree, found, expected)):
        name = getattr(called, "__name__", "a function")
        capture.refuse(f"NumPy's {name} has another result here than that of hpcad.numpy")
        return theirs
    return form.build([_like(capture, x, y) for x, y in zip(found, expected, strict=True)])


def _numpys(capture: Capture, called: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What NumPy returns, or raises; it may also change its arguments."""
    arrays = [x for x in flatten((args, kwargs))[0] if isinstance(x, np.ndarray)]
    before = [fingerprint(x) for x in arrays]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return called(*args, **kwargs)
    except Exception as error:
        capture.refuse(f"{type(error).__name__}: {error}")
        raise
    finally:
        if before != [fingerprint(x) for x in arrays]:
            capture.refuse(f"{getattr(called, '__name__', 'a function')} changed its arguments")
            capture.irreversible = not capture.ahead


def _agree(ours: Any, theirs: Any) -> bool:
    """Whether the numbers are the same, but for rounding."""
    x, y = np.asarray(to_host(peek(ours))), np.asarray(to_host(theirs))
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return False
    if not is_inexact(x.dtype) or not x.size:
        return bool(np.array_equal(x, y))
    with np.errstate(all="ignore"):
        scale = np.abs(y[np.isfinite(y)]).max(initial=0)
        allowed = ULPS * float(limits(y.dtype).eps) * scale
        return bool(np.allclose(x, y, rtol=0, atol=allowed, equal_nan=True))


def _like(capture: Capture, ours: Any, theirs: Any) -> Any:
    inner = value_of(ours)
    if isinstance(inner, Captured):
        return Captured(theirs, capture, inner.symbol, plain=True)
    return theirs if isinstance(ours, Tensor) else ours
