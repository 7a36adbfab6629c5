"""Raising at the first NaN or infinity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from hpcad.autodiff.seeing.watcher import Watcher
from hpcad.autodiff.state import STATE


@contextmanager
def anomaly(*, infinities: bool = True, values: bool = True) -> Iterator[None]:
    """Raise at the operation that makes the first NaN or infinity, and name its forward line.

    Everything that this thread differentiates inside the block is watched: values, tangents
    (forward mode) and cotangents (reverse mode), also in nested transforms, and what parameters
    record. NumPy's own floating-point warnings are off meanwhile. Outside of such a block nothing
    is looked at.

    Parameters
    ----------
    infinities : bool
        Also watch for infinities; otherwise only for NaN.
    values : bool
        Also watch the values of the forward pass; otherwise only derivatives. For programs that
        make a NaN on purpose and mask it with ``where``.

    Raises
    ------
    NonFiniteError
        With the operation, the line, the shapes, and the state of the inputs.

    Warns
    -----
    RuntimeWarning
        Once, if a NaN came in from outside: an argument or a constant that already held one. What
        operations make of it is not their fault and not reported.
    """
    observer = Watcher(infinities, values)
    watched = [*STATE.traces, STATE.ambient()]
    before = [(trace, trace.observer) for trace in watched if trace is not None]
    outer, STATE.observer = STATE.observer, observer
    for trace, _ in before:
        trace.observer = observer
    try:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            yield
    finally:
        STATE.observer = outer
        ambient = STATE.ambient()  # made in the block, and living on
        if ambient is not None:
            ambient.observer = outer
        for trace, old in before:
            trace.observer = old
