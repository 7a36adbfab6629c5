"""Functions given by an equation: ``x(a)`` with ``F(x, a) = 0``.

By the implicit function theorem ``dx/da = -(dF/dx)^-1 dF/da``, whatever iteration found x. So
tangent and cotangent are linear systems with ``dF/dx`` or its transpose at the solution, solved
without forming it (B. Christianson, "Reverse accumulation and implicit functions", Optimization
Methods and Software 9, 1998; M. Blondel et al., "Efficient and modular implicit differentiation",
arXiv:2105.15183).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.equations.linear_solve import (
    Operator,
    filled,
    guard_closure,
    joined,
    parted,
    pulled,
    solve,
    tolerance,
    untracked,
)
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.pytree import flatten, tree_map
from hpcad.autodiff.tensor import value_of
from hpcad.autodiff.transforms.jvp import jvp, linearize
from hpcad.autodiff.transforms.primals import as_primals
from hpcad.autodiff.transforms.vjp import vjp
from hpcad.errors import ConvergenceError

Equation = Callable[..., Any]
Solver = Callable[..., Any]


def root(
    function: Equation,
    x0: Any,
    *args: Any,
    solver: Solver | None = None,
    tol: float | None = None,
    maxiter: int = 100,
) -> Any:
    """Solve ``function(x, *args) = 0`` for x, differentiable with respect to ``args``.

    Parameters
    ----------
    function : callable
        Of a pytree and of ``args``; returns a pytree like x. Tensors that are differentiated must
        be among ``args``, not in its surroundings.
    x0 : pytree of arrays
        Where to start; gets no derivative.
    *args : pytrees
    solver : callable, optional
        ``solver(f, x0, tol=, maxiter=)`` returns a root of ``f`` of one argument, on plain
        arrays; :func:`newton` when left out.
    tol : float, optional
        ``eps^0.8`` when left out.
    maxiter : int

    Returns
    -------
    pytree
        Like ``x0``.

    Raises
    ------
    ConvergenceError
        The solver did not converge, or the Jacobian at the solution is singular.

    Notes
    -----
    Derivatives of every order cost linear solves at the solution; the iteration is not recorded.
    """
    method = newton if solver is None else solver
    return _implicit(
        "root", function, lambda f, x: method(f, x, tol=tol, maxiter=maxiter), x0, args
    )


def fixed_point(
    function: Equation, x0: Any, *args: Any, tol: float | None = None, maxiter: int = 1000
) -> Any:
    """Iterate ``x = function(x, *args)`` until it stands, differentiable with respect to ``args``.

    Parameters, result and errors are those of :func:`root`; the iteration stops when a step is
    not longer than ``tol (1 + |x|)``.

    Notes
    -----
    The cotangent solves ``w = g + J^T w``, the adjoint fixed point, as a linear system.
    """

    def residual(x: Any, *a: Any) -> Any:
        return tree_map(lambda new, old: new - old, function(x, *a), x)

    def iterate(f: Callable[[Any], Any], x: Any) -> Any:
        leaves, structure = flatten(x)
        limit = tolerance(tol, joined(leaves).dtype)
        size = float("inf")
        for _ in range(maxiter):
            steps = untracked(f(structure.build(leaves)), structure, "function")
            leaves = [x + step for x, step in zip(leaves, steps, strict=True)]
            size = _length(steps)
            if _is_short(size, leaves, limit):
                return structure.build(leaves)
            if not np.isfinite(size):
                break
        raise _unfinished("fixed_point", size, maxiter, limit, "the map may not be a contraction")

    return _implicit("fixed_point", residual, iterate, x0, args, function)


def newton(
    function: Callable[[Any], Any], x0: Any, *, tol: float | None = None, maxiter: int = 100
) -> Any:
    """Newton's method, with steps halved until the residual falls; on plain arrays.

    Stops when the residual, or the step relative to ``1 + |x|``, is not larger than ``tol``.
    """
    leaves, structure = flatten(x0)
    limit = tolerance(tol, joined(leaves).dtype)

    def at(leaves: Sequence[Any]) -> tuple[Any, Any, float]:
        value, pushforward = linearize(function, structure.build(leaves))
        parts = untracked(value, structure, "function")
        return parts, pushforward, _length(parts)

    parts, pushforward, size = at(leaves)
    for _ in range(maxiter):
        if size <= limit:
            return structure.build(leaves)
        operator: Operator = pushforward
        right = structure.build([-x for x in parts])
        step = flatten(solve(lambda operator=operator: operator, right, ()))[0]
        scale = 1.0
        while True:
            moved = [x + scale * s for x, s in zip(leaves, step, strict=True)]
            found = at(moved)
            if found[2] < size or scale < 1e-4:
                break
            scale /= 2
        leaves, (parts, pushforward, size) = moved, found
        if _is_short(scale * _length(step), leaves, limit):
            return structure.build(leaves)
    raise _unfinished("newton", size, maxiter, limit, "start nearer to the solution")


def _length(parts: Sequence[Any]) -> float:
    """Euclidean norm of arrays together; infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(joined(parts)))


