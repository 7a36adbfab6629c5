"""Kernels convert to and from half precision as NumPy and ml_dtypes do, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.half import named
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.interpret import interpret

from .cuda import emulation
from .half_conversions import (
    HALVES,
    conversion,
    every_half,
    hard_to_round,
    rounding,
    same_bits,
)
from .kernels.arrays import COMPILER

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

_CASES = [
    *((half, half, "float32", conversion) for half in HALVES),
    *((half, dtype, half, conversion) for half in HALVES for dtype in ("float32", "float64")),
    *((half, dtype, "float32", rounding) for half in HALVES for dtype in ("float32", "float64")),
]
CASES = {f"{kind.__name__}_{h}_{s}_{t}": (h, s, t, kind) for h, s, t, kind in _CASES}


def _numbers(half, source):
    return every_half(half) if source == half else hard_to_round(half, source)


def _kernel(half, source, target, kind):
    count = len(_numbers(half, source))
    return kind(source, half if kind is rounding else target, count)


def _expected(half, source, target):
    """As NumPy converts; ml_dtypes rounds float64 to float32 on its way to bfloat16, so do we."""
    with np.errstate(all="ignore"):
        numbers = _numbers(half, source).astype(named(half))
        return numbers if target == half else numbers.astype(named(target))


@pytest.fixture(scope="module")
def machine_code():
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    kernels = [_kernel(*case) for case in CASES.values()]
    return dict(zip(CASES, compile_kernels(kernels), strict=True))


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    if emulation.COMPILER is None:
        pytest.skip("there is no C++ compiler to emulate with")
    codes = {name: generate(_kernel(*case), name) for name, case in CASES.items()}
    entries = [entry for code in codes.values() for entry in code.entries]
    folder = tmp_path_factory.mktemp("emulated")
    return codes, emulation.build(translation_unit(codes.values()), entries, folder)


@pytest.mark.parametrize("name", CASES)
def test_compiled_conversions_are_numpys(machine_code, name):
    half, source, target, _ = CASES[name]
    numbers, expected = _numbers(half, source), _expected(half, source, target)
    found = np.zeros_like(expected)
    machine_code[name].bind([numbers.ctypes.data, found.ctypes.data])()
    same_bits(found, expected)


@pytest.mark.parametrize("name", CASES)
def test_interpreted_conversions_are_numpys(name):
    half, source, target, _ = CASES[name]
    expected = _expected(half, source, target)
    found = np.zeros_like(expected)
    interpret(_kernel(*CASES[name]), [_numbers(half, source), found])
    same_bits(found, expected)


@pytest.mark.parametrize("name", CASES)
def test_emulated_conversions_are_numpys(emulated, name):
    codes, library = emulated
    half, source, target, _ = CASES[name]
    numbers, expected = _numbers(half, source), _expected(half, source, target)

    def draw(number, dtype, count):
        inner = numbers if number == 0 else np.zeros_like(expected)
        pad = np.zeros(emulation.GUARD, inner.dtype)
        return np.concatenate([pad, inner, pad])

    memory = emulation.Memory(codes[name].kernel, draw)
    memory.emulate(library, codes[name].variants[0], codes[name].scratch, [], 0)
    guard = emulation.GUARD
    same_bits(memory.flat[1][guard:-guard], expected)
    np.testing.assert_array_equal(memory.flat[1][:guard], 0)
