"""Numerical Hessians, from values or from exact gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.numerical.difference import Slope
from hpcad.autodiff.numerical.directional import NumericalDerivative, packed
from hpcad.autodiff.numerical.jacobian import blocks, numerical_jacobian
from hpcad.autodiff.numerical.probe import Probe
from hpcad.autodiff.pytree import flatten
from hpcad.autodiff.transforms.grad import grad
from hpcad.errors import ConfigError


def numerical_hessian(
    function: Callable[[Any], Any],
    x: Any,
    *,
    method: str = "richardson",
    step: float | None = None,
    of: str = "values",
) -> NumericalDerivative:
    """Second derivatives of a real scalar function of real numbers.

    Parameters
    ----------
    function : callable
        Of one pytree.
    x : pytree
    method, step
        As in :func:`~hpcad.autodiff.numerical_directional`.
    of : str
        ``"values"``: second differences of the function. ``"gradients"``: first differences of
        the exact gradient, more precise; the function must then be made of primitives.

    Returns
    -------
    NumericalDerivative
        For an array, of shape ``x.shape + x.shape``; for pytrees, a tree of trees like x.

    Notes
    -----
    The mixed derivative along u and w is ``(D(u + w) - D(u - w)) / 4``, with D(v) the second
    derivative along v.
    """
    if of == "gradients":
        return numerical_jacobian(grad(function), x, method=method, step=step)
    if of != "values":
        raise ConfigError(f'of={of!r}: a Hessian is taken of "values" or of "gradients"')
    probe = Probe(function, (x,))
    if method == "complex" or probe.size != 1 or probe.complex_values.any() or any(
        p.dtype.kind == "c" for p in probe.points
    ):  # fmt: skip
        raise ConfigError(
            "numerical_hessian takes real functions of real numbers that return one scalar, and "
            "differentiates them by richardson or a stencil"
        )
    _, structure = flatten(x)
    shapes = [p.shape for p in probe.points]
    parts = _second_derivatives(probe, method, step)
    return packed(parts, lambda matrix: blocks(probe, matrix, shapes, structure, shapes, structure))


def _second_derivatives(probe: Probe, method: str, step: float | None) -> Slope:
    """The Hessian of a scalar as a matrix; every coordinate is scaled by its own size."""
    sizes = np.concatenate(
        [np.zeros(0), *(np.maximum(np.abs(p), 1.0).ravel() for p in probe.points)]
    )
    n = sizes.size
    value, error, steps = (np.zeros((n, n)) for _ in range(3))

    def along(*coordinates: tuple[int, float]) -> Slope:
        flat = np.zeros(n)
        for i, sign in coordinates:
            flat[i] = sign * sizes[i]
        return probe.derivative(probe.split(flat), method, step, derivative=2)

    for i in range(n):
        for j in range(i + 1):
            if i == j:
                found, scale = [along((i, 1.0))], sizes[i] ** 2
            else:
                found = [along((i, 1.0), (j, 1.0)), along((i, 1.0), (j, -1.0))]
                scale = 4 * sizes[i] * sizes[j]
            signed = sum(sign * s.value[0] for sign, s in zip((1, -1), found, strict=False))
            value[i, j] = value[j, i] = signed / scale
            error[i, j] = error[j, i] = sum(s.error[0] for s in found) / scale
            steps[i, j] = steps[j, i] = found[0].step[0]
    return Slope(value, error, steps)
