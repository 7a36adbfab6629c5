"""NumPy's functions on device arrays: each call is one piece of work.

A call that only looks at its arguments in another way (``reshape``, ``a[1:]``) gives a view, and is
no work. While the stream captures, the function is run once on the poison that it finds, for the
shape and type of its answer, and again at every launch of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.strict import tables
from hpcad.backend.strict.answers import answer_of
from hpcad.backend.strict.counts import synchronised
from hpcad.backend.strict.errors import line_of_caller
from hpcad.backend.strict.known import current_stream
from hpcad.backend.strict.work import enqueue

if TYPE_CHECKING:
    from hpcad.backend.strict.arrays import ndarray

METHODS = tables.METHODS
SCALARS = (bool, int, float, complex, np.generic)


# -- what NumPy's protocols ask for ---------------------------------------------------------


def function(func: Any, args: Any, kwargs: Any) -> Any:
    """A function of NumPy's, as ``__array_function__`` gets it."""
    chapter, name = (func.__module__ or "numpy").rpartition(".")[2], func.__name__
    if name in tables.LACKING.get(chapter, frozenset()):
        return NotImplemented
    return call(func, args, kwargs)


def ufunc(called: Any, method: str, inputs: Any, kwargs: Any) -> Any:
    """A ufunc, as ``__array_ufunc__`` gets it."""
    name = called.__name__
    outs = kwargs.get("out", ())
    if len(outs) > 1:
        raise ValueError("The 'out' parameter must have exactly one array value")
    if name in tables.LACKING["numpy"] or not _known(called):
        return NotImplemented
    if not all(_operand(x) for x in (*inputs, *outs)):
        return NotImplemented
    if method == "at":
        return apply_at(called, *inputs)
    if method != "__call__":
        if method != "outer":
            _check_method(name, method)
        if outs:
            kwargs = kwargs | {"out": outs[0]}
        return call(getattr(called, method), inputs, kwargs, name=f"{name}.{method}")
    unknown = set(kwargs) - {"out", "dtype", "casting"}
    if unknown:
        raise TypeError(f"Wrong arguments: CuPy's {name} takes no {', '.join(sorted(unknown))}")
    if called.nout == 1 and name in _COMPARISONS:
        inputs = tuple(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
    return call(called, inputs, kwargs)


def apply_at(called: Any, array: ndarray, indices: Any, *values: Any) -> None:
    """``ufunc.at``: repeated indices count repeatedly."""
    _check_method(called.__name__, "at")
    name = f"{called.__name__}.at"
    call(called.at, (array, indices, *values), {}, name=name, into=(array,))


def method(name: str, array: ndarray, args: Any, kwargs: Any) -> Any:
    """A method of an array."""

    def apply(raw: np.ndarray, *more: Any, **options: Any) -> Any:
        return getattr(raw, name)(*more, **options)

    return call(apply, (array, *args), kwargs, name=name)


_COMPARISONS = {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal"}


def _known(called: Any) -> bool:
    name = called.__name__
    return getattr(np, name, None) is called or name in tables.SPECIAL


def _check_method(name: str, method: str) -> None:
    if name not in tables.UFUNC_METHODS.get(method, frozenset()):
        raise TypeError(f"`cupy_{name}.{method}` is not supported yet")


def _operand(x: Any) -> bool:
    return isinstance(x, (np.ndarray, *SCALARS)) or is_device(x)


def is_device(x: Any) -> bool:
    """Whether it is an array of the strict device."""
    return getattr(type(x), "__module__", "") == _ARRAYS


_ARRAYS = "hpcad.backend.strict.arrays"


# -- one call -------------------------------------------------------------------------------


def call(
    func: Callable[..., Any],
    args: Any,
    kwargs: Any,
    *,
    name: str | None = None,
    into: tuple[Any, ...] = (),
) -> Any:
    """Call a function of NumPy's on what lies behind device arrays, as one piece of work.

    Parameters
    ----------
    func : callable
    args, kwargs
        Device arrays and scalars, also in lists, tuples and dictionaries.
    name : str, optional
        Named in errors.
    into : tuple of arrays
        What it writes, apart from ``out=``.

    Raises
    ------
    TypeError
        A host array is among the arguments.
    """
    name = func.__name__ if name is None else name
    inputs: list[ndarray] = []
    plain_args, plain_kwargs = storage(args, inputs, name), storage(kwargs, inputs, name)
    _check_arguments(name, inputs, kwargs)
    if name in tables.METADATA:
        return func(*plain_args, **plain_kwargs)
    _check_capture(name, len(args))
    if name in tables.MUTATING:
        into = (args[0],) if args else (next(iter(kwargs.values())),)
    outs = kwargs.get("out")
    outs = outs if isinstance(outs, tuple) else () if outs is None else (outs,)
    if not all(is_device(out) for out in outs):
        raise TypeError(f"{name}: out must be an array of the device")
    if outs or into:
        _in_place(name, func, plain_args, plain_kwargs, inputs, (*outs, *into))
        return None if into else outs[0]
    with np.errstate(all="ignore"):
        answer = func(*plain_args, **plain_kwargs)
    return answer_of(name, lambda: func(*plain_args, **plain_kwargs), answer, inputs)


def _check_arguments(name: str, inputs: list[ndarray], kwargs: Any) -> None:
    """Refuse what CuPy's function of that name does not take."""
    unknown = tables.KEYWORDS.get(name, frozenset()) & set(kwargs)
    if unknown:
        raise TypeError(f"CuPy's {name}() has no keyword argument {', '.join(sorted(unknown))}")
    if name in tables.REAL_ONLY and any(x.dtype.kind == "c" for x in inputs):
        raise TypeError(f"Wrong type (complex) of arguments for cupy_{name}")
    if name in tables.ONE_MATRIX and any(x.ndim > 2 for x in inputs):
        raise ValueError(f"CuPy's {name} takes one matrix, not a stack of them")


def _in_place(name: str, func: Any, args: Any, kwargs: Any, inputs: Any, outs: Any) -> None:
    reads = [x.span() for x in inputs]
    enqueue(name, reads, [x.span() for x in outs], lambda: func(*args, **kwargs))


def _check_capture(name: str, given: int) -> None:
    """What the function does besides, and whether it may do so now."""
    stream = current_stream()
    if name in tables.SYNCHRONISING or (name == "where" and given == 1):
        stream.refuse_capture(f"{name}, whose answer has a length that the host must read,")
        synchronised(name)
    elif name in tables.LIBRARY and stream.capture is not None:
        stream.break_capture(
            f"{name} at {line_of_caller()} while stream {stream.ptr} captures: CuPy refuses to "
            "call cuBLAS and cuSOLVER then; use hpcad's own products, or do it before the capture"
        )


def storage(x: Any, inputs: list[Any], name: str) -> Any:
    """The same with storage in the place of device arrays, which are noted."""
    if is_device(x):
        inputs.append(x)
        return x.raw
    if type(x) is tuple or type(x) is list:
        return type(x)(storage(each, inputs, name) for each in x)
    if type(x) is dict:
        return {key: storage(value, inputs, name) for key, value in x.items()}
    if isinstance(x, np.ndarray):
        raise TypeError(
            f"{name}: Unsupported type <class 'numpy.ndarray'>: host arrays do not mix with device "
            "arrays; move it first with asarray()"
        )
    return x
