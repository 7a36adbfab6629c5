"""What makes a collective a primitive on every rank alike.

A derivative of a collective is a collective, too, so either all ranks take part in it or the job
stops. Which ranks have anything to contribute depends on their data: the loss of one rank may not
use what all have received, another rank may pass constants. Three things keep the ranks together.

1. The argument of a collective is followed by *every* transform around it (:func:`followed`),
   also where it is a constant. So the record is on every tape of every rank, and a forward trace
   sends a tangent of zeros.
2. A pull over the tape of a transform gives each of these records a cotangent: zeros, where none
   has come (:mod:`hpcad.autodiff.reverse`). It meets the records in the exact reverse order.
3. Rules end in collectives again, and those are followed by the transforms that are outside.

Inside of a primitive that users made, and of the equations that are solved by one, the transforms
around follow only what they would follow anyway: its rules say what its derivative is.

The ambient tape, on which parameters record, does neither: ``backward()`` walks what the loss
depends on. There :func:`~hpcad.parallel.collectives.attach.attach` ties a result to the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.forward import Dual, ForwardTrace
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import AMBIENT, CONSTANT, Tensor
from hpcad.backend import backend_of, to_host
from hpcad.parallel.communicator import Communicator
from hpcad.parallel.world import init
from hpcad.primitives.shapes import as_array

Exchange = Callable[..., np.ndarray]  # (host array, **params) -> host array


def linear(
    name: str,
    exchange: Exchange,
    shape: Callable[..., Any],
    adjoint: Callable[[], Primitive],
    turned: Callable[..., dict[str, Any]] = dict,
) -> Primitive:
    """A collective that is linear over the stacked arrays of all ranks.

    Parameters
    ----------
    name : str
    exchange : callable
        ``exchange(x, **params)`` of a C-contiguous host array, which it may overwrite and return.
    shape : callable
        The shape rule.
    adjoint : callable
        Returns the collective that is the transposed map; a function, because it may stand below.
    turned : callable, optional
        ``turned(**params)``: its parameters. The same when left out.
    """

    def vjp(g: Any, _y: Any, _x: Any, **params: Any) -> Any:
        return on_every_rank(adjoint(), g, **turned(**params))

    def jvp(t: Any, _y: Any, _x: Any, **params: Any) -> Any:
        return on_every_rank(made, t, **params)

    made = Primitive(
        name,
        on_host(exchange),
        shape,
        [vjp],
        jvp=[jvp],
        ordered=True,
    )
    return made


def on_host(exchange: Exchange) -> Callable[..., Any]:
    """The value of a primitive: device arrays go through the host."""

    def value(x: Any, **params: Any) -> Any:
        found = exchange(np.array(to_host(x), order="C"), **params)
        return backend_of(x).asarray(found)

    return value


def on_every_rank(primitive: Primitive, x: Any, **params: Any) -> Any:
    """Call a collective such that all transforms around it follow, whatever ``x`` is."""
    return primitive(followed(x), **params)


def followed(x: Any) -> Any:
    """``x`` as a tensor of all transforms around it; what it was followed by before, stays."""
    x = as_array(x)
    if x.dtype.kind not in "fc":
        return _outside(x)
    traces = [trace for trace in STATE.following() if isinstance(trace, Tape | ForwardTrace)]
    return _followed(x, list(dict.fromkeys(t for t in traces if t.level > AMBIENT)))


def _followed(x: Any, traces: list[Tape | ForwardTrace]) -> Any:
    if not traces:
        return _outside(x)
    *outer, trace = traces
    if not (isinstance(x, Tensor) and x.follower is trace):
        inner = _followed(x, outer)
        if isinstance(trace, Tape):
            return trace.input(inner)
        return trace.input(inner, _followed(LINKS.zeros_like(inner), outer))
    value = _followed(x.value, outer)
    if isinstance(trace, Tape):
        return x if value is x.value else Tensor(value, trace, x.slot, x.level)
    tangent = _followed(x.tangent, outer)
    return x if value is x.value and tangent is x.tangent else Dual(value, tangent, trace)


def _outside(x: Any) -> Any:
    """A plain array; a program that is captured must hear of it, to send it at every run."""
    if isinstance(x, Tensor) and x.level == CONSTANT:
        x = x.value
    if STATE.capture is None or isinstance(x, Tensor):
        return x
    return STATE.capture.outside(x)


def group(communicator: Communicator | None) -> Communicator:
    """That of the world when none is given."""
    return init().communicator if communicator is None else communicator
