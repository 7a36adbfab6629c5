"""AdamW, norms and loss scales in CUDA C++ are those of NumPy and of the optimizer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hpcad.backend.half import named
from hpcad.errors import DeviceError
from hpcad.optim.adam import AdamW as Optimizer
from hpcad.program.cuda.routines.adamw import NUMBERS, AdamW
from hpcad.program.cuda.routines.norms import adapt_scale, clip_factor, sum_of_squares

from .emulation import COMPILER, GUARD
from .routine_cases import Case, check, emulator_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")

NOW = (0.02, 0.1, 0.9, 0.1, 0.99, 0.01, 1e-8, 0.013, 0.998, 0.7)


def adam(**special):
    """Draws operands; some are special numbers."""

    def draw(rng, number, dtype, count):
        values = rng.standard_normal(count)
        if number == 3:
            return np.abs(values)
        if number == 4:
            values[GUARD:-GUARD] = NOW
        if dtype == "bool":
            return rng.random(count) < 0.5
        if dtype.startswith("int"):
            return np.full(count, special.get(dtype, 0))
        return values

    return draw


def fixed(*numbers):
    """Operands of one number each."""
    return lambda _rng, number, _dtype, count: np.full(count, numbers[number])


def gradients(rng, number, dtype, count):
    values = rng.standard_normal(count) * 1e20
    return values if dtype in ("float32", "float64", "bfloat16") else values * 1e-20


CASES = {
    "adamw": Case(AdamW(1028).routine(), adam(), exact=True),
    "adam": Case(AdamW(77, decays=False).routine(), adam(), exact=True),
    "mask": Case(AdamW(100, line=16, factor=True).routine(), adam(), exact=True),
    "halves": Case(
        AdamW(64, gradient="bfloat16", copy="bfloat16", factor=True, skip=True).routine(),
        adam(),
        exact=True,
    ),
    "skipped": Case(
        AdamW(64, gradient="float16", copy="float16", skip=True).routine(),
        adam(int32=1),
        exact=True,
    ),
    "by chance": Case(
        AdamW(300, copy="bfloat16", chance=(7, 8), first=2**34 + 2).routine(),
        adam(int64=2**33 + 5),
        exact=True,
    ),
    "squares": Case(sum_of_squares("float32", 5001), gradients),
    "squares to": Case(sum_of_squares("bfloat16", 700, accumulate=True), gradients),
    "squares of halves": Case(sum_of_squares("float16", 64), gradients),
    "clipped": Case(clip_factor(2.0), fixed(9.0, 0, 0), rtol=1e-7),
    "not clipped": Case(clip_factor(2.0), fixed(3.9, 0, 0), rtol=1e-7),
    "scaled": Case(clip_factor(2.0, True, True), fixed(81.0, 4.0, 0, 0, 0), rtol=1e-7),
    "broken": Case(clip_factor(2.0, True, True), fixed(np.inf, 4.0, 0, 0, 0), rtol=1e-7),
    "nan": Case(clip_factor(float("inf"), False, True), fixed(np.nan, 0, 0, 0), rtol=1e-7),
    "halved": Case(adapt_scale(3), fixed(1, 8.0, 2), exact=True),
    "doubled": Case(adapt_scale(3), fixed(0, 8.0, 2), exact=True),
    "kept": Case(adapt_scale(3), fixed(0, 8.0, 1), exact=True),
    "least": Case(adapt_scale(3, least=1.0), fixed(1, 1.0, 0), exact=True),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulator_of(list(CASES.values()), tmp_path_factory.mktemp("updates"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_updates_equal_numpy(library, name):
    check(CASES[name], library)


def test_the_reference_is_the_optimizer():
    numbers = dict(zip(NUMBERS, NOW, strict=True))
    clip = numbers.pop("clip")
    rng = np.random.default_rng(5)
    p, g, m, v = (rng.standard_normal(50).astype(np.float32) for _ in range(4))
    v = np.abs(v)
    now = SimpleNamespace(**{name: np.float32(number) for name, number in numbers.items()})
    kept, d = Optimizer.decay(None, p, g * np.float32(clip), now)
    expected, (m1, v1) = Optimizer.update(None, kept, d, (m, v), now)
    AdamW(50).routine().reference([p, g, m, v, np.array(NOW)], [])
    for found, other in ((p, expected), (m, m1), (v, v1)):
        np.testing.assert_array_equal(found, other)


def test_numbers_are_those_of_the_optimizer():
    optimizer = object.__new__(Optimizer)
    vars(optimizer).update(betas=(0.9, 0.99), eps=1e-8, step_count=3, weight_decay=0.1)
    assert (*optimizer.numbers(0.1), "clip") == NUMBERS


def test_chance_is_fair():
    n = 4096
    p = np.full(n, 1.0 + 2.0**-9, np.float32)  # a quarter of the way to the next bfloat16
    routine = AdamW(n, decays=False, copy="bfloat16", chance=(1, 2)).routine()
    zeros = [np.zeros(n, np.float32) for _ in range(3)]
    now = np.array(NOW)
    copy = np.empty(n, named("bfloat16"))
    routine.reference([p, *zeros, now, copy, np.array([11])], [])
    values = copy.astype(np.float64)
    assert set(values) == {1.0, 1.0 + 2.0**-7}
    up = np.mean(values > 1.0)
    assert abs(up - 0.25) < 4 * np.sqrt(0.25 * 0.75 / n)


def test_what_has_no_routine_is_refused():
    with pytest.raises(DeviceError, match="only a copy in bfloat16"):
        AdamW(8, copy="float16", chance=(1, 2)).routine()
    with pytest.raises(DeviceError, match="no multiple of 4"):
        AdamW(8, line=6).routine()
    with pytest.raises(DeviceError, match="int32"):
        sum_of_squares("int32", 4)
