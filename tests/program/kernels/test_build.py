"""Kernels as libraries: what is cached, how they are called, what happens without a compiler."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

from .arrays import COMPILER, interpreted, memory_of
from .written import layer_norm

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")

_SCALED = Kernel(
    extents=(5,),
    operands=(Operand("float64", (1,)), Operand("float64", (1,))),
    scalars=("float64",),
    nodes=(
        Node("load", (), "float64", 0),
        Node("scalar", (), "float64", 0),
        Node("multiply", (0, 1), "float64"),
    ),
    stores=(Store(2, 1),),
)


def test_without_a_compiler_there_is_none(monkeypatch):
    monkeypatch.setenv("HPCAD_NATIVE", "0")
    assert compile_kernels([_SCALED]) is None


def test_numpy_computes_a_kernel_where_nothing_can_be_compiled():
    memory = memory_of(_SCALED, lambda number, dtype, count: np.arange(count))
    np.testing.assert_array_equal(interpreted(_SCALED, memory, [3.0])[1], 3.0 * np.arange(5))


def test_the_text_of_kernels_is_the_same_in_every_process():
    program = (
        "import hashlib; from hpcad.program.kernels.generate import source;"
        "from hpcad.program.kernels.ir import *;"
        f"print(hashlib.sha256(source([{layer_norm(3, 65)!r}])[0].encode()).hexdigest())"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1
    assert len(texts.pop().strip()) == 64


@needs_compiler
def test_scalars_are_read_anew_by_every_call():
    (code,) = compile_kernels([_SCALED])
    x, y = np.arange(5.0), np.zeros(5)
    scalars = (ctypes.c_double * 1)(2.0)
    call = code.bind([x.ctypes.data, y.ctypes.data], scalars)
    call()
    np.testing.assert_array_equal(y, 2.0 * x)
    scalars[0] = -7.0
    call()
    np.testing.assert_array_equal(y, -7.0 * x)


@needs_compiler
def test_a_call_allocates_nothing():
    kernel = layer_norm(8, 33)
    (code,) = compile_kernels([kernel])
    arrays = [flat for flat, _ in memory_of(kernel, lambda number, dtype, count: np.ones(count))]
    call = code.bind([array.ctypes.data for array in arrays])
    call()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            call()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1000
    assert peak - before < 2000


@needs_compiler
def test_a_bound_call_keeps_its_scratch_memory():
    operands = (Operand("float64", (40, 1)), Operand("float64", (0, 1)))
    kernel = Kernel((3, 40), operands, (), (Node("load", (), "float64", 0),), (Store(0, 1, "sum"),))
    (code,) = compile_kernels([kernel])
    assert code.scratch > 0
    x, y = np.ones((3, 40)), np.zeros(40)
    calls = [code.bind([x.ctypes.data, y.ctypes.data]) for _ in range(50)]
    junk = [bytearray(code.scratch) for _ in range(200)]
    for call in calls:
        call()
        np.testing.assert_array_equal(y, 3.0)
    del junk
