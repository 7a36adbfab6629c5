"""Linear systems given by a product, without a matrix; the derivative is another such system.

With ``A x = b``: tangent ``A dx = db - dA x``; cotangent ``A^T w = g``, then ``w`` for ``b`` and
``-w^T (dA x)`` for what A is made of (M. B. Giles, "Collected matrix derivative results for forward
and reverse mode algorithmic differentiation", 2008). Both are linear systems again, so the rules
nest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from hpcad.autodiff.equations.krylov import dense_solve, gmres
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.pytree import Structure, flatten, leaves_like
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.autodiff.transforms.jvp import jvp
from hpcad.autodiff.transforms.primals import as_primals
from hpcad.autodiff.transforms.vjp import vjp
from hpcad.errors import DifferentiationError, ShapeError

Operator = Callable[[Any], Any]
MakeOperator = Callable[..., Operator]

DENSE = 64  # unknowns, up to which the matrix is formed by as many products


def linear_solve(
    matvec: Callable[..., Any],
    b: Any,
    *args: Any,
    tol: float | None = None,
    maxiter: int = 1000,
) -> Any:
    """Solve ``matvec(x, *args) = b`` for x, where ``matvec`` is linear in x.

    Parameters
    ----------
    matvec : callable
        Of a pytree like ``b`` and of ``args``; returns a pytree like ``b``.
    b : pytree of arrays
    *args : pytrees
        What the operator is made of; derivatives reach these and ``b``. Tensors that are
        differentiated must come in here: ``matvec`` must not take them from its surroundings.
    tol : float, optional
        Of the residual relative to ``b``; ``eps^0.8`` when left out.
    maxiter : int

    Returns
    -------
    pytree
        Like ``b``.

    Raises
    ------
    ConvergenceError
        The operator is singular, or GMRES did not converge.

    Notes
    -----
    Up to 64 unknowns the matrix is formed and factorised; beyond, GMRES (Y. Saad and
    M. H. Schultz, SIAM J. Sci. Stat. Comput. 7, 1986) restarts every 50 products. A derivative
    costs one solve more, and one product with the derivative of ``matvec``.
    """
    found = solve(lambda *a: lambda x: matvec(x, *a), b, args, tol, maxiter)
    guard_closure("linear_solve", matvec, found)
    return found


def solve(
    make: MakeOperator, b: Any, args: Sequence[Any], tol: float | None = None, maxiter: int = 1000
) -> Any:
    """:func:`linear_solve` with the operator ``make(*args)``, made once for many products."""
    b_leaves, outer = as_primals((b,), ["b"])
    b_structure = outer.children[0]
    arg_leaves, arg_structure = flatten(tuple(args))
    n = len(b_leaves)

    def value(*leaves: Any) -> tuple[Any, ...]:
        operator = make(*arg_structure.build(leaves[n:]))
        return tuple(_solved(operator, list(leaves[:n]), b_structure, tol, maxiter))

    def pull(needs: Sequence[bool], g: Any, x: Any, _saved: Any, *leaves: Any) -> list[Any]:
        args = arg_structure.build(leaves[n:])
        right = b_structure.build(filled(g, x))
        w = solve(transposed_operator(make, right), right, args, tol, maxiter)
        chosen = [i for i, need in enumerate(needs[n:]) if need]
        product = _product(make, b_structure.build(x), arg_structure, leaves[n:], chosen)
        found = pulled(product, [leaves[n + i] for i in chosen], w)
        parts: list[Any] = [*flatten(w)[0], *[None] * len(arg_leaves)]
        for i, part in zip(chosen, found, strict=True):
            parts[n + i] = -part
        return parts

    def push(ts: Sequence[Any], x: Any, _saved: Any, *leaves: Any) -> tuple[Any, ...]:
        right = filled(ts[:n], x)
        chosen = [i for i, t in enumerate(ts[n:]) if t is not None]
        if chosen:
            product = _product(make, b_structure.build(x), arg_structure, leaves[n:], chosen)
            primals = tuple(leaves[n + i] for i in chosen)
            moved = jvp(product, primals, tuple(ts[n + i] for i in chosen))[1]
            right = [r - m for r, m in zip(right, flatten(moved)[0], strict=True)]
        args = arg_structure.build(leaves[n:])
        return tuple(flatten(solve(make, b_structure.build(right), args, tol, maxiter))[0])

    primitive = Primitive(
        "linear_solve", value, None, joint=pull, joint_jvp=push, outputs=True, register=False
    )
    return b_structure.build(primitive(*b_leaves, *arg_leaves))


def guard_closure(name: str, function: Callable[..., Any], solution: Any) -> None:
    """Guard the arrays that a function found around it: the rules of its equation call it again."""
    leaves = flatten(solution)[0]
    x = leaves[0] if leaves and STATE.guarding else None
    while isinstance(x, Tensor):
        if isinstance(x.follower, Tape) and x.slot in x.follower.avals:
            for array in _around(function):
                x.follower._guard(x.slot, array, name)
        x = x.value


def _around(function: Callable[..., Any]) -> list[np.ndarray]:
    function = inspect.unwrap(getattr(function, "__func__", function))
    values = [*(getattr(function, "__defaults__", None) or ())]
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # it is empty
            values.append(cell.cell_contents)
    return [x for value in values if type(x := value_of(value)) is np.ndarray]


def transposed_operator(make: MakeOperator, like: Any) -> MakeOperator:
    """The transpose of each operator, by pulling back through it (its linear point is 0)."""

    def make_transposed(*args: Any) -> Operator:
        leaves, structure = flatten(like)
        zeros = structure.build([LINKS.zeros_like(x) for x in leaves])
        _, pullback = vjp(make(*args), zeros)
        return lambda w: pullback(w)[0]

    return make_transposed


def _product(
    make: MakeOperator, x: Any, structure: Structure, leaves: Sequence[Any], chosen: Sequence[int]
) -> Callable[..., Any]:
    """``A(args) x`` as a function of some leaves of args."""

    def product(*some: Any) -> Any:
        full = list(leaves)
        for i, leaf in zip(chosen, some, strict=True):
            full[i] = leaf
        return make(*structure.build(full))(x)

    return product


def pulled(function: Callable[..., Any], primals: Sequence[Any], w: Any) -> tuple[Any, ...]:
    """``w^T J``; nothing is run where there are no primals."""
    return vjp(function, *primals)[1](w, retain=False) if primals else ()


def filled(parts: Sequence[Any], likes: Sequence[Any]) -> list[Any]:
    """Zeros in the place of None."""
    return [
        LINKS.zeros_like(like) if part is None else part
        for part, like in zip(parts, likes, strict=True)
    ]


# -- on plain arrays ----------------------------------------------------------------------


def untracked(tree: Any, structure: Structure, name: str) -> list[Any]:
    """Plain leaves of what a user's function returned inside of a solver.

    Raises
    ------
    DifferentiationError
        A tensor that is differentiated got in otherwise than as an argument.
    """
    leaves = leaves_like(tree, structure, f"value of {name}", "unknown")
    if any(isinstance(x, Tensor) and x.level != CONSTANT for x in leaves):
        raise DifferentiationError(
            f"{name} uses a tensor or parameter from its surroundings, whose derivative would be "
            "lost; pass it as one of the arguments that follow"
        )
    return [value_of(x) for x in leaves]


def joined(leaves: Sequence[Any]) -> Any:
    """All numbers of the leaves in one vector."""
    return np.concatenate([np.ravel(x) for x in leaves])


def parted(vector: Any, likes: Sequence[Any]) -> list[Any]:
    """The inverse of :func:`joined`."""
    parts, start = [], 0
    for like in likes:
        size = int(np.size(like))
        part = vector[start : start + size].reshape(np.shape(like))
        if part.dtype.kind == "c" and like.dtype.kind != "c":
            raise ShapeError(
                "the solution of a system with real unknowns became complex; give unknowns (x0, b) "
                "of complex dtype"
            )
        parts.append(part.astype(like.dtype, copy=False))
        start += size
    return parts


def tolerance(tol: float | None, dtype: Any) -> float:
    """The given one, or one that rounding allows."""
    return float(np.finfo(dtype).eps ** 0.8) if tol is None else tol


def _solved(
    operator: Operator, b: list[Any], structure: Structure, tol: float | None, maxiter: int
) -> list[Any]:
    vector = joined(b)

    def product(v: Any) -> Any:
        answer = operator(structure.build(parted(v, b)))
        return joined(untracked(answer, structure, "matvec"))

    if vector.size <= DENSE:
        return parted(dense_solve(product, vector), b)
    return parted(gmres(product, vector, tolerance(tol, vector.dtype), maxiter), b)
