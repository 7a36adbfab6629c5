"""Compiled kernels of networks: values, accuracy of sums, ends of rows, threads, size."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from hpcad.backend.native.compiler import HEADERS
from hpcad.backend.native.threads import set_threads, threads
from hpcad.program.kernels import build, generate, sharing
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.generate import source

from .arrays import COMPILER, compiled, interpreted, memory_of
from .written import Builder, chain, cross_entropy, everything, layer_norm, softmax

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


@pytest.fixture
def two_threads(monkeypatch):
    """Also for the smallest kernels."""
    monkeypatch.setattr(sharing, "SHARED", 1)
    before = threads()
    set_threads(2)
    yield
    set_threads(before)


def _normal(number, dtype, count):
    rng = np.random.default_rng(number)
    return rng.integers(0, 10, count) if dtype[0] != "f" else rng.normal(size=count)


def _run(kernel, draw=_normal):
    (code,) = compile_kernels([kernel])
    memory = memory_of(kernel, draw)
    return compiled(code, memory), interpreted(kernel, memory)


def _small_whole_numbers(number, dtype, count):
    return np.random.default_rng(number).integers(0 if dtype == "bool" else -9, 2, count)


NETWORKS = {
    "softmax": softmax(40, 65),
    "causal softmax": softmax(64, 64, causal=True),
    "layer norm": layer_norm(40, 100),
    "cross-entropy": cross_entropy(33, 10),
    "cross-entropy of a large vocabulary": cross_entropy(3, 20011),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_of_networks_agree_with_numpy(name):
    for found, wanted in zip(*_run(NETWORKS[name]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_rows_of_every_length_end_well():
    lengths = [1, 2, 7, 15, 16, 17, 31, 33, 34, 47, 63, 65, 80, 255, 257, 300]
    kernels = [everything(5, length) for length in lengths]
    for kernel, code in zip(kernels, compile_kernels(kernels), strict=True):
        memory = memory_of(
            kernel,
            lambda i, _, n: np.random.default_rng(i).integers(-9 * (i != 2), 2 + 7 * (i != 2), n),
        )
        for found, wanted in zip(compiled(code, memory), interpreted(kernel, memory), strict=True):
            np.testing.assert_array_equal(found, wanted, f"rows of {kernel.extents[1]}")


@pytest.mark.parametrize(("length", "place"), [(9, 0), (9, 8), (65, 0), (65, 16), (65, 64)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nan_wins_whatever_its_sign(length, place, sign):
    b = Builder(1, length)
    x = b.load(length, 1)
    b.store(b.reduce("max", x), 1, 0)
    b.store(b.reduce("min", x), 1, 0)

    def draw(number, dtype, count):
        values = np.arange(count, dtype=dtype)
        if number == 0:
            values[place] = np.copysign(np.nan, sign)
        return values

    found, _ = _run(b.kernel(), draw)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_square_is_the_power_that_numpy_computes(dtype):
    b = Builder(40)
    x = b.load(1, dtype=dtype)
    two = b.node("literal", (), "float64", 2.0)
    b.store(b.power(x, two), 1)
    found, wanted = _run(b.kernel())
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize("length", [5, 20, 40])
def test_extremes_of_nothing_but_infinities(length):
    b = Builder(1, length)
    x = b.load(length, 1)
    b.store(b.reduce("max", x), 1, 0)
    b.store(b.reduce("min", b.negative(x)), 1, 0)
    found, _ = _run(b.kernel(), lambda number, dtype, count: np.full(count, -np.inf))
    assert found[1] == -np.inf
    assert found[2] == np.inf


def test_labels_beyond_32_bits_are_no_index():
    labels = [2**32 + 3, 3, -1, 2**31 - 1, -(2**31) + 3, 2**63 - 1, -(2**63), 0]
    b = Builder(len(labels), 20)
    label, index = b.load(1, 0, dtype="int64"), b.index(1)
    for op in ("equal", "less", "greater_equal"):
        b.store(getattr(b, op)(label, index), 20, 1)
    b.store(b.where(b.equal(index, label), b.number(1.0), b.number(0.0)), 20, 1)

    def draw(number, dtype, count):
        return np.array(labels) if number == 0 else np.zeros(count)

    for found, wanted in zip(*_run(b.kernel(), draw), strict=True):
        np.testing.assert_array_equal(found, wanted)


# -- sums ---------------------------------------------------------------------------------------


def _tenths(number, dtype, count):
    """The rounding errors of their sums all go one way."""
    return np.full(count, 0.1)


def test_a_sum_of_a_million_numbers_keeps_its_digits():
    b = Builder(1_000_000)
    b.store(b.load(1), 0, reduce="sum")
    found, _ = _run(b.kernel(), _tenths)
    assert abs(found[1][0] / (float(np.float32(0.1)) * 1e6) - 1) < 2e-6


def test_a_row_of_a_million_numbers_needs_no_stack():
    b = Builder(1, 1_000_000)
    x = b.load(0, 1)
    share = b.divide(b.exp(x), b.reduce("sum", b.exp(x)))
    b.store(share, 0, 1)
    b.store(b.reduce("sum", share), 0, 0)
    found, _ = _run(b.kernel(), _normal)
    assert abs(found[2][0] - 1) < 1e-6


def test_column_sums_of_many_rows_are_more_accurate_than_adding_row_by_row():
    b = Builder(100_000, 3)
    b.store(b.load(3, 1), 0, 1, reduce="sum")
    found, wanted = _run(b.kernel(), _tenths)
    right = float(np.float32(0.1)) * 100_000
    assert np.abs(found[1] / right - 1).max() < 4e-6 < np.abs(wanted[1] / right - 1).max()


def test_sums_along_different_axes_in_one_kernel():
    b = Builder(7, 5, 3, dtype="float64")
    x = b.load(15, 3, 1)
    b.store(x, 0, 3, 1, reduce="sum")
    b.store(x, 3, 0, 1, reduce="sum")
    b.store(x, 0, 0, 0, reduce="sum", accumulate=True)
    for found, wanted in zip(*_run(b.kernel()), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_sums_that_cannot_be_had_at_once_are_refused_with_what_to_do():
    b = Builder(7, 5, 3)
    x = b.load(0, 3, 1)
    b.store(x, 3, 0, 1, reduce="sum")
    kernel = b.kernel()
    both = (*kernel.stores, type(kernel.stores[0])(x, 0, "sum"))
    stores = (*both, type(kernel.stores[0])(x, 1, "sum"))
    clash = type(kernel)(kernel.extents, kernel.operands, (), kernel.nodes, stores)
    with pytest.raises(ValueError, match="kernel of their own"):
        generate.generate(clash, "clash")


def test_a_kernel_over_nothing_is_refused():
    with pytest.raises(ValueError, match="computes nothing"):
        generate.generate(softmax(0, 3), "nothing")


# -- threads ------------------------------------------------------------------------------------


def test_sums_of_threads_are_the_same_every_time(two_threads):
    b = Builder(501, 33)
    b.store(b.load(33, 1), 0, 1, reduce="sum")
    b.store(b.load(33, 1), 0, 0, reduce="sum")
    kernel = b.kernel()
    (code,) = compile_kernels([kernel])
    memory = memory_of(kernel, _normal)
    first = compiled(code, memory)
    for _ in range(20):
        for again, before in zip(compiled(code, memory), first, strict=True):
            np.testing.assert_array_equal(again, before)


def test_calls_bound_for_fewer_threads_stay_within_their_scratch_memory(two_threads):
    b = Builder(501, 33, dtype="float64")
    b.store(b.load(33, 1), 0, 1, reduce="sum")
    kernel = b.kernel()
    (code,) = compile_kernels([kernel])
    memory = memory_of(kernel, _normal)
    addresses = [flat.ctypes.data for flat, _ in memory]
    set_threads(1)
    call = code.bind(addresses)
    set_threads(2)
    call()
    np.testing.assert_allclose(memory[1][0], memory[0][0].reshape(501, 33).sum(0), rtol=1e-12)


# -- the code -----------------------------------------------------------------------------------


def test_a_chain_of_a_thousand_operations_is_one_kernel():
    found, wanted = _run(chain(500, 10))
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-9)
    np.testing.assert_allclose(found[2], wanted[2], rtol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "causal softmax", "layer norm"])
def test_every_loop_is_vectorised(tmp_path, name):
    if "Free Software Foundation" not in COMPILER.version or "avx2" not in _instructions():
        pytest.skip("only gcc says which loops it vectorised; only for AVX2 are all of them here")
    text, _ = source([NETWORKS[name]])
    file = tmp_path / "kernel.c"
    file.write_text(text)
    flags = [*COMPILER.flags, f"-I{HEADERS}", f"-I{build.FOLDER}", "-fopt-info-vec-optimized"]
    command = [*COMPILER.command, *flags, str(file), "-o", str(tmp_path / "kernel.so")]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    notes = (said.stderr + said.stdout).splitlines()
    lines = text.splitlines()
    loops = [i + 2 for i, line in enumerate(lines) if line.startswith("#pragma omp simd")]
    assert loops
    for number in loops:
        places = (f"kernel.c:{number}:", f"kernel.c:{number + 1}:")  # the head, or what follows
        found = [
            note for note in notes if "loop vectorized" in note and any(p in note for p in places)
        ]
        assert found, lines[number - 1]


def _instructions():
    with open("/proc/cpuinfo") as file:
        return next((line for line in file if line.startswith("flags")), "")
