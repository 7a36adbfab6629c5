"""A function of pytrees as one of a number: its values along a line through its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.numerical import difference
from hpcad.autodiff.numerical.difference import Line, Slope
from hpcad.autodiff.pytree import flatten
from hpcad.autodiff.tensor import value_of
from hpcad.autodiff.transforms.primals import as_primal
from hpcad.backend import backend_of, to_host
from hpcad.backend.half import is_inexact, limits
from hpcad.errors import ConfigError, ShapeError


class Probe:
    """A function and where it is differentiated.

    Parameters
    ----------
    function : callable
        ``function(*args)``; it is evaluated once, here, for the form of its value.
    args : sequence of pytrees

    Attributes
    ----------
    points : list of array
        The leaves of the arguments.
    value : pytree
        The function's value there.
    structure, shapes
        Of the value.
    size : int
        Its number of elements.
    complex_values : array of bool, shape (size,)
        Which of them are complex.
    eps : float
        The coarsest precision among arguments and values.
    """

    def __init__(self, function: Callable[..., Any], args: Sequence[Any]) -> None:
        self.function = function
        leaves, self._form = flatten(tuple(args))
        self.points = [value_of(as_primal(x)) for x in leaves]
        self.value = function(*self._form.build(self.points))
        results, self.structure = flatten(self.value)
        arrays = [np.asarray(to_host(value_of(r))) for r in results]
        self.shapes = [a.shape for a in arrays]
        self.size = sum(a.size for a in arrays)
        kinds = [np.full(a.size, a.dtype.kind == "c") for a in arrays]
        self.complex_values = np.concatenate([np.zeros(0, bool), *kinds])
        floats = [a for a in (*arrays, *self.points) if is_inexact(a.dtype)]
        self.eps = max((float(limits(a.dtype).eps) for a in floats), default=2.0**-52)

    def derivative(
        self,
        directions: Sequence[Any],
        method: str,
        step: float | None = None,
        derivative: int = 1,
    ) -> Slope:
        """First or second derivative along a line, of every element of the (flat) value."""
        if step is not None and not 0 < step < math.inf:
            raise ConfigError(f"the step of a numerical derivative must be positive, not {step}")
        line, eps = self.line(directions), self.eps
        place, scale = self._lengths(directions)
        with np.errstate(all="ignore"):  # steps may leave the domain: such values are not used
            noise = difference.measured_noise(line, place or scale, eps)
            if method == "complex":
                return self._complex_step(directions, line, noise, place, scale, step)
            steps = difference.steps_to_try(method, scale, place, derivative, eps)
            if step is not None:
                steps = [step]
            return difference.differentiate(line, method, steps, derivative, noise, eps)

    def _complex_step(
        self, directions: Sequence[Any], line: Line, noise: Any, place: float, scale: float,
        step: float | None,
    ) -> Slope:  # fmt: skip
        if self.complex_values.any() or any(x.dtype.kind == "c" for x in self.points):
            raise ConfigError(
                'method="complex" differentiates real functions of real numbers; use '
                '"richardson" or a stencil for complex ones'
            )
        steps = difference.steps_to_try("central4", scale, place, 1, self.eps)
        plain = difference.differentiate(line, "central4", steps, 1, noise, self.eps)
        if step is None:
            widest = max(self.points, key=lambda x: limits(x.dtype).tiny, default=np.zeros(0))
            step = float(limits(widest.dtype).tiny) ** (1 / 3) * scale
        return difference.by_complex_step(line, step, plain, place or scale, self.eps)

    def line(self, directions: Sequence[Any]) -> Line:
        """The flat values at ``points + t directions``; NaN where the function has none."""
        there = [backend_of(x).xp.asarray(v) for x, v in zip(self.points, directions, strict=True)]

        def at(t: complex) -> np.ndarray:
            moved = [_moved(x, t, v) for x, v in zip(self.points, there, strict=True)]
            try:
                return self.flat(self.function(*self._form.build(moved)))
            except (ArithmeticError, ValueError):  # math.log(-1.0)
                return np.full(self.size, np.nan)

        return at

    def flat(self, value: Any) -> np.ndarray:
        """All elements in double precision."""
        arrays = [np.asarray(to_host(value_of(r))).ravel() for r in flatten(value)[0]]
        joined = np.concatenate([np.zeros(0), *arrays])
        return joined.astype(complex if joined.dtype.kind == "c" else float, copy=False)

    def unflatten(self, flat: np.ndarray) -> Any:
        """Flat numbers as a tree like the value."""
        return self.structure.build(_split(flat, self.shapes))

    def split(self, flat: np.ndarray) -> list[Any]:
        """Flat numbers as directions."""
        return self.directions(_split(flat, [x.shape for x in self.points]))

    def directions(self, leaves: Sequence[Any]) -> list[Any]:
        """Check directions, and put them where the points are."""
        if len(leaves) != len(self.points):
            raise ShapeError(
                f"{len(leaves)} directions were given for {len(self.points)} arrays; the "
                "direction must be like the point"
            )
        found = []
        for x, v in zip(self.points, leaves, strict=True):
            v = backend_of(x).xp.asarray(value_of(v))
            if v.shape != x.shape:
                raise ShapeError(f"the direction has shape {v.shape}, but x has {x.shape}")
            found.append(v)
        return found

    def _lengths(self, directions: Sequence[Any]) -> tuple[float, float]:
        """How far ``t`` may go for the moved coordinates to change by about their size.

        The second number takes their size as at least 1.
        """
        size = speed = 0.0
        for x, v in zip(self.points, directions, strict=True):
            lengths, speeds = np.abs(to_host(x)), np.abs(to_host(v))
            size = max(size, float(np.max(lengths, where=speeds > 0, initial=0.0)))
            speed = max(speed, float(np.max(speeds, initial=0.0)))
        speed = speed or 1.0
        return size / speed, max(1.0, size) / speed


def _moved(x: Any, t: complex, v: Any) -> Any:
    """``x + t v``, computed in double precision and rounded to the precision of ``x``."""
    moved = x.astype(np.result_type(x.dtype, np.float64), copy=False) + t * v
    return moved.astype(np.result_type(x.dtype, np.complex64) if moved.dtype.kind == "c"
                        else x.dtype, copy=False)  # fmt: skip


def _split(flat: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    sizes = [int(np.prod(s)) for s in shapes]
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=False)]
