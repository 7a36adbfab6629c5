"""Exact derivatives held against numerical ones, and against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.numerical.agreement import Agreement
from hpcad.autodiff.pytree import flatten, paths
from hpcad.autodiff.transforms.primals import as_sequence
from hpcad.backend.half import is_inexact, limits
from hpcad.errors import ConfigError, DifferentiationError

_MODES = {"fwd": "forward", "forward": "forward", "rev": "reverse", "reverse": "reverse"}


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: str | Sequence[str] = ("fwd", "rev"),
    *,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    seed: int = 0,
) -> None:
    """Check the derivatives of a function against numerical ones, along random directions.

    Forward mode is compared with numerical differentiation. Reverse mode is compared with both:
    ``Re <w, J v>`` must equal ``Re <J^T w, v>`` for random ``v`` and ``w``. Derivatives of higher
    order are the same checks of the function ``J v`` and of the function ``J^T w`` (of the
    arguments and of ``v`` or ``w``), so all nestings of the modes are run.

    Parameters
    ----------
    f : callable
        Of pytrees of arrays, real or complex, returning a pytree of arrays. Only what has
        floating or complex dtype is differentiated.
    args : tuple of pytrees
        Where. Away from kinks: numerical differentiation needs a smooth function.
    order : int
        Highest order of derivative.
    modes : sequence of str, or str
        ``"fwd"`` (or ``"forward"``), ``"rev"`` (or ``"reverse"``).
    atol, rtol : float, optional
        Of the projections ``Re <w, J v>``; from the precision of the arguments when left out
        (1e-6 in double precision).
    eps : float, optional
        Step of the numerical derivatives; chosen with care when left out.
    seed : int
        Of the directions.

    Raises
    ------
    AssertionError
        Says in which mode and order a derivative is wrong, of which argument and which of its
        entries, and both numbers.
    DifferentiationError
        There is nothing to differentiate.
    """
    args = as_sequence(args, "args")
    modes = (modes,) if isinstance(modes, str) else modes
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown or not modes or order < 1:
        raise ConfigError(
            f"check_grads: modes={tuple(modes)!r}, order={order!r}; the modes are "
            '"fwd" and "rev", and the order is at least 1'
        )
    leaves, structure = flatten(tuple(args))
    names = [
        name for i, child in enumerate(structure.children) for name in paths(child, f"argument {i}")
    ]
    arrays = [_floating(x) for x in leaves]
    chosen = [i for i, x in enumerate(arrays) if x is not None]

    def of_leaves(*xs: Any) -> tuple[Any, ...]:
        full = list(leaves)
        for i, x in zip(chosen, xs, strict=True):
            full[i] = x
        found, _ = flatten(f(*structure.build(full)))
        return tuple(r for r in found if _floating(r) is not None)

    points = [arrays[i] for i in chosen]
    if not points or not of_leaves(*points):
        raise DifferentiationError(
            "check_grads: the function takes or returns no array of floating-point or complex "
            "numbers"
        )
    coarsest = max(float(limits(x.dtype).eps) for x in (*points, *of_leaves(*points)))
    usual = 1e-6 if coarsest < 1e-10 else coarsest**0.375
    agreement = Agreement(
        [mode for mode in ("forward", "reverse") if mode in {_MODES[m] for m in modes}],
        usual if atol is None else atol,
        usual if rtol is None else rtol,
        eps,
        np.random.default_rng(seed),
    )
    agreement.run(of_leaves, points, [names[i] for i in chosen], order, "")


def check_vjp(
    function: Callable[..., Any],
    args: Sequence[Any],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> None:
    """Check the first derivatives of reverse mode only; see :func:`check_grads`."""
    check_grads(function, args, 1, ("rev",), atol=atol, rtol=rtol, seed=seed)


def _floating(x: Any) -> Any:
    """``x`` as an array that can be differentiated, or None."""
    if isinstance(x, (float, complex)):
        return np.asarray(x)
    dtype = getattr(x, "dtype", None)
    return x if dtype is not None and is_inexact(dtype) else None
