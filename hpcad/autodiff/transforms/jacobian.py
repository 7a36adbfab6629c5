"""Jacobians and Hessians as arrays, by one pass per row or column.

There is no vectorising transform: a Jacobian with n columns or m rows costs that many walks over
one record of the function. Products with it (:mod:`hpcad.autodiff.transforms.products`) cost one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hpcad.autodiff.guard import Guard
from hpcad.autodiff.keep import EVERYTHING, REVERSE, TANGENT
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.transforms.linearization import Aval, Linearization, record
from hpcad.autodiff.transforms.primals import Argnums, is_single, restrict
from hpcad.backend.half import is_inexact
from hpcad.errors import DifferentiationError


def jacobian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return the Jacobian, by columns (forward) or rows (reverse), whichever are fewer.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays, returning a pytree of arrays; with ``has_aux`` a pair of it and of
        anything else.
    argnums : int or tuple of int
        Arguments to differentiate with respect to.
    has_aux : bool
        The result is then ``(jacobian, aux)``.
    holomorphic : bool
        Function of complex numbers to complex numbers, complex differentiable: ``dw/dz``.

    Returns
    -------
    callable
        For an answer of shape ``s`` and an argument of shape ``t`` it returns an array of shape
        ``s + t``. For trees it returns a tree like the answer, of trees like the argument (a
        tuple of these for a tuple of argnums), of such blocks.

    Raises
    ------
    DifferentiationError
        When called: complex numbers go in and come out, and ``holomorphic`` was not said.

    Notes
    -----
    Complex numbers on one side only have one Jacobian each: from complex to real the rows of
    reverse mode, ``df/dx - i df/dy``; from real to complex the columns of forward mode.
    """
    return _differentiated(function, argnums, has_aux, holomorphic, EVERYTHING)


def jacfwd(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return the Jacobian by forward mode, one column after the other; see :func:`jacobian`."""
    return _differentiated(function, argnums, has_aux, holomorphic, TANGENT)


def jacrev(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return the Jacobian by reverse mode, one row after the other; see :func:`jacobian`."""
    return _differentiated(function, argnums, has_aux, holomorphic, REVERSE)


def hessian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return the Hessian, forward over reverse: one column for each number that goes in.

    Parameters are those of :func:`jacobian`. For a scalar function of an array of shape ``t`` the
    result has shape ``t + t``; for trees it is a tree like the argument of trees like the
    argument. With ``has_aux`` it returns ``(hessian, aux)``.
    """
    inner = jacrev(function, argnums, has_aux=has_aux, holomorphic=holomorphic)
    return jacfwd(inner, argnums, has_aux=has_aux, holomorphic=holomorphic)


def _differentiated(
    function: Callable[..., Any], argnums: Argnums, has_aux: bool, holomorphic: bool, purpose: int
) -> Callable[..., Any]:
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        restricted, chosen, positions = restrict(function, args, kwargs, argnums)
        _, linear, aux = record(restricted, chosen, has_aux, positions=positions, purpose=purpose)
        forward = _forward(linear, holomorphic, purpose)
        blocks = columns(linear) if forward else rows(linear)
        parts = [linear.structure.build(of_leaf) for of_leaf in blocks]
        if is_single(argnums):
            parts = [part[0] for part in parts]
        tree = linear.out.build(parts)
        return (tree, aux) if has_aux else tree

    return differentiated


def _forward(linear: Linearization, holomorphic: bool, purpose: int) -> bool:
    """Whether to go by columns; checks what numbers go in and come out."""
    ins = [x.dtype.kind for x in linear.inputs]
    outs = [dtype.kind for _, dtype in linear.avals]
    if holomorphic:
        if {*ins, *outs} != {"c"}:
            raise DifferentiationError(
                "holomorphic=True is for functions of complex arrays that return complex arrays; "
                "leave it out, or convert with .astype(complex)"
            )
    elif "c" in ins and ("c" in outs or purpose == TANGENT):
        raise DifferentiationError(
            "a Jacobian with respect to complex numbers needs a function with real values (by "
            "jacobian or jacrev), or holomorphic=True if it is complex differentiable; otherwise "
            "differentiate with respect to real and imaginary part"
        )
    elif "c" in outs and purpose == REVERSE:
        raise DifferentiationError(
            "jacrev needs a function with real values; use jacobian or jacfwd for complex values "
            "of real arguments, or holomorphic=True if everything is complex"
        )
    if purpose != EVERYTHING:
        return purpose == TANGENT
    if not holomorphic and ("c" in outs or "c" in ins):
        return "c" in outs
    return sum(x.size for x in linear.inputs) <= sum(math.prod(shape) for shape, _ in linear.avals)


def rows(linear: Linearization) -> list[list[Any]]:
    """Blocks by answer, then by argument: one pull per element of the answers."""
    blocks = []
    verified: set[Guard] = set()
    for k, aval in enumerate(linear.avals):
        if linear.slots[k] is None:
            blocks.append([linear.zeros((*aval[0], *x.shape), x.dtype) for x in linear.inputs])
            continue
        pulled = []
        for unit in _units(linear, aval):
            seeds = [unit if i == k else None for i in range(len(linear.avals))]
            pulled.append(linear.pull(seeds, verified=verified))
        blocks.append(
            [_block(linear, [p[j] for p in pulled], 0, (*aval[0], *x.shape), x.dtype)
             for j, x in enumerate(linear.inputs)]
        )  # fmt: skip
    return blocks


def columns(linear: Linearization) -> list[list[Any]]:
    """Blocks by answer, then by argument: one push per element of the arguments."""
    blocks: list[list[Any]] = [[] for _ in linear.avals]
    verified: set[Guard] = set()
    for j, x in enumerate(linear.inputs):
        pushed = []
        for unit in _units(linear, (x.shape, x.dtype)):
            tangents = [unit if i == j else None for i in range(len(linear.inputs))]
            pushed.append(linear.push(tangents, verified))
        for k, (shape, dtype) in enumerate(linear.avals):
            kind = dtype if is_inexact(dtype) else x.dtype
            blocks[k].append(_block(linear, [p[k] for p in pushed], -1, (*shape, *x.shape), kind))
    return blocks


def _units(linear: Linearization, aval: Aval) -> Any:
    """The unit arrays of a shape and dtype, one after the other."""
    shape, dtype = aval
    for i in range(math.prod(shape)):
        unit = linear.zeros((math.prod(shape),), dtype)
        unit[i] = 1
        yield unit.reshape(shape)


def _block(
    linear: Linearization, parts: list[Any], axis: int, shape: tuple[int, ...], dtype: Any
) -> Any:
    if not parts:
        return linear.zeros(shape, dtype)
    return LINKS.stack(parts, axis).reshape(shape)
