"""The comparison of exact derivatives with numerical ones, and what is said when they differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.autodiff.numerical.probe import Probe
from hpcad.autodiff.numerical.stencils import stencil
from hpcad.autodiff.tensor import value_of
from hpcad.autodiff.transforms.jvp import jvp
from hpcad.autodiff.transforms.vjp import vjp
from hpcad.backend import backend_of, to_host

_QUICK = "central4"  # four values; where it disagrees, a careful derivative decides
_STEP = 1e-4  # of it in double precision: truncation and rounding are both about 1e-12
_ENTRIES = 2000  # at most, looked at one by one to find the wrong one


@dataclass
class Agreement:
    """Checks that derivatives agree; the settings of one call of ``check_grads``."""

    modes: list[str]
    atol: float
    rtol: float
    eps: float | None
    rng: np.random.Generator

    def run(
        self, f: Callable[..., Any], points: list[Any], names: list[str], order: int, what: str
    ) -> None:
        """Check ``f`` (of arrays, returning a tuple of arrays), then its derivatives."""
        probe = Probe(f, points)
        vs = [self.direction(x) for x in points]
        ws = [self.direction(value_of(y)) for y in probe.value]
        expected = self.project(ws, self.quick(probe, vs))
        at = Place(probe, points, names, ws, what)
        slope, size = None, 0.0
        if "forward" in self.modes:
            values, tangents = jvp(f, points, vs)
            self.alike(values, probe.value, tangents, f"{what}forward mode")
            slope = self.project(ws, probe.flat(tangents))
            size = float(np.sum(np.abs(_weighted(ws, probe.flat(tangents)))))
            self.compare(at, "forward", slope, expected, vs)
        if "reverse" in self.modes:
            values, pullback = vjp(f, *points)
            cotangents = pullback(tuple(ws))
            self.alike(values, probe.value, (), f"{what}reverse mode")
            self.alike((), points, cotangents, f"{what}reverse mode")
            pulled = _pairing(cotangents, vs)
            self.compare(at, "reverse", pulled, expected, vs)
            size += _pairing([np.abs(_host(g)) for g in cotangents], [np.abs(v) for v in vs])
            rounding = max(1e3 * probe.eps, 1e-5 * self.rtol)
            if slope is not None and not abs(slope - pulled) <= rounding * (1.0 + size):
                self.fail(at, "reverse", pulled, slope, "forward")
        if order > 1:
            self.derivatives(f, points, vs, ws, names, order, what)

    def derivatives(
        self, f: Any, points: list[Any], vs: list[Any], ws: list[Any], names: list[str],
        order: int, what: str,
    ) -> None:  # fmt: skip
        """Check the derivatives of the derivatives."""
        n = len(points)

        def pushed(*xs: Any) -> Any:
            return jvp(f, xs[:n], xs[n:])[1]

        def pulled(*xs: Any) -> Any:
            return vjp(f, *xs[:n])[1](tuple(xs[n:]))

        if "forward" in self.modes:
            more = [f"tangent of {name}" for name in names]
            self.run(pushed, points + vs, names + more, order - 1, f"{what}forward mode, then ")
        if "reverse" in self.modes:
            more = [f"cotangent of result {i}" for i in range(len(ws))]
            self.run(pulled, points + ws, names + more, order - 1, f"{what}reverse mode, then ")

    def compare(self, at: Place, mode: str, exact: float, expected: float, vs: list[Any]) -> None:
        """With a quick numerical derivative; where that differs, with a careful one."""
        if self.close(exact, expected):
            return
        expected = self.careful(at.probe, vs, at.ws)
        if not self.close(exact, expected):
            self.fail(at, mode, exact, expected, "numerically")

    def direction(self, x: Any) -> Any:
        """Random numbers of the shape and dtype of ``x``."""
        v = self.rng.standard_normal(np.shape(x))
        if x.dtype.kind == "c":
            v = v + 1j * self.rng.standard_normal(np.shape(x))
        return backend_of(x).xp.asarray(v, x.dtype)

    def quick(self, probe: Probe, vs: list[Any]) -> np.ndarray:
        """``J v`` from four values."""
        step = self.eps or (_STEP if probe.eps < 1e-10 else probe.eps**0.2)
        line = probe.line(vs)
        with np.errstate(all="ignore"):
            return np.asarray(sum(w * line(k * step) for k, w in stencil(_QUICK).items()) / step)

    def careful(self, probe: Probe, vs: list[Any], ws: list[Any]) -> float:
        """``Re <w, J v>`` with steps chosen by their errors."""
        if self.eps is not None:
            return self.project(ws, self.quick(probe, vs))
        return self.project(ws, probe.derivative(vs, "richardson").value)

    def project(self, ws: list[Any], flat: np.ndarray) -> float:
        return float(np.sum(_weighted(ws, flat)))

    def close(self, a: float, b: float) -> bool:
        return abs(a - b) <= self.atol + self.rtol * max(abs(a), abs(b))

    def alike(self, values: Any, points: Any, derivatives: Any, where: str) -> None:
        """Values are the function's own; derivatives have the shapes and dtypes of ``points``."""
        for i, (y, x) in enumerate(zip(values, points, strict=False)):
            if not np.allclose(_host(y), _host(x), self.rtol, self.atol, equal_nan=True):
                raise AssertionError(f"{where}: result {i} is not the function's value")
        for i, (d, x) in enumerate(zip(derivatives, points, strict=False)):
            if d.shape != x.shape or d.dtype != x.dtype:
                raise AssertionError(
                    f"{where}: derivative {i} has shape {d.shape} and dtype {d.dtype}, but belongs "
                    f"to an array of shape {x.shape} and dtype {x.dtype}"
                )

    def fail(self, at: Place, mode: str, exact: float, expected: float, against: str) -> None:
        """Look at the entries one by one, and raise."""
        name, found, other = at.worst(self, mode, against)
        raise AssertionError(
            f"{at.what}{mode} mode: the derivative with respect to {name}, is {found!r}, {against} "
            f"{other!r}; along a random direction it is {exact!r}, {against} {expected!r}"
        )


