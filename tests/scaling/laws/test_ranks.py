"""The factor between two sets of times: against enumeration, and against a table."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hpcad.scaling.laws.ranks import _ways, factor, order_of_quotients


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 5), (4, 3), (5, 5)])
def test_orders_are_counted_as_by_listing_them(first, second):
    counts = [0] * (first * second + 1)
    for chosen in itertools.combinations(range(first + second), first):
        others = set(range(first + second)) - set(chosen)
        counts[sum(i > j for i in chosen for j in others)] += 1
    assert _ways(first, second) == counts


def test_critical_values_are_those_of_the_tables():
    """Two-sided 5 % critical values of U; the k-th quotient is the one after it."""
    for (first, second), critical in {(4, 4): 0, (6, 6): 5, (8, 10): 17, (20, 20): 127}.items():
        assert order_of_quotients(first, second, 0.95)[0] == critical + 1
    assert order_of_quotients(3, 3, 0.95) == (0, 1.0)


def test_a_factor_is_found_whatever_the_unit():
    base = np.array([1.0, 1.02, 0.98, 1.05, 0.97, 1.01])
    found = factor(base, 1.5 * base)
    assert 1.5 in found
    assert found.value == pytest.approx(1.5, rel=0.02)
    other = factor(1e3 * base, 1.5e3 * base)
    assert [other.low, other.high] == pytest.approx([found.low, found.high])
    back = factor(1.5 * base, base)
    assert [1 / back.high, 1 / back.low] == pytest.approx([found.low, found.high])


def test_too_few_times_bound_nothing():
    found = factor([1.0, 2.0], [1.0, 2.0])
    assert (found.low, found.high) == (0.0, math.inf)


def test_the_interval_holds_the_factor_as_often_as_it_says():
    random = np.random.default_rng(3)
    drawn = 1 + 0.1 * np.abs(random.standard_t(2, size=(1000, 2, 6)))  # heavy tails
    found = [factor(a, 1.3 * b) for a, b in drawn]
    missed = sum(1.3 not in one for one in found)
    allowed = 1 - found[0].level
    assert abs(missed / 1000 - allowed) < 4 * math.sqrt(allowed * (1 - allowed) / 1000)
