"""Numerical differentiation: the transforms again, for functions of which only values are known.

The exact transforms are cheaper and exact. These hold the rules to account, and differentiate
functions that are not made of primitives. How the derivatives are taken, and how their errors are
estimated, is in :mod:`hpcad.autodiff.numerical.difference`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.autodiff.numerical.difference import Slope
from hpcad.autodiff.numerical.probe import Probe
from hpcad.autodiff.pytree import flatten


@dataclass(frozen=True)
class NumericalDerivative:
    """A derivative and what is known of its error.

    NumPy's functions take it as its value, if that is one array: ``np.allclose(found, exact)``.

    Attributes
    ----------
    value : pytree
        In double precision, also for functions of single precision.
    error : pytree like value
        Estimated error of every element.
    step : pytree like value
        The step that every element was taken with.
    """

    value: Any
    error: Any
    step: Any

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if type(self.value) is not np.ndarray and not np.isscalar(self.value):
            raise TypeError(
                f"this numerical derivative is a {type(self.value).__name__}, not one array; take "
                "the arrays out of its value"
            )
        return np.array(self.value, dtype=dtype, copy=copy)


def numerical_jvp(
    function: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    method: str = "richardson",
    step: float | None = None,
) -> tuple[Any, NumericalDerivative]:
    """Evaluate a function and estimate its derivative along a direction.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays (real or complex, of any precision), returning a pytree of arrays.
    primals, tangents : sequences of pytrees
        Where, and the direction, as in :func:`~hpcad.autodiff.transforms.jvp`.
    method, step
        As in :func:`numerical_directional`.

    Returns
    -------
    value : pytree
    derivative : NumericalDerivative

    Raises
    ------
    ConfigError
        The method is unknown, or does not suit complex numbers.
    """
    probe = Probe(function, tuple(primals))
    leaves, _ = flatten(tuple(tangents))
    directions = probe.directions(leaves)
    slope = probe.derivative(directions, method, step)
    return probe.value, packed(slope, probe.unflatten)


def numerical_directional(
    function: Callable[[Any], Any],
    x: Any,
    direction: Any = None,
    *,
    method: str = "richardson",
    step: float | None = None,
) -> NumericalDerivative:
    """Derivative of ``function(x + t direction)`` with respect to ``t`` at 0.

    Parameters
    ----------
    function : callable
        Of one pytree.
    x : pytree
    direction : pytree like x, optional
        All ones when left out (for a scalar x: the ordinary derivative).
    method : str
        ``"richardson"`` (extrapolated central differences), ``"complex"`` (the complex step: full
        precision, for real functions that take complex arrays and are analytic), or a stencil:
        ``"forward1"``, ``"backward2"``, ``"central4"`` and so on, of any order.
    step : float, optional
        In units of the direction; chosen from the method, the arguments and their precision when
        left out.

    Returns
    -------
    NumericalDerivative
        Its value is like the function's.
    """
    if direction is None:
        leaves, structure = flatten(x)
        direction = structure.build([np.ones(np.shape(leaf)) for leaf in leaves])
    return numerical_jvp(function, (x,), (direction,), method=method, step=step)[1]


def packed(slope: Slope, pack: Callable[[np.ndarray], Any]) -> NumericalDerivative:
    """The derivative as pytrees; ``pack`` makes one of flat numbers."""
    return NumericalDerivative(pack(slope.value), pack(slope.error), pack(slope.step))