@dataclass
class Place:
    """A function, its arguments and their names, cotangents, and of what it is the derivative."""

    probe: Probe
    points: list[Any]
    names: list[str]
    ws: list[Any]
    what: str

    def worst(self, check: Agreement, mode: str, against: str) -> tuple[str, float, float]:
        """The entry of the arguments on whose derivative two ways of taking it differ most."""
        entry, other = self.entries(check, mode), self.entries(check, against)
        found = []
        total = sum(x.size for x in self.points)
        for leaf, x in enumerate(self.points):
            units = (1.0, 1.0j) if x.dtype.kind == "c" else (1.0,)
            share = max(1, _ENTRIES * x.size // max(1, total))
            for index in itertools.islice(np.ndindex(x.shape), share):
                for unit in units:
                    a, b = entry(leaf, index, unit), other(leaf, index, unit)
                    distance = abs(a - b) / (1.0 + abs(b))
                    found.append((np.nan_to_num(distance, nan=np.inf), leaf, index, unit, a, b))
        _, leaf, index, unit, a, b = max(found, key=lambda each: each[0])
        name = f"{self.names[leaf]}, " + (f"entry {index}" if index else "its value")
        return name + (" (imaginary part)" if unit == 1.0j else ""), a, b

    def entries(self, check: Agreement, way: str) -> Callable[..., float]:
        """``<w, df / dx[leaf][index]>``, as a function of leaf, index and unit (1 or 1j)."""
        f, points = self.probe.function, self.points
        if way == "reverse":
            gradients = vjp(f, *points)[1](tuple(self.ws))
            return lambda leaf, index, unit: float(np.real(_host(gradients[leaf])[index] * unit))

        def along(leaf: int, index: Any, unit: complex) -> float:
            vs = [backend_of(p).zeros(p.shape, p.dtype) for p in points]
            vs[leaf][index] = unit
            if way == "numerically":
                return check.careful(self.probe, vs, self.ws)
            return check.project(self.ws, self.probe.flat(jvp(f, points, vs)[1]))

        return along


def _host(x: Any) -> np.ndarray:
    return np.asarray(to_host(value_of(x)))


def _weighted(ws: list[Any], flat: np.ndarray) -> np.ndarray:
    joined = np.concatenate([np.zeros(0), *(_host(w).ravel() for w in ws)])
    return np.real(joined * flat)


def _pairing(cotangents: Sequence[Any], vs: Sequence[Any]) -> float:
    """``Re sum(g v)``, in double precision."""
    return sum(
        float(np.sum(np.real(_host(g).astype(np.result_type(g.dtype, np.float64)) * _host(v))))
        for g, v in zip(cotangents, vs, strict=True)
    )
