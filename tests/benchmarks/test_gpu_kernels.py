"""gpu_kernels.py: bytes, checks and rates of kernels; and its tiny cases on the strict device."""

from __future__ import annotations

import gpu_kernels
import numpy as np
import pytest
from gpu_kernel_cases import kernel_cases, traffic
from gpu_kernel_check import compared, on_device
from gpu_kernel_sizes import FULL, TINY, Case
from gpu_routine_cases import routine_cases

from hpcad.backend import get_backend
from hpcad.program.cuda.compile import compile_cubin
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.cuda.nvrtc import find_nvrtc
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

CASES = {(case.name, case.dtype): case for case in kernel_cases(FULL) + routine_cases(FULL)}
TOKENS, WIDTH = 32 * 1024, 768


@pytest.fixture(scope="module")
def xp():
    return get_backend("strict").xp


@pytest.mark.parametrize(
    ("name", "dtype", "nbytes"),
    [
        ("x + y", "float32", 3 * 4 * TOKENS * WIDTH),
        ("x + y", "bfloat16", 3 * 2 * TOKENS * WIDTH),
        ("bias, GELU", "float32", (3 * TOKENS + 1) * 4 * WIDTH * 4),  # x is written over
        ("sums of columns", "float32", (TOKENS + 2) * 4 * WIDTH * 4),  # which are added to
        ("sum of squares", "float32", 4 * 124_475_904 + 8),
        ("AdamW", "float32", 7 * 4 * 124_475_904),  # p, m, v both ways; the gradient once
        ("embedding", "bfloat16", 8 * TOKENS + 2 * 2 * TOKENS * WIDTH),
        ("float32 to bfloat16", "bfloat16", 6 * TOKENS * WIDTH),
        ("AdamW by hand", "float32", 7 * 4 * 124_475_904 + 8 * 10),
        ("AdamW, copy in bfloat16", "float32", (7 * 4 + 2) * 124_475_904 + 8 * 10),
        ("attention", "bfloat16", 4 * 2 * 16 * 1024 * 768),
        ("heads to the front", "float32", 2 * 4 * TOKENS * WIDTH),
    ],
)
def test_every_byte_that_has_to_travel_is_counted_once(name, dtype, nbytes):
    assert CASES[name, dtype].traffic == nbytes


def test_every_case_has_a_name_of_its_own():
    assert len(CASES) == len(kernel_cases(FULL) + routine_cases(FULL))


def times(factor: float) -> Case:
    """``y = factor x``."""
    nodes = (
        Node("load", (), "float32", 0),
        Node("literal", (), "float32", factor),
        Node("multiply", (0, 1), "float32"),
    )
    kernel = Kernel((8,), (Operand("float32", (1,)),) * 2, (), nodes, (Store(2, 1),))
    return Case("times", "float32", kernel, traffic(kernel))


def test_a_kernel_that_computes_something_else_is_found(xp, monkeypatch):
    assert compared(times(2), xp) is None
    there = on_device(times(2.001), xp)
    monkeypatch.setattr("gpu_kernel_check.on_device", lambda *_: there)
    assert "operand 1 differs from NumPy's by 5.0e-04 of" in compared(times(2), xp)


def test_numbers_that_are_none_are_found(xp, monkeypatch):
    there = on_device(times(2), xp)
    there.arrays[0][...] = np.nan
    monkeypatch.setattr("gpu_kernel_check.on_device", lambda *_: there)
    assert compared(times(2), xp) == "operand 0 differs from NumPy's by nan of its largest number"


def test_long_operands_repeat_what_is_drawn(xp, monkeypatch):
    monkeypatch.setattr("gpu_kernel_check.DRAWN", 3)
    x = on_device(times(2), xp).arrays[0].get()
    np.testing.assert_array_equal(x, np.resize(x[:3], 8))
    assert len(set(x[:3])) == 3


def test_a_wrong_case_ends_the_program(capsys, monkeypatch):
    case = kernel_cases(TINY)[0]
    monkeypatch.setattr(gpu_kernels, "_cases", lambda *_: [case])
    monkeypatch.setattr(gpu_kernels, "compared", lambda *_: "operand 2 differs")
    assert gpu_kernels.main(["--device", "strict"]) == 1
    assert "gpu_kernels: refused: x + y, float32: operand 2 differs" in capsys.readouterr().err


def test_a_rate_is_held_to_the_copy_of_the_same_rounds():
    case = CASES["x + y", "float32"]
    row = gpu_kernels._row(case, [[4e12, 2e12, 4e12], [3e12, 1.5e12, 3e12]])
    assert row["share_of_copy"][0] == pytest.approx(0.75)
    slow = gpu_kernels._line(row)
    assert "3,000 (1,500 .. 3,000)" in slow
    assert "0.75" in slow
    assert slow.endswith("below")
    fast = gpu_kernels._row(case, [[4e12, 4e12], [3.6e12, 3.6e12]])
    assert not gpu_kernels._line(fast).endswith("below")
    assert gpu_kernels._summary([row, fast])[-1] == "1 of 2 that memory limits reach 80% of it"


def test_attention_is_held_to_arithmetic():
    row = gpu_kernels._row(CASES["attention", "bfloat16"], [[4e12, 4e12], [1e11, 1e11]])
    # 4 * 16 * 12 * 64 * (1024 * 1025 / 2) operations in the time of 100,663,296 bytes
    assert gpu_kernels._line(row).endswith("25.6 TFLOP/s")
    assert gpu_kernels._summary([row])[-1].startswith("0 of 0 that memory limits")


def test_all_tiny_cases_on_the_strict_device(capsys):
    assert gpu_kernels.main(["--device", "strict"]) == 0
    said = capsys.readouterr().out
    count = len(kernel_cases(TINY) + routine_cases(TINY))
    assert f"{count} of {count} tiny cases are what NumPy computes" in said
    assert "no GPU" in said
    assert "GB/s" not in said


@pytest.mark.slow
def test_all_large_cases_are_machine_code():
    if find_nvrtc() is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    units = [generate(c.unit, "one") if isinstance(c.unit, Kernel) else c.unit
             for c in CASES.values()]  # fmt: skip
    for unit in units:
        assert compile_cubin(translation_unit([unit]), "sm_90", "one").startswith(b"\x7fELF")


def test_without_a_gpu_there_is_one_clear_line(capsys, no_gpu):
    assert gpu_kernels.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "gpu_kernels: nothing measured: a GPU was asked for; there is none\n"
