"""Every primitive of the table, compiled, is NumPy's: bitwise, or within a few ulps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hpcad.autodiff.primitive import PRIMITIVES
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store
from hpcad.program.kernels.scalars import DTYPES, ROUNDINGS, fusable, literal, result_dtype
from hpcad.program.kernels.table import TABLE

from .arrays import COMPILER, compiled, interpreted, memory_of

# Units in the last place between NumPy's (or SciPy's) functions and ours; the others are equal.
ULPS = {
    "exp": 4, "exp2": 4, "expm1": 4, "log": 4, "log2": 4, "log10": 4, "log1p": 4, "cbrt": 4,
    "sin": 4, "cos": 4, "tan": 4, "asin": 4, "acos": 4, "atan": 4, "sinh": 4, "cosh": 4, "tanh": 4,
    "asinh": 4, "acosh": 4, "atanh": 4, "hypot": 4, "atan2": 4, "power": 4, "erf": 4, "erfc": 64,
    "gaussian": 4, "expit": 6, "xlogy": 4, "xlog1py": 4, "gamma": 64, "gammaln": 64, "softplus": 8,
}  # fmt: skip
# In units of 1 (or of the result, if larger): what cancels.
ABSOLUTE = {"sigmoid": 2, "gelu_slope": 64, "logaddexp": 4, "logaddexp2": 4}

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 7.25, -30.0, 88.0, 1e-8, np.inf, -np.inf, np.nan]
WHOLE = {
    "int32": [0, 1, -1, 2, -3, 7, 31, 40, 2**31 - 1, -(2**31)],
    "int64": [0, 1, -1, 2, -3, 7, 63, 70, 2**40, 2**63 - 1, -(2**63)],
    "bool": [0, 1],
}


def _combinations(dtypes):
    """Every combination of special values, then random ones."""
    rng = np.random.default_rng(7)
    pools = [SPECIAL if dtype[0] == "f" else WHOLE[dtype] for dtype in dtypes]
    columns = list(zip(*itertools.product(*pools), strict=True))
    arrays = []
    for dtype, column in zip(dtypes, columns, strict=True):
        more = rng.normal(size=300) * 3 if dtype[0] == "f" else rng.integers(-9, 10, 300)
        arrays.append(np.concatenate([np.array(column, dtype), more.astype(dtype)]))
    return arrays


def _kernel(op, dtypes):
    count = len(_combinations(dtypes)[0])
    nodes = [Node("load", (), dtype, i) for i, dtype in enumerate(dtypes)]
    answer = result_dtype(op, dtypes)
    nodes.append(Node(op, tuple(range(len(dtypes))), answer))
    operands = [Operand(dtype, (1,)) for dtype in (*dtypes, answer)]
    store = Store(len(dtypes), len(dtypes))
    return Kernel((count,), tuple(operands), (), tuple(nodes), (store,))


MIXED = ("add", "divide", "where")  # with arguments of several types

CASES = [
    (op, dtypes)
    for op, entry in sorted(TABLE.items())
    if not op.startswith("cast")
    for dtypes in itertools.product(DTYPES, repeat=entry.arity)
    if fusable(op, dtypes, exponent=2)
    and (len(set(dtypes)) == 1 or op in MIXED)
    and (op != "where" or dtypes[0] == "bool" or len(set(dtypes)) == 1)
]


@pytest.fixture(scope="module")
def code():
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    kernels = [_kernel(op, dtypes) for op, dtypes in CASES]
    return dict(zip(CASES, compile_kernels(kernels), strict=True))


def _inputs(op, dtypes, arrays):
    if op == "power" and dtypes[0][0] != "f" and dtypes[1][0] != "f":
        arrays[1] = (np.abs(arrays[1]) % 64).astype(dtypes[1])  # NumPy refuses negative ones
    return arrays


@pytest.mark.parametrize("op", sorted({op for op, _ in CASES}))
def test_a_primitive_is_what_numpy_computes(code, op):
    for dtypes in [dtypes for name, dtypes in CASES if name == op]:
        kernel = code[op, dtypes].kernel
        arrays = _inputs(op, dtypes, _combinations(dtypes))
        arrays.append(np.zeros(kernel.extents, kernel.operands[-1].dtype))
        memory = [(array, 0) for array in arrays]
        wanted = interpreted(kernel, memory)[-1]
        found = compiled(code[op, dtypes], memory)[-1]
        _hold(op, dtypes, found, wanted, arrays[:-1])


def _hold(op, dtypes, found, wanted, arrays):
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted, f"{op} of {dtypes}")
        return
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), f"NaN in {op} of {dtypes}")
    eps = np.finfo(wanted.dtype).eps
    bound = np.zeros(wanted.shape)
    with np.errstate(all="ignore"):
        if op in ULPS:
            bound = ULPS[op] * np.spacing(np.abs(wanted)).astype(float)
        elif op in ABSOLUTE:
            bound += ABSOLUTE[op] * eps * np.maximum(1, np.abs(wanted))
        close = (np.abs(found - wanted) <= bound) | (found == wanted) | np.isnan(wanted)
    worst = int(np.argmin(close))
    given = [array[worst] for array in arrays]
    assert close.all(), f"{op}{given} of {dtypes}: {found[worst]!r}, NumPy {wanted[worst]!r}"


def test_every_elementwise_primitive_named_in_the_table_exists():
    assert set(TABLE) - {"cast", "cast_to_discrete"} - set(ROUNDINGS) <= set(PRIMITIVES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.1, -0.0, 1e-45, 3.4e38, 1e300, np.inf, -np.inf])
def test_literals_keep_every_bit(dtype, value):
    with np.errstate(over="ignore"):
        number = np.dtype(dtype).type(value)
    text = literal(value, dtype).strip("()")
    if np.isinf(number):
        assert text.endswith("-INFINITY" if number < 0 else "INFINITY")
    else:
        assert np.float64(float.fromhex(text.removesuffix("f"))) == number
        assert text.startswith("-") == np.signbit(number)


@pytest.mark.parametrize("source", DTYPES)
def test_casts_are_those_of_numpy(source):
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    kernels = []
    for target in DTYPES:
        op = "cast" if target[0] == "f" else "cast_to_discrete"
        nodes = (Node("load", (), source, 0), Node(op, (0,), target))
        operands = (Operand(source, (1,)), Operand(target, (1,)))
        kernels.append(Kernel((320,), operands, (), nodes, (Store(1, 1),)))
    for kernel, code in zip(kernels, compile_kernels(kernels), strict=True):
        rng = np.random.default_rng(3)

        def draw(number, dtype, count, rng=rng):
            if number == 1:
                return np.zeros(count)
            return rng.normal(size=count) * 40 if dtype[0] == "f" else rng.integers(-99, 99, count)

        memory = memory_of(kernel, draw)
        np.testing.assert_array_equal(compiled(code, memory)[1], interpreted(kernel, memory)[1])


def test_what_numpy_would_compute_in_another_type_is_refused():
    assert not fusable("exp", ["bool"])  # float16
    assert not fusable("square", ["bool"])  # int8
    assert not fusable("subtract", ["bool", "bool"])  # an error
    assert not fusable("add", ["complex64", "complex64"])
    assert not fusable("add", ["float16", "float32"])
    assert not fusable("power", ["int64", "int64"])  # it might be negative
    assert not fusable("sort", ["float32"])
    assert result_dtype("divide", ["int32", "int32"]) == "float64"
    assert result_dtype("add", ["int32", "float32"]) == "float64"
