"""Random programs of all primitives are the same compiled and eager.

Forward results are equal to the bit without fusion and C, where no composite operation is expanded
and no ``**`` is taken. Elsewhere differences are at most 512 ulps of the largest number, beyond
what a change in the last bits of the inputs does to the result.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .random_cases import WAYS, draw, fails
from .random_programs import TABLE, Chance, Choices, Drawn, build

BUNDLE = 10  # programs that are compiled together: compilers take their time to start
WAYS_TO_BUILD = {
    "C": {},
    "C, one operation each": {"fuse": False},
    "NumPy": {"fuse": False, "native": False, "exact": True},
}


def law(examples):
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def bundles(draw_, ways, steps):
    choices = Choices(Drawn(draw_))
    found = (draw(choices, way, steps) for way in itertools.islice(itertools.cycle(ways), BUNDLE))
    return [case for case in found if case is not None]


@pytest.mark.parametrize("build", WAYS_TO_BUILD)
@law(4)
@given(bundles(("forward",), 8))
def test_values(build, cases):
    assert not fails(cases, **WAYS_TO_BUILD[build])


@pytest.mark.parametrize("build", ["C", "NumPy"])
@law(3)
@given(bundles(WAYS[1:], 6))
def test_derivatives_and_training_steps(build, cases):
    assert not fails(cases, **WAYS_TO_BUILD[build])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("build", WAYS_TO_BUILD)
def test_a_thousand_programs(build):
    wrong = []
    for start in range(0, 1000, BUNDLE):
        seeds = range(start, start + BUNDLE)
        cases = [draw(Choices(Chance(s)), WAYS[s % len(WAYS)], 12) for s in seeds]
        wrong += fails([case for case in cases if case is not None], **WAYS_TO_BUILD[build])
    assert not wrong


def test_the_programs_use_the_whole_table():
    programs = [build(Choices(Chance(seed)), 12) for seed in range(400)]
    used = {name for program in programs for name, _, _ in program.steps}
    assert len(used & set(TABLE)) > 0.95 * len(TABLE)
    assert np.mean([len(program.steps) for program in programs]) > 11
