"""Schedules at the points that define them."""

from __future__ import annotations

import pytest

from hpcad.optim import Constant, WarmupCosine, WarmupLinear


def test_constant_with_warmup():
    schedule = Constant(0.5, warmup=4)
    assert [schedule(k) for k in range(6)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.5]
    assert Constant(0.5)(0) == 0.5


@pytest.mark.parametrize("kind", [WarmupCosine, WarmupLinear])
def test_warmup_peak_middle_and_end(kind):
    schedule = kind(1.0, 110, warmup=10, final=0.2)
    assert schedule(0) == pytest.approx(1 / 11)
    assert schedule(10) == 1.0
    assert schedule(60) == pytest.approx(0.6)
    assert schedule(110) == pytest.approx(0.2)
    assert schedule(10_000) == pytest.approx(0.2)


def test_cosine_is_flat_at_its_ends_and_linear_is_straight():
    cosine, linear = WarmupCosine(1.0, 100), WarmupLinear(1.0, 100)
    assert 1 - cosine(1) < 1e-3 < 1 - linear(1)
    assert linear(25) == pytest.approx(0.75)
    assert cosine(25) == pytest.approx(0.5 + 0.5 * 2**-0.5)
