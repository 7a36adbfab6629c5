"""The kernels that are generated: of networks, of the whole table of scalars, random ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpcad.program.kernels.ir import Kernel, Node, Operand, Store
from hpcad.program.kernels.scalars import fusable, result_dtype
from hpcad.program.kernels.table import TABLE

from .random_kernels import random_kernel
from .samples import half_samples, in_half, samples

RANDOM = 32
PER_KERNEL = 12  # primitives of the table
# Of halves: one unit in the last place, where numbers close to a tie were rounded.
TOLERANCE = {"float32": 3e-5, "float64": 1e-11, "bfloat16": 2.0**-7, "float16": 2.0**-10}


def operations(dtype: str, start: int, stop: int) -> Kernel:
    """A few primitives of the table, each stored for itself, without vectors: less to compile."""
    nodes = [Node("load", (), dtype, i) for i in range(3)]
    stores, operands = [], [Operand(dtype, (2,))] * 3
    for name in sorted(TABLE)[start:stop]:
        arity = TABLE[name].arity
        if fusable(name, [dtype] * arity, exponent=2):
            result = result_dtype(name, [dtype] * arity) or dtype
            nodes.append(Node(name, tuple(range(arity)), result))
            stores.append(Store(len(nodes) - 1, len(operands)))
            operands.append(Operand(result, (2,)))
    return Kernel((67,), tuple(operands), (), tuple(nodes), tuple(stores))


SAMPLES = {f"{name}_{d}": k for d in ("float32", "float64") for name, k in samples(d).items()}
TABLES = {
    f"table_{dtype}_{start}": kernel
    for dtype in ("float32", "float64", "int32", "int64", "bool")
    for start in range(0, len(TABLE), PER_KERNEL)
    if (kernel := operations(dtype, start, start + PER_KERNEL)).stores
}
RANDOMS = {f"random_{seed}": random_kernel(seed) for seed in range(RANDOM)}
HALVES = {f"{n}_{h}": k for h in ("bfloat16", "float16") for n, k in half_samples(h).items()}
RANDOM_HALVES = {
    f"random_{seed}_{half}": kernel
    for seed, half in zip(range(100, 124), 12 * ("bfloat16", "float16"), strict=True)
    if (kernel := in_half(random_kernel(seed), half)) != random_kernel(seed)
}
KERNELS = SAMPLES | TABLES | RANDOMS | HALVES | RANDOM_HALVES


def scalars_of(kernel: Kernel) -> list[float]:
    """Run-time numbers."""
    return [0.9 / (1 + i) for i in range(len(kernel.scalars))]


def numbers(name: str) -> Callable[[int, str, int], np.ndarray]:
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
            values[:: 7 + number] = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan], count)[
                :: 7 + number
            ]
        return values

    return draw


def same(found: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    """Sums in another order, and functions of another library, differ by some ulps."""
    rtol = TOLERANCE.get(dtype, 0)
    if dtype in ("bfloat16", "float16"):
        found, expected = found.astype(np.float32), expected.astype(np.float32)
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0) if rtol else 0
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale, equal_nan=True)
