"""Ordinary differential equations, differentiated as they are discretised.

The steps are recorded like any program, each of them run again in the backward pass instead of
being remembered, so derivatives are those of the computed solution to rounding, also with few
steps (D. Onken and L. Ruthotto, "Discretize-optimize vs. optimize-discretize for time-series
regression and continuous normalizing flows", arXiv:2005.13420). Step sizes count as constants.

Step sizes as in E. Hairer, S. P. Norsett and G. Wanner, "Solving Ordinary Differential Equations
I", II.4 (1993).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hpcad.autodiff.equations.runge_kutta import DOPRI5, RK4, advance
from hpcad.autodiff.links import LINKS
from hpcad.autodiff.pytree import flatten, leaves_like
from hpcad.autodiff.recomputation.remat import remat
from hpcad.autodiff.recomputation.sequence import remat_while
from hpcad.autodiff.tensor import CONSTANT, Tensor, value_of
from hpcad.autodiff.transforms.primals import as_primals
from hpcad.errors import ConfigError, ConvergenceError, ShapeError

_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0
_SMALLEST = 1e-12  # part of an interval; shorter steps lead nowhere


class _State(NamedTuple):
    """Where an integration is: parts of the interval are plain numbers, and so constants."""

    y: Any
    slope: Any  # at y; the last stage of Dormand and Prince is the first of the next step
    at: float  # part of the interval that is done
    step: float  # part of it to try next
    taken: int


def odeint(
    function: Callable[..., Any],
    y0: Any,
    t: Any,
    *args: Any,
    method: str = "dopri5",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    steps: int = 10,
    max_steps: int = 10_000,
    slots: int | None = None,
) -> Any:
    """Solve ``dy/dt = function(y, t, *args)`` from ``y(t[0]) = y0``.

    Parameters
    ----------
    function : callable
        Of a pytree, a number and ``args``; returns a pytree like ``y0``. It may use parameters
        and tensors of its surroundings.
    y0 : pytree of floating-point or complex arrays
    t : array, shape (n,)
        Where the solution is wanted; the first entry belongs to ``y0``. May decrease.
    *args : pytrees
    method : {"dopri5", "rk4"}
        Adaptive steps, or fixed ones.
    rtol, atol : float
        The error of an adaptive step is at most ``atol + rtol |y|`` in the mean square.
    steps : int
        How many steps of ``"rk4"`` lie between two entries of t.
    max_steps : int
        How many adaptive steps may lie between two entries.
    slots : int, optional
        How many states to keep between two entries for the backward pass, the others being
        computed again (:func:`~hpcad.autodiff.remat_while`). When left out the state before each
        step is kept, and each step is run twice.

    Returns
    -------
    pytree
        Like ``y0``, with a leading axis of length n.

    Raises
    ------
    ConvergenceError
        The steps became too many or too short.

    Notes
    -----
    Differentiable with respect to ``y0``, ``t`` and ``args`` to any order: exactly for the steps
    that were taken. With respect to t, steps keep their parts of the interval.
    """
    if method not in ("dopri5", "rk4"):
        raise ConfigError(f"odeint knows the methods 'dopri5' and 'rk4', not {method!r}")
    times = _times(t)
    leaves, structure = as_primals((y0,), ["y0"])
    (y,) = structure.build(leaves)
    found = [flatten(y)[0]]
    guess = 1 / steps if method == "rk4" else 0.05
    for begin, end in itertools.pairwise(times):
        span = end - begin
        if float(value_of(span)) != 0.0:
            interval = _Interval(function, args, method, begin, span, rtol, atol, max_steps)
            y, guess = interval.cross(y, guess, slots)
        found.append(flatten(y)[0])
    stacked = [LINKS.stack(list(parts), 0) for parts in zip(*found, strict=True)]
    return structure.build(stacked)[0]


def _times(t: Any) -> list[Any]:
    if isinstance(t, Tensor) and t.level != CONSTANT:
        times = [t[i] for i in range(len(t))] if t.ndim == 1 else []
    else:
        times = np.asarray(value_of(t), float).ravel().tolist() if np.ndim(t) == 1 else []
    if not times:
        raise ShapeError(f"odeint needs times of shape (n,) with n > 0, not {np.shape(t)}")
    return times


class _Interval:
    """From one time to the next."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        method: str,
        begin: Any,
        span: Any,
        rtol: float,
        atol: float,
        max_steps: int,
    ) -> None:
        self.function = function
        self.args = args
        self.adaptive = method == "dopri5"
        self.begin = begin
        self.span = span
        self.rtol = rtol
        self.atol = atol
        self.max_steps = max_steps

    def cross(self, y: Any, guess: float, slots: int | None) -> tuple[Any, float]:
        """The solution at the end, and the last step for the next interval to start with."""
        state = _State(y, self.slope(y, 0.0) if self.adaptive else None, 0.0, guess, 0)

        def unfinished(state: _State) -> bool:
            return float(state.at) < 1.0

        if slots is None:
            step = remat(self.step)
            while unfinished(state):
                state = step(state)
        else:
            state = remat_while(unfinished, self.step, slots)(state)
        return state.y, float(state.step)

    def slope(self, y: Any, at: float) -> Any:
        found = self.function(y, self.begin + self.span * at, *self.args)
        likes, structure = flatten(y)
        leaves = leaves_like(found, structure, "value of function", "state")
        shapes = [(np.shape(d), np.shape(x)) for d, x in zip(leaves, likes, strict=True)]
        for have, need in shapes:
            if have != need:
                raise ShapeError(
                    f"the function of odeint returned shape {have} for a state of shape {need}"
                )
        return structure.build(leaves)

    def step(self, state: _State) -> _State:
        """One step; an adaptive one is tried with shorter and shorter lengths."""
        y, slope, at, length, count = state
        at, length, count = float(at), float(length), int(count)
        if not self.adaptive:
            y, _ = advance(RK4, self.slope, y, [self.slope(y, at)], at, length, self.span)
            done = round(1 / length) == count + 1
            return _State(y, None, 1.0 if done else (count + 1) * length, length, count + 1)
        while True:
            self.check(count, length)
            tried = min(length, 1.0 - at)
            stages = [slope]
            moved, error = advance(DOPRI5, self.slope, y, stages, at, tried, self.span)
            ratio = self.error_ratio(error, y, moved)
            count += 1
            factor = _SAFETY * ratio**-0.2 if ratio > 0 else _GROW
            factor = min(_GROW, max(_SHRINK, factor)) if np.isfinite(ratio) else _SHRINK
            if ratio <= 1:
                end = 1.0 if tried >= 1.0 - at else at + tried
                # A step that was cut off by the end says little about the next one.
                following = max(length, tried * factor) if tried < length else tried * factor
                return _State(moved, stages[-1], end, following, count)
            length = tried * factor

    def check(self, count: int, length: float) -> None:
        if count >= self.max_steps or length < _SMALLEST:
            raise ConvergenceError(
                f"odeint took {count} steps after t = {float(value_of(self.begin)):.6g}, and the "
                f"next one would be {length:.2e} of the interval; the equation may be stiff or "
                "its solution may end here: loosen rtol and atol, or raise max_steps",
                length,
                count,
            )

    def error_ratio(self, error: Any, y: Any, new: Any) -> float:
        """Mean-square error over what is allowed."""
        total, count = 0.0, 0
        for e, a, b in zip(*(flatten(tree)[0] for tree in (error, y, new)), strict=True):
            size = np.maximum(np.abs(value_of(a)), np.abs(value_of(b)))
            part = np.abs(e) / (self.atol + self.rtol * size)
            total += float(np.sum(part * part))
            count += int(np.size(part))
        return (total / max(count, 1)) ** 0.5
