"""Random arrays for the laws that hold for all shapes, dtypes, layouts and broadcast patterns."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hpcad import check_grads

DTYPES = [np.float64, np.float32, np.complex128]
SIDES = st.sampled_from([0, 1, 1, 2, 3])


def law(examples):
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@st.composite
def shapes(draw, largest=3):
    return tuple(draw(st.lists(SIDES, max_size=largest)))


@st.composite
def arrays(draw, shape=None, dtype=None):
    """Numbers between 0.5 and 2 (in the right half-plane, if complex), no two alike.

    In C or Fortran order, with negative or with wide strides, or broadcast.
    """
    shape = draw(shapes()) if shape is None else shape
    dtype = draw(st.sampled_from(DTYPES)) if dtype is None else dtype
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    size = math.prod(shape)
    steps = (rng.permutation(size) + rng.uniform(0.2, 0.8, size)) / max(1, size)
    x = (0.5 + 1.5 * steps).reshape(shape)
    if np.dtype(dtype).kind == "c":
        x = x * np.exp(1j * rng.uniform(0.2, 1.0, shape))
    return relaid(np.asarray(x, dtype), draw(st.integers(0, 3)))


def relaid(x, kind):
    """The same values in another memory layout, not writeable."""
    if x.ndim == 0:
        x = x.copy()
    elif kind == 1:
        x = np.asfortranarray(x)
    elif kind == 2:
        turn = (slice(None, None, -1),) * x.ndim
        x = np.ascontiguousarray(x[turn])[turn]
    elif kind == 3:
        wide = np.full([2 * n for n in x.shape], np.nan, x.dtype)
        every = (slice(None, None, 2),) * x.ndim
        wide[every] = x
        x = wide[every]
    x = np.asarray(x)
    x.flags.writeable = False
    return x


@st.composite
def reduced(draw):
    """An array, and any of its axes, counted from either end."""
    x = draw(arrays())
    chosen = draw(st.lists(st.sampled_from(range(x.ndim)), unique=True)) if x.ndim else []
    axes = [a - x.ndim if draw(st.booleans()) else a for a in chosen]
    axis = draw(st.sampled_from([None, tuple(axes), *axes]))
    return x, axis, draw(st.booleans())


def check(f, args):
    """First order; the tests of the table have the second."""
    check_grads(f, args, order=1, seed=1)
