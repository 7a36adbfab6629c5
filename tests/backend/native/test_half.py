"""Conversion to half precision and back gives NumPy's bits, and the numbers next to the source."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.native import half as module
from hpcad.backend.native.half import (
    BFLOAT16,
    FLOAT16,
    FORMATS,
    add_reference,
    largest_reference,
    round_reference,
    widen_reference,
)

ALL_HALVES = np.arange(1 << 16, dtype=np.uint16)
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-40,
    3.4e38,
    65504,
    65519.99,
    65520,
    2**-24,
]


@pytest.fixture(params=FORMATS.values(), ids=str)
def half(request):
    return request.param


@pytest.fixture
def compiled():
    if module._library() is None:
        pytest.skip("no C compiler")


def is_nan(half, bits):
    exponent, limit = (0x7FFF, 0x7F80) if half.name == "bfloat16" else (0x7FFF, 0x7C00)
    return (bits & exponent) > limit


def all_kinds(dtype):
    """Random bits: every exponent, subnormal numbers, NaNs, infinities; and ties."""
    rng = np.random.default_rng(1)
    bits = rng.integers(1 << 32, size=60_001, dtype=np.uint32)
    ties = (bits & 0xFFFF0000) | 0x8000
    ties16 = (bits & 0xFFFFE000) | 0x1000
    numbers = np.concatenate([x.view(np.float32) for x in (bits, ties, ties16)])
    around = rng.standard_normal(60_001) * 2.0 ** rng.integers(-30, 18, 60_001)
    with np.errstate(invalid="ignore"):
        return np.concatenate([numbers, np.array(SPECIAL), around]).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [0, 3, -7, -126, 113])
def test_compiled_rounding_has_the_bits_of_numpys(compiled, half, dtype, exponent):
    numbers = all_kinds(dtype)
    found, wanted = np.empty(numbers.size, np.uint16), np.empty(numbers.size, np.uint16)
    half.round(numbers, found, exponent)
    round_reference(half.name, numbers, wanted, exponent)
    nan = is_nan(half, wanted)
    np.testing.assert_array_equal(nan, np.isnan(numbers))
    np.testing.assert_array_equal(is_nan(half, found), nan)
    np.testing.assert_array_equal(found[~nan], wanted[~nan])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [0, 3, -126, 113])
def test_compiled_widening_and_adding_have_the_bits_of_numpys(compiled, half, dtype, exponent):
    found, wanted = np.empty(1 << 16, dtype), np.empty(1 << 16, dtype)
    half.widen(ALL_HALVES, found, exponent)
    widen_reference(half.name, ALL_HALVES, wanted, exponent)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
    totals = [np.linspace(-3, 3, 1 << 16, dtype=np.float32) for _ in "ab"]
    half.add(ALL_HALVES, totals[0], exponent)
    add_reference(half.name, ALL_HALVES, totals[1], exponent)
    np.testing.assert_array_equal(*totals)


def test_every_half_is_kept_by_widening_and_rounding(half):
    wide, back = np.empty(1 << 16, np.float32), np.empty(1 << 16, np.uint16)
    half.widen(ALL_HALVES, wide)
    half.round(wide, back)
    number = ~is_nan(half, ALL_HALVES)
    np.testing.assert_array_equal(back[number], ALL_HALVES[number])
    assert is_nan(half, back[~number]).all()


def test_rounding_goes_to_the_nearest_half_and_ties_to_even(half):
    # Neighbours are next to each other in the order of their bits.
    bits = np.arange(1, 0x7B00, dtype=np.uint16)
    low, high, found = np.empty(bits.size), np.empty(bits.size), np.empty(bits.size, np.uint16)
    half.widen(bits, low)
    half.widen(bits + np.uint16(1), high)
    for share, expected in ((0.49, bits), (0.5, bits + bits % 2), (0.51, bits + np.uint16(1))):
        half.round(low + share * (high - low), found)
        np.testing.assert_array_equal(found, expected)


def test_one_rounding_errs_by_the_unit_roundoff_at_most(half):
    numbers = np.linspace(1, 4, 100_003)
    halves, back = np.empty(numbers.size, np.uint16), np.empty(numbers.size)
    half.round(numbers, halves)
    half.widen(halves, back)
    worst = (np.abs(back - numbers) / numbers).max()
    assert 0.95 * half.roundoff < worst <= half.roundoff


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_exponent_saves_numbers_that_float16_does_not_have(dtype):
    for size in (1e-41, 1e-30, 1e-7, 1.0, 65504.0, 1e30, 3e38):
        numbers = np.array([size, -size / 3, size / 2**20, np.inf, np.nan], dtype)
        exponent = FLOAT16.exponent(numbers)
        halves, back = np.empty(5, np.uint16), np.empty(5, dtype)
        FLOAT16.round(numbers, halves, exponent)
        FLOAT16.widen(halves, back, exponent)
        atol = 1e-44 if size == 1e-41 else 0  # those are subnormal in float32
        np.testing.assert_allclose(back, numbers, rtol=2.0**-10, atol=atol)


def test_exponents_are_those_of_the_largest_finite_number():
    for number in (1.0, 1.999, 2.0, 0.7, 123.0):
        exponent = FLOAT16.exponent(np.array([0.1, -number, np.nan, -np.inf], np.float32))
        assert 2.0**14 <= number * 2.0**-exponent < 2.0**15
    for nothing in ([], [0.0], [np.nan, np.inf]):
        assert FLOAT16.exponent(np.array(nothing, np.float32)) == 0
    assert BFLOAT16.exponent(np.array([1e30], np.float32)) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_number_is_numpys(compiled, dtype):
    numbers = all_kinds(dtype)
    assert module._largest(numbers) == largest_reference(numbers) > 0
