"""Numerical Jacobians, gradients and pullbacks: one derivative for every coordinate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.numerical.difference import Slope
from hpcad.autodiff.numerical.directional import NumericalDerivative, packed
from hpcad.autodiff.numerical.probe import Probe
from hpcad.autodiff.pytree import flatten
from hpcad.errors import DifferentiationError, ShapeError


def numerical_jacobian(
    function: Callable[[Any], Any],
    x: Any,
    *,
    method: str = "richardson",
    step: float | None = None,
    holomorphic: bool = False,
) -> NumericalDerivative:
    """All partial derivatives, one coordinate of ``x`` after the other, each with its own step.

    Parameters
    ----------
    function : callable
        Of one pytree.
    x : pytree
    method, step
        As in :func:`~hpcad.autodiff.numerical_directional`.
    holomorphic : bool
        A complex function of complex numbers is complex differentiable: the result is
        ``df/dz``. How far the derivatives along the real and the imaginary axis are from the
        Cauchy-Riemann equations goes into the error.

    Returns
    -------
    NumericalDerivative
        For arrays, of shape ``function(x).shape + x.shape``; for pytrees, a tree like the
        function's value of trees like x. For complex ``z = x + i y`` and a real function it is
        ``df/dx - i df/dy``.
    """
    probe = Probe(function, (x,))
    _, structure = flatten(x)
    columns = [
        _partial(probe, leaf, index, method, step, holomorphic)
        for leaf, point in enumerate(probe.points)
        for index in np.ndindex(point.shape)
    ]
    shape = (probe.size, len(columns))
    parts = (np.stack([getattr(c, name) for c in columns], axis=-1) if columns else np.zeros(shape)
             for name in ("value", "error", "step"))  # fmt: skip
    shapes = [p.shape for p in probe.points]
    return packed(Slope(*parts), lambda matrix: blocks(probe, matrix, shapes, structure))


def numerical_gradient(
    function: Callable[[Any], Any],
    x: Any,
    *,
    method: str = "richardson",
    step: float | None = None,
    holomorphic: bool = False,
) -> NumericalDerivative:
    """Gradient of a scalar function, one coordinate after the other, each with its own step.

    Parameters
    ----------
    function : callable
        Of one pytree, returning a real scalar (or, with ``holomorphic``, a complex one).
    x : pytree
    method, step
        As in :func:`~hpcad.autodiff.numerical_directional`.
    holomorphic : bool
        As in :func:`numerical_jacobian`.

    Returns
    -------
    NumericalDerivative
        Its value is like x; for complex ``z = x + i y``, ``df/dx - i df/dy``.
    """

    def checked(at: Any) -> Any:
        value = function(at)
        if isinstance(value, (tuple, list, dict)) or np.shape(value) != ():
            raise DifferentiationError(
                f"numerical_gradient needs a function that returns one scalar; use "
                f"numerical_jacobian for this one, which returned {_brief(value)}"
            )
        return value

    probe = Probe(checked, (x,))
    if probe.complex_values.any() and not holomorphic:
        raise DifferentiationError(
            "numerical_gradient needs a real function; this one returned a complex number: "
            "differentiate its real part, or pass holomorphic=True"
        )
    return numerical_jacobian(checked, x, method=method, step=step, holomorphic=holomorphic)


def numerical_vjp(
    function: Callable[..., Any],
    primals: Sequence[Any],
    cotangent: Any,
    *,
    method: str = "richardson",
    step: float | None = None,
) -> tuple[Any, NumericalDerivative]:
    """Evaluate a function and estimate the product of a cotangent with its Jacobian.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays, returning a pytree of arrays.
    primals : sequence of pytrees
    cotangent : pytree like the function's value
    method, step
        As in :func:`~hpcad.autodiff.numerical_directional`.

    Returns
    -------
    value : pytree
    derivative : NumericalDerivative
        Its value is a tuple of trees like the primals: the gradient of ``Re sum(w f)``.
    """
    probe = Probe(function, tuple(primals))
    weights = np.concatenate([np.zeros(0), *(np.asarray(w).ravel() for w in flatten(cotangent)[0])])
    if weights.size != probe.size:
        raise ShapeError(
            f"the cotangent has {weights.size} elements, but the function returned {probe.size}"
        )

    def weighted(at: Any) -> Any:
        return np.sum(np.real(weights * probe.flat(function(*at))))

    return probe.value, numerical_gradient(weighted, tuple(primals), method=method, step=step)


def _partial(
    probe: Probe, leaf: int, index: Any, method: str, step: float | None, holomorphic: bool
) -> Slope:
    """Derivative of every element of the value with respect to one coordinate."""
    point = probe.points[leaf]
    directions = [np.zeros(p.shape, p.dtype) for p in probe.points]
    directions[leaf][index] = 1.0
    along = probe.derivative(directions, method, step)
    if point.dtype.kind != "c":
        return along
    both = probe.complex_values
    if both.any() and not holomorphic:
        raise DifferentiationError(
            "a complex function of complex numbers has no single derivative unless it is complex "
            "differentiable: pass holomorphic=True, or differentiate its real and imaginary parts"
        )
    directions[leaf][index] = 1.0j
    up = probe.derivative(directions, method, step)
    value, error = along.value - 1j * up.value, along.error + up.error
    # The two agree for a function that is complex differentiable.
    astray = np.abs(along.value + 1j * up.value)
    return Slope(
        np.where(both, value / 2, value),
        np.where(both, (error + astray) / 2, error),
        np.minimum(along.step, up.step),
    )


def blocks(
    probe: Probe,
    matrix: np.ndarray,
    shapes: Sequence[tuple[int, ...]],
    structure: Any,
    row_shapes: Sequence[tuple[int, ...]] | None = None,
    row_structure: Any = None,
) -> Any:
    """A matrix as a tree (like the function's value) of trees (like its argument) of blocks."""
    row_shapes = probe.shapes if row_shapes is None else row_shapes
    row_structure = probe.structure if row_structure is None else row_structure
    ends = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]
    row_ends = np.cumsum([int(np.prod(s)) for s in row_shapes])[:-1]
    rows = []
    for band, row_shape in zip(np.split(matrix, row_ends), row_shapes, strict=True):
        blocks = [
            block.reshape((*row_shape, *shape))
            for block, shape in zip(np.split(band, ends, axis=1), shapes, strict=True)
        ]
        rows.append(structure.build(blocks))
    return row_structure.build(rows)


def _brief(value: Any) -> str:
    shape = np.shape(value) if not isinstance(value, (tuple, list, dict)) else None
    return f"a {type(value).__name__}" if shape is None else f"shape {shape}"
