"""What files of this room need from files above them, put in here by those when they load.

The tape adds and reshapes cotangents with primitives (so that nested transforms can follow them),
and primitives stand above this room; a primitive asks for the ambient tape, and tapes hold
primitives. The links keep the imports pointing downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def _missing(*_: Any, **__: Any) -> Any:
    raise RuntimeError("import hpcad.numpy before using tensors")


class Links:
    """Functions from above.

    Attributes
    ----------
    complete : bool
        Whether tensors have their operators and methods, or are about to get them.
    ambient_tape : callable
        The tape on which parameters record (:mod:`hpcad.autodiff.tape`).
    backward : callable
        ``backward(loss, seed)`` (:mod:`hpcad.autodiff.backward`).
    add : callable
        ``add(a, b)`` of cotangents (this and the next ones: :mod:`hpcad.primitives.operators`).
    sum_to : callable
        ``sum_to(g, shape)``: the adjoint of broadcasting from ``shape``.
    broadcast_to : callable
        ``broadcast_to(t, shape)``.
    cast : callable
        ``cast(g, dtype)``; from complex to real numbers it takes the real part.
    zeros_like : callable
        ``zeros_like(x)``: a plain array of zeros on the device of x.
    stack : callable
        ``stack(arrays, axis)``.
    assign : callable
        ``assign(x, index, value)``: item assignment on the tensor x.
    ufunc, function : callable
        NumPy's dispatch to :mod:`hpcad.numpy`, which puts them in.
    """

    complete = False
    ambient_tape: Callable[[], Any] = staticmethod(_missing)
    backward: Callable[..., None] = staticmethod(_missing)
    add: Callable[..., Any] = staticmethod(_missing)
    sum_to: Callable[..., Any] = staticmethod(_missing)
    broadcast_to: Callable[..., Any] = staticmethod(_missing)
    cast: Callable[..., Any] = staticmethod(_missing)
    zeros_like: Callable[..., Any] = staticmethod(_missing)
    stack: Callable[..., Any] = staticmethod(_missing)
    assign: Callable[..., None] = staticmethod(_missing)
    ufunc: Callable[..., Any] = staticmethod(_missing)
    function: Callable[..., Any] = staticmethod(_missing)


LINKS = Links()


def complete_links() -> None:
    """Load what gives tensors their operators, for programs that import only this room."""
    if not LINKS.complete:
        import_module("hpcad.numpy")
