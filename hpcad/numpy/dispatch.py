"""NumPy's own functions on tensors: ``np.concatenate([t, u])``, ``np.linalg.solve(t, b)``.

NumPy hands every call that has a tensor among its arguments to the tensor (NEP 18), and from there
it goes to the function of that name in this namespace. What has none fails by name, at the call:
computing on the plain values would lose the derivative. Ufuncs are in :mod:`hpcad.numpy.ufuncs`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import Tensor, peek
from hpcad.primitives.assignment import assign

_NO_VALUE = np._NoValue  # NumPy's "left out"
_MANY = 64
INSTEAD = "use a function of hpcad.numpy, or tensor.numpy() for the plain values"

# NumPy's names for functions that the standard, and this namespace, call otherwise.
_OTHER_NAMES = {
    "bitwise_not": "bitwise_invert",
    "conjugate": "conj",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
}
_OTHER_PARAMETERS = {"a_min": "min", "a_max": "max", "ddof": "correction", "newshape": "shape"}


def find(name: str, room: str = "") -> Callable[..., Any] | None:
    """The function of this namespace for NumPy's name; ``room`` is ``"linalg"`` or ``"fft"``."""
    namespace: Any = sys.modules["hpcad.numpy"]
    if not name:
        return None
    if room:
        namespace = getattr(namespace, room, None)
    found = getattr(namespace, name, None)
    return getattr(namespace, _OTHER_NAMES.get(name, name), None) if found is None else found


def function(called: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What a tensor does with another function of NumPy; see NEP 18."""
    if called in _ABOUT:
        return called(*map(_described, args), **{k: _described(v) for k, v in kwargs.items()})
    if called in _IN_PLACE:
        return _IN_PLACE[called](*args, **kwargs)
    return substituted(lambda: _instead(called, args, kwargs), called, args, kwargs)


def _instead(called: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Our function in the place of one of NumPy's."""
    room = (getattr(called, "__module__", None) or "numpy").partition(".")[2]
    path = f"numpy.{room}.{called.__name__}" if room else f"numpy.{called.__name__}"
    ours = find(called.__name__, room)
    if ours is None:
        raise TypeError(
            f"{path} does not know tensors, and hpcad.numpy has no function of that name; use "
            "other functions of hpcad.numpy, or tensor.numpy() for the plain values"
        )
    return call(ours, called, path, args, kwargs)


def call(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    path: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Call ``ours`` with arguments as they were given to NumPy's function.

    Arguments that the standard takes by name only may be given by place, as NumPy takes them.
    """
    places, keywords, open_ended = _accepted(ours)
    names = [None if name is None else _ours(name, keywords) for name in _names(theirs)]
    given: list[Any] = []
    named = {_ours(name, keywords): arg for name, arg in kwargs.items()}
    for i, arg in enumerate(args):
        name = names[i] if i < len(names) else None
        fits = i < len(places) and (places[i] is None or name is None or places[i] == name)
        if name is not None and not (fits and i == len(given)):
            named[name] = arg
        else:
            given.append(arg)
    for i in range(len(given), min(len(places), len(names))):
        name = names[i]
        if name is None or places[i] is not None or name in keywords or name not in named:
            break
        given.append(named.pop(name))
    for name in [n for n in named if n not in keywords and not open_ended]:
        if named[name] is not None and named[name] is not _NO_VALUE:
            raise TypeError(f"{path} with {name}= is not there for tensors; {INSTEAD}")
        del named[name]
    return ours(*given, **named)


def substituted(
    ours: Callable[[], Any], called: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """What ours returns, in the form that NumPy gives it where a capture stands for its arrays."""
    capture = STATE.capture
    return ours() if capture is None else capture.substitute(ours, called, args, kwargs)


def _ours(name: str, keywords: set[str]) -> str:
    """Our name for a parameter of NumPy."""
    other = _OTHER_PARAMETERS.get(name, name)
    return other if name not in keywords and other in keywords else name


@cache
def _names(theirs: Callable[..., Any]) -> list[str | None]:
    """The parameters of a function in order, as far as they are known; None: by place only."""
    try:
        parameters = inspect.signature(theirs).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        None if p.kind is p.POSITIONAL_ONLY else p.name
        for p in parameters
        if p.kind is not p.VAR_POSITIONAL
    ]


@cache
def _accepted(ours: Callable[..., Any]) -> tuple[list[str | None], set[str], bool]:
    """What one of our functions takes.

    Returns
    -------
    places : list
        Names of what may be given by place; None where only the place counts: the first argument
        is the array, whatever NumPy calls it.
    keywords : set
        What may be given by name.
    open_ended : bool
        Whether other names may be given, too.
    """
    try:
        parameters = list(inspect.signature(ours).parameters.values())
    except (TypeError, ValueError):  # a primitive
        return [None] * _MANY, set(), True
    places: list[str | None] = []
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            places += [None] * _MANY
        elif p.kind is p.POSITIONAL_ONLY or (p.kind is p.POSITIONAL_OR_KEYWORD and not places):
            places.append(None)
        elif p.kind is p.POSITIONAL_OR_KEYWORD:
            places.append(p.name)
    keywords = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    return places, keywords, any(p.kind is p.VAR_KEYWORD for p in parameters)


# Functions that ask about arrays, and compute nothing that has a derivative.
_ABOUT = {
    np.shape,
    np.ndim,
    np.size,
    np.result_type,
    np.can_cast,
    np.common_type,
    np.min_scalar_type,
    np.iscomplexobj,
    np.isrealobj,
    np.may_share_memory,
    np.shares_memory,
}


def _described(x: Any) -> Any:
    return peek(x)


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    """NumPy's function changes its first argument."""
    put = find("put_along_axis")
    assert put is not None
    if not isinstance(arr, Tensor):
        raise TypeError(f"numpy.put_along_axis cannot put tensors into an array; {INSTEAD}")
    assign(arr, ..., put(arr, indices, values, axis=axis))


_IN_PLACE: dict[Any, Callable[..., None]] = {np.put_along_axis: _put_along_axis}

LINKS.function = function
