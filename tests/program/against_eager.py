"""Two lives of one function, the compiled and the eager one, call by call.

A *world* is made anew for each life, so that neither sees what the other changed. It is a function
that returns ``function, arguments[, observed]``: what is compiled; ``arguments(i)``, those of call
number ``i``; and ``observed()``, everything else that the function may have changed.
"""

from __future__ import annotations

import numpy as np

import hpcad
from hpcad import Tensor
from hpcad.autodiff import value_of
from hpcad.autodiff.pytree import flatten

CALLS = 5  # two are captured, the others replayed
ULPS = 4096  # of the largest element, after several steps that carry differences on


def lives(world, calls=CALLS, **options):
    """Hold the compiled function against the eager one; return it."""
    eager, arguments, *observed = world()
    function, others, *seen = world()
    compiled = hpcad.compile(function, **options)
    for i in range(calls):
        expected = outcome(eager, arguments(i))
        found = outcome(compiled, others(i))
        assert_alike(found, expected, f"result of call {i}")
        for a, b in zip(seen, observed, strict=True):
            assert_alike(a(), b(), f"what call {i} left behind")
    return compiled


def becomes_a_program(world, calls=CALLS, **options):
    """The same, and it is compiled: as C and as NumPy."""
    for native in (True, False):
        compiled = lives(world, calls, strict=True, native=native, **options)
        assert compiled.program is not None
        assert not compiled.obstacles


def stays_eager(world, reason, line, calls=CALLS):
    """The same, and it says why not: a part of the reason, and of the text of the line."""
    compiled = lives(world, calls)
    (obstacle, *_) = compiled.obstacles
    assert reason in obstacle
    if line:
        path, number = obstacle.rpartition("(at ")[2].partition(")")[0].rsplit(":", 1)
        with open(path) as source:
            found = source.readlines()[int(number) - 1]
        assert line in found, f"{obstacle}, where stands {found!r}"


def outcome(function, args):
    try:
        return function(*args)
    except Exception as error:  # noqa: BLE001  (both lives may raise the same)
        return type(error).__mro__[1:] if type(error).__module__.startswith("hpcad") else error


def assert_alike(a, b, what):
    """The same containers, types, shapes, dtypes, and numbers but for rounding."""
    leaves, structure = flatten(a)
    others, other_structure = flatten(b)
    assert structure == other_structure, what
    for x, y in zip(leaves, others, strict=True):
        assert type(x) is type(y), f"{what}: {x!r} and {y!r}"
        if isinstance(x, np.ndarray | np.generic | Tensor):
            assert_close(np.asarray(value_of(x)), np.asarray(value_of(y)), what)
        elif isinstance(x, Exception):
            assert str(x) == str(y)
        else:
            assert x == y, what


def assert_close(x, y, what):
    assert (x.dtype, x.shape) == (y.dtype, y.shape), what
    if x.dtype.kind not in "fc":
        np.testing.assert_array_equal(x, y, what)
        return
    eps = np.finfo(y.dtype).eps
    scale = np.abs(y[np.isfinite(y)]).max(initial=0.0)
    np.testing.assert_allclose(x, y, rtol=ULPS * eps, atol=ULPS * eps * scale, err_msg=what)
