"""Slow hosts are told from slow links, and neither is seen where times only scatter."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from hpcad.launch.doctor.network.slow import Way, slow_ends, slow_ways


def ways(count: int, slow=lambda a, b: False, seed: int = 0) -> list[Way]:
    """All directions of so many hosts, scattered by a factor of 2; slow ones are at a tenth."""
    rng = np.random.default_rng(seed)
    pairs = list(itertools.permutations(range(count), 2))
    rates = [20e9 / rng.uniform(1, 2) * (0.1 if slow(a, b) else 1) for a, b in pairs]
    late = 2e-6 * rng.uniform(1, 2, len(pairs))
    return [Way(a, b, t, rate, rate) for (a, b), t, rate in zip(pairs, late, rates, strict=True)]


def test_a_crowded_host_is_no_slow_link():
    """Its messages take long, because its ranks wait for cores; without these waits they do not."""
    crowded = [
        replace(w, bandwidth=w.bandwidth / 20) if 1 in (w.source, w.target) else w for w in ways(4)
    ]
    assert verdict(crowded) == ([], [])


def verdict(found: list[Way]) -> tuple[list[tuple[int, bool]], list[tuple[int, int]]]:
    ends, rest = slow_ends(found, slow_ways(found))
    return [(end.rank, end.sends) for end in ends], [(way.source, way.target) for way in rest]


@pytest.mark.parametrize("count", [2, 3, 5, 16])
def test_scatter_is_not_slow(count):
    assert all(verdict(ways(count, seed=seed)) == ([], []) for seed in range(50))


@pytest.mark.parametrize("count", [3, 4, 5, 16])
def test_a_host_that_sends_slowly(count):
    assert verdict(ways(count, lambda a, b: a == 1)) == ([(1, True)], [])


@pytest.mark.parametrize("count", [3, 4, 5, 16])
def test_a_host_that_is_slow_both_ways(count):
    ends, rest = verdict(ways(count, lambda a, b: 1 in (a, b)))
    assert (sorted(ends), rest) == ([(1, False), (1, True)], [])


def test_two_slow_hosts_of_six():
    ends, rest = verdict(ways(6, lambda a, b: a in (1, 4)))
    assert (sorted(ends), rest) == ([(1, True), (4, True)], [])


def test_a_slow_link_beside_a_slow_host():
    found = ways(6, lambda a, b: a == 1 or {a, b} == {2, 3})
    assert verdict(found) == ([(1, True)], [(2, 3), (3, 2)])


def test_a_host_that_sends_and_another_that_receives_slowly():
    ends, rest = verdict(ways(4, lambda a, b: a == 1 or b == 2))
    assert (sorted(ends), rest) == ([(1, True), (2, False)], [])


def test_a_slow_link_is_not_the_fault_of_its_ends():
    assert verdict(ways(4, lambda a, b: {a, b} == {0, 3})) == ([], [(0, 3), (3, 0)])
