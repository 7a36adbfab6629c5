"""Random programs of assignments, aliases and reads: the same values as NumPy, in place.

Their derivatives are held against differences of the NumPy program, and the modes against one
another.
"""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad, jvp

N = 4


def random_index(r):
    kinds = [
        lambda: int(r.integers(-N, N)),
        lambda: slice(None, None, int(r.choice([-1, 2, 1]))),
        lambda: r.integers(0, N, 3),
        lambda: r.random(N) > 0.5,
        lambda: slice(1, 3),
        lambda: ...,
    ]
    return kinds[r.integers(len(kinds))]()


def run(seed, x, xp):
    """The program of a seed, on tensors (``xp`` is hpcad.numpy) or arrays."""
    r = np.random.default_rng(seed)
    arrays = [x * 1.0, x * x, xp.zeros(N)]
    reads = []
    for _ in range(r.integers(3, 12)):
        kind = r.integers(9)
        i, j = r.integers(len(arrays), size=2)
        a, b = arrays[i], arrays[j]
        index = random_index(r)
        if kind == 0:
            arrays.append(a * b)
        elif kind == 1:
            arrays.append(xp.sin(a))
        elif kind in (2, 3):
            a[index] = xp.copy(b[index]) * 0.7 + 0.1
        elif kind == 4:
            a[index] += b[index] * 0.5
        elif kind == 5:
            a *= 0.9
        elif kind == 6:
            a += b
        elif kind == 7:
            reads.append((a * 1.3).sum())
        else:
            a[index] = float(r.random())
    return sum((a * a * a).sum() for a in arrays) + sum(s * s for s in reads)


@pytest.mark.parametrize("seed", range(60))
def test_values_and_derivatives(seed):
    r = np.random.default_rng(1000 + seed)
    x, v = r.uniform(-1, 1, N), r.standard_normal(N)

    def f(x):
        return run(seed, x, hnp)

    value, tangent = jvp(f, (x,), (v,))
    np.testing.assert_allclose(value, run(seed, x.copy(), np), rtol=1e-13)
    h = 1e-6
    difference = (run(seed, x + h * v, np) - run(seed, x - h * v, np)) / (2 * h)
    np.testing.assert_allclose(tangent, difference, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(grad(f)(x) @ v, tangent, rtol=1e-11, atol=1e-12)
    forward_over_reverse = jvp(grad(f), (x,), (v,))[1]
    reverse_over_reverse = grad(lambda y: (grad(f)(y) * v).sum())(x)
    np.testing.assert_allclose(forward_over_reverse, reverse_over_reverse, rtol=1e-10, atol=1e-11)
