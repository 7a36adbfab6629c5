"""Generated CUDA C++, emulated on the CPU, computes what NumPy computes.

The emulation knows nothing of CUDA's mathematical functions; it uses those of the C library.
"""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.program.cuda.generate import generate
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store
from hpcad.program.kernels.scalars import fusable, result_dtype
from hpcad.program.kernels.table import TABLE

from .emulation import COMPILER, Memory, build
from .random_kernels import random_kernel
from .samples import samples

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")

RANDOM = 48
ORDERS = (0, 1)  # of threads and blocks: as counted, and shuffled
SAMPLES = {f"{name}_{d}": k for d in ("float32", "float64") for name, k in samples(d).items()}


def operations(dtype: str, start: int, stop: int) -> Kernel:
    """One kernel of a few primitives of the table, each stored for itself."""
    nodes = [Node("load", (), dtype, i) for i in range(3)]
    stores, operands = [], [Operand(dtype, (1,))] * 3
    for name in sorted(TABLE)[start:stop]:
        arity = TABLE[name].arity
        if fusable(name, [dtype] * arity, exponent=2):
            result = result_dtype(name, [dtype] * arity) or dtype
            nodes.append(Node(name, tuple(range(arity)), result))
            stores.append(Store(len(nodes) - 1, len(operands)))
            operands.append(Operand(result, (1,)))
    return Kernel((67,), tuple(operands), (), tuple(nodes), tuple(stores))


TABLES = {
    f"table_{dtype}_{start}": operations(dtype, start, start + 12)
    for dtype in ("float32", "float64", "int32", "int64", "bool")
    for start in range(0, len(TABLE), 12)
}
RANDOMS = {f"random_{seed}": random_kernel(seed) for seed in range(RANDOM)}
KERNELS = {
    name: kernel for name, kernel in (SAMPLES | TABLES | RANDOMS).items() if kernel.stores
}


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """All kernels as CUDA C++, in one library."""
    generated = {name: generate(kernel, name) for name, kernel in KERNELS.items()}
    return generated, build(list(generated.values()), tmp_path_factory.mktemp("emulated"))


def numbers(name):
    """Operands of moderate size; of the table's primitives also zeros, infinities and NaN."""
    rng = np.random.default_rng(len(name))

    def draw(number, dtype, count):
        if dtype == "bool":
            return rng.random(count) < 0.5
        if dtype.startswith("int"):
            low = 0 if name.startswith(("cross", "table")) else -3
            return rng.integers(low, 9, count)
        values = rng.uniform(-1, 1, count) * (3 if name.startswith("table") else 1)
        if name.startswith(("adam", "rmsprop")) and number >= 2:
            values = np.abs(values)  # averages of squares
        if name.startswith("table"):
            values[:: 7 + number] = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan], count)[:: 7 + number]
        return values

    return draw


def same(found, expected, dtype):
    """Sums in another order, and functions of another library, differ by some ulps."""
    rtol = {"float32": 3e-5, "float64": 1e-11}.get(dtype, 0)
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0) if rtol else 0
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale, equal_nan=True)


@pytest.mark.parametrize("name", KERNELS)
def test_emulated_kernels_equal_numpy(emulated, name):
    generated, library = emulated
    kernel, code = KERNELS[name], generated[name]
    scalars = [0.9 / (1 + i) for i in range(len(kernel.scalars))]
    memory = Memory(kernel, numbers(name))
    expected = memory.copy()
    expected.interpret(scalars)
    for variant in code.variants:
        for order in ORDERS:
            found = memory.copy()
            found.emulate(library, variant, code.scratch, scalars, order)
            for operand, one, other in zip(kernel.operands, found.flat, expected.flat, strict=True):
                same(one, other, operand.dtype)


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
