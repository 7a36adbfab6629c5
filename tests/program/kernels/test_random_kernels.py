"""Random kernels computed by machine code and by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcad.backend.native.threads import set_threads, threads
from hpcad.program.kernels import sharing
from hpcad.program.kernels.build import compile_kernels

from .arrays import COMPILER, compiled, interpreted, memory_of
from .drawn import exact_kernels

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


def _small_whole_numbers(seed):
    rng = np.random.default_rng(seed)

    def draw(number, dtype, count):
        if dtype == "bool":
            return rng.integers(0, 2, count)
        numbers = rng.integers(-8, 9, count).astype(dtype)
        if dtype[0] == "f":
            for special in (np.nan, np.inf, -np.inf):
                numbers[rng.random(count) < 0.02] = special
        return numbers

    return draw


@pytest.fixture
def all_threads(monkeypatch):
    """Three threads, also for the smallest kernels."""
    monkeypatch.setattr(sharing, "SHARED", 1)
    before = threads()
    set_threads(3)
    yield
    set_threads(before)


def _hold_to_numpy(kernels, seed):
    for kernel, code in zip(kernels, compile_kernels(kernels), strict=True):
        memory = memory_of(kernel, _small_whole_numbers(seed))
        wanted = interpreted(kernel, memory, [3.0])
        for number, (found, right) in enumerate(
            zip(compiled(code, memory, [3.0]), wanted, strict=True)
        ):
            np.testing.assert_array_equal(found, right, f"operand {number} of {kernel}")


_SETTINGS = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@_SETTINGS
@given(exact_kernels(8), st.integers(0, 1000))
def test_random_kernels_equal_numpy_bitwise(kernels, seed):
    _hold_to_numpy(kernels, seed)


@_SETTINGS
@given(exact_kernels(8), st.integers(0, 1000))
def test_random_kernels_equal_numpy_bitwise_on_three_threads(all_threads, kernels, seed):
    _hold_to_numpy(kernels, seed)
