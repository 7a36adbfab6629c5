"""Generated CUDA C++, emulated on the CPU, computes what NumPy computes.

The emulation knows nothing of CUDA's mathematical functions; it uses those of the C library.
"""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

from .emulation import COMPILER, Memory, build
from .every_kernel import KERNELS, numbers, same, scalars_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")

ORDERS = (0, 1)  # of threads and blocks: as counted, and shuffled


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """All kernels as CUDA C++, in one library."""
    generated = {name: generate(kernel, name) for name, kernel in KERNELS.items()}
    entries = [entry for code in generated.values() for entry in code.entries]
    source = translation_unit(generated.values())
    return generated, build(source, entries, tmp_path_factory.mktemp("emulated"))


@pytest.mark.parametrize("name", KERNELS)
def test_emulated_kernels_equal_numpy(emulated, name):
    generated, library = emulated
    kernel, code = KERNELS[name], generated[name]
    scalars = scalars_of(kernel)
    memory = Memory(kernel, numbers(name))
    expected = memory.copy()
    expected.interpret(scalars)
    for variant in code.variants:
        for order in ORDERS:
            found = memory.copy()
            found.emulate(library, variant, code.scratch, scalars, order)
            for operand, one, other in zip(kernel.operands, found.flat, expected.flat, strict=True):
                same(one, other, operand.dtype)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(
    ("extents", "strides", "count"),
    [((0, 5), (0, 1), 5), ((3, 0), (1, 0), 3), ((2, 0, 3), (3, 0, 1), 6), ((0,), (0,), 1)],
)
def test_sums_of_nothing_are_zero(extents, strides, count, accumulate, tmp_path):
    operands = (Operand("float32", (1,) * len(extents)), Operand("float32", strides))
    stores = (Store(0, 1, "sum", accumulate),)
    kernel = Kernel(extents, operands, (), (Node("load", (), "float32", 0),), stores)
    code = generate(kernel, "nothing")
    library = build(translation_unit([code]), code.entries, tmp_path)
    memory = Memory(kernel, lambda number, dtype, size: np.ones(size))
    memory.emulate(library, code.variants[-1], code.scratch, [], 0)
    zeros = np.zeros(0 if accumulate else count)
    ones = np.ones(len(memory.flat[1]) - len(zeros) - memory.starts[1])
    expected = np.concatenate([np.ones(memory.starts[1]), zeros, ones])
    np.testing.assert_array_equal(memory.flat[1], expected)
    np.testing.assert_array_equal(memory.flat[0], 1)


def test_sums_do_not_depend_on_the_order_of_threads(emulated):
    generated, library = emulated
    for name in ("sum_of_squares_float32", "layer_norm_backward_float32", "softmax_wide_float32"):
        memory, code = Memory(KERNELS[name], numbers(name)), generated[name]
        runs = []
        for order in (0, 1, 2):
            runs.append(memory.copy())
            runs[-1].emulate(library, code.variants[0], code.scratch, [], order)
        for other in runs[1:]:
            for a, b in zip(runs[0].flat, other.flat, strict=True):
                np.testing.assert_array_equal(a, b)