def _is_short(length: float, leaves: Sequence[Any], limit: float) -> bool:
    """Whether a step is one of an iteration that stands; one that has left all bounds does not."""
    return length <= limit * (1 + _length(leaves)) < math.inf


def _unfinished(name: str, size: float, count: int, limit: float, advice: str) -> ConvergenceError:
    return ConvergenceError(
        f"{name} stopped with residual {size:.2e} after at most {count} iterations, above the "
        f"tolerance {limit:.2e}; {advice}, or raise tol or maxiter",
        size,
        count,
    )


def _implicit(
    name: str,
    function: Equation,
    find: Callable[[Callable[[Any], Any], Any], Any],
    x0: Any,
    args: Sequence[Any],
    around: Equation | None = None,
) -> Any:
    """The solution of ``function(x, *args) = 0`` as one operation with its rules."""
    starts, structure = as_primals((x0,), ["x0"])
    starts = [value_of(x) for x in starts]
    arg_leaves, arg_structure = flatten(tuple(args))

    def some(leaves: Sequence[Any], chosen: Sequence[int], x: Any) -> Callable[..., Any]:
        def restricted(*parts: Any) -> Any:
            full = list(leaves)
            for i, part in zip(chosen, parts, strict=True):
                full[i] = part
            return function(x, *arg_structure.build(full))

        return restricted

    def jacobian(x: Any, *a: Any) -> Operator:
        return linearize(lambda y: function(y, *a), x)[1]

    def transpose(x: Any, *a: Any) -> Operator:
        pullback = vjp(lambda y: function(y, *a), x)[1]
        return lambda w: pullback(w)[0]

    def value(*leaves: Any) -> tuple[Any, ...]:
        a = arg_structure.build(leaves)
        (start,) = structure.build(starts)
        found = find(lambda x: function(x, *a), start)
        plain = untracked((found,), structure, name)
        return tuple(parted(joined(plain), starts))

    def pull(needs: Sequence[bool], g: Any, ans: Any, _saved: Any, *leaves: Any) -> list[Any]:
        (x,) = structure.build(ans)
        (right,) = structure.build(filled(g, ans))
        w = solve(transpose, right, (x, *arg_structure.build(leaves)))
        chosen = [i for i, need in enumerate(needs) if need]
        found = pulled(some(leaves, chosen, x), [leaves[i] for i in chosen], w)
        parts: list[Any] = [None] * len(leaves)
        for i, part in zip(chosen, found, strict=True):
            parts[i] = -part
        return parts

    def push(ts: Sequence[Any], ans: Any, _saved: Any, *leaves: Any) -> tuple[Any, ...]:
        (x,) = structure.build(ans)
        chosen = [i for i, t in enumerate(ts) if t is not None]
        primals = tuple(leaves[i] for i in chosen)
        moved = jvp(some(leaves, chosen, x), primals, tuple(ts[i] for i in chosen))[1]
        right = tree_map(lambda part: -part, moved)
        return tuple(flatten(solve(jacobian, right, (x, *arg_structure.build(leaves))))[0])

    primitive = Primitive(
        name, value, None, joint=pull, joint_jvp=push, outputs=True, register=False
    )
    (found,) = structure.build(primitive(*arg_leaves))
    guard_closure(name, around or function, found)
    return found
