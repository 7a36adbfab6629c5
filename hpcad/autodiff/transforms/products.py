"""Products with derivatives that are never formed, and sums over second derivatives.

Costs are in evaluations of the function (B. A. Pearlmutter, "Fast exact multiplication by the
Hessian", Neural Computation 6, 1994; N. N. Schraudolph, "Fast curvature matrix-vector products for
second-order gradient descent", Neural Computation 14, 2002).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.tensor import value_of
from hpcad.autodiff.transforms.grad import grad
from hpcad.autodiff.transforms.jvp import jvp
from hpcad.autodiff.transforms.primals import Argnums, as_primals, restrict
from hpcad.autodiff.transforms.vjp import vjp
from hpcad.backend import backend_of


def directional(function: Callable[[Any], Any], x: Any, v: Any) -> Any:
    """Derivative of ``function(x + t v)`` with respect to ``t`` at 0: ``J v``.

    Exact, by forward mode; one evaluation of values and tangents. ``x`` and ``v`` are pytrees of
    one structure, and the result is a tree like the value.
    """
    return jvp(function, (x,), (v,))[1]


def hvp(function: Callable[[Any], Any], x: Any, v: Any) -> Any:
    """Product of the Hessian of a scalar function with a vector, ``H v``.

    Parameters
    ----------
    function : callable
        Of one pytree, returning a scalar.
    x : pytree
        Where the Hessian is taken.
    v : pytree
        Like ``x``.

    Returns
    -------
    pytree
        Like ``x``.

    Notes
    -----
    Forward over reverse: the directional derivative of the gradient along ``v``, at the cost of a
    few evaluations (B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural
    Computation 6, 1994).
    """
    return jvp(grad(function), (x,), (v,))[1]


def vhp(function: Callable[[Any], Any], x: Any, v: Any) -> Any:
    """Product of a vector with the Hessian, ``v^T H``: reverse over forward.

    Equal to :func:`hvp` up to rounding, because a Hessian is symmetric; the tape holds values and
    tangents of one evaluation.
    """
    return grad(lambda y: directional(function, y, v))(x)


def ggnvp(inner: Callable[[Any], Any], outer: Callable[[Any], Any], x: Any, v: Any) -> Any:
    """Product of the generalised Gauss-Newton matrix with a vector, ``J^T H J v``.

    Parameters
    ----------
    inner : callable
        Of one pytree, returning a pytree: the model, with Jacobian ``J`` at ``x``.
    outer : callable
        Of what ``inner`` returns, to a scalar: the loss, with Hessian ``H``. If it is convex, the
        matrix is positive semidefinite, which the Hessian of ``outer(inner(x))`` need not be.
    x, v : pytrees
        Of one structure.

    Returns
    -------
    pytree
        Like ``x``.

    Notes
    -----
    N. N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent",
    Neural Computation 14 (2002).
    """
    z, pullback = vjp(inner, x)
    return pullback(hvp(outer, z, directional(inner, x, v)))[0]


def laplacian(function: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """Return the sum of the second derivatives with respect to each number that goes in.

    Parameters
    ----------
    function : callable
        Of pytrees of real arrays, returning an array of any shape.
    argnums : int or tuple of int

    Returns
    -------
    callable
        Returns an array like the value: ``sum_i d^2 f / dx_i^2``.

    Notes
    -----
    Forward over forward, one nested evaluation for each number, and no tape.
    """

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        restricted, chosen, positions = restrict(function, args, kwargs, argnums)
        leaves, structure = as_primals(chosen, positions)

        def along(direction: Any) -> Any:
            def first(*x: Any) -> Any:
                return jvp(restricted, x, direction)[1]

            return jvp(first, structure.build(leaves), direction)[1]

        zeros = [LINKS.zeros_like(x) for x in leaves]
        total = None
        for i, x in enumerate(leaves):
            flat = backend_of(value_of(x)).xp.zeros_like(value_of(x)).reshape(-1)
            for k in range(x.size):
                flat[k] = 1
                unit = flat.reshape(x.shape).copy()
                flat[k] = 0
                term = along(structure.build([*zeros[:i], unit, *zeros[i + 1 :]]))
                total = term if total is None else LINKS.add(total, term)
        return LINKS.zeros_like(restricted(*chosen)) if total is None else total

    return differentiated
