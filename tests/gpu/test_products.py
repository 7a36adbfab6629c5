"""Products by cuBLASLt on a GPU equal NumPy's, in graphs too, and have the same bits each time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hpcad.backend.cublaslt import bind_product, multiply
from hpcad.backend.cublaslt.tuning import tune

from ..backend.cublaslt import masks
from ..backend.cublaslt.arrays import HALF, TYPES, host
from ..backend.cublaslt.cases import ENDS, check

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

BATCHES = [((), ()), ((3,), (3,)), ((3,), ()), ((2, 3), (2, 3)), ((2, 1), (1, 3))]
rng = np.random.default_rng(0)


def draw(*shape):
    return cupy.asarray(rng.standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize(("a", "b", "c"), list(itertools.product([False, True], repeat=3)))
def test_layouts(types, a, b, c):
    layouts = [(x, 8, 0) for x in (a, b, c)]
    for batch in BATCHES:
        assert check(cupy, (24, 40, 32, batch, types, "", 2.0, 1.0, layouts, 0))


@pytest.mark.parametrize("sides", [(1, 1, 1), (1, 17, 5), (17, 1, 5), (5, 3, 1), (33, 65, 129)])
@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_odd_sides_and_addresses(types, sides):
    for start in (0, 1):
        layouts = [(False, 1, start)] * 3
        assert check(cupy, (*sides, ((), ()), types, "", 1.0, 0.0, layouts, 0))


@pytest.mark.parametrize("half", HALF)
@pytest.mark.parametrize("end", ENDS)
def test_epilogues(half, end):
    layouts = [(end == "bgrad_b", 0, 0), (False, 0, 0), (False, 0, 0)]
    case = (128, 256, 64, ((), ()), (half, half), end, 1.0, 0.0, layouts, 0)
    if not check(cupy, case):
        pytest.skip("this cuBLASLt has no algorithm for it")


@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize("columns", [128, 192])
def test_masks_of_bits(types, columns):
    try:
        masks.check(cupy, types, columns)
    except TypeError:  # a product that was not bound
        pytest.skip("this cuBLASLt has no algorithm for it")


def test_a_graph_replays_products():
    with cupy.cuda.Stream(non_blocking=True) as stream:
        a, b, c = draw(64, 32), draw(32, 48), cupy.zeros((64, 48), np.float32)
        call = bind_product(cupy, a, b, c, beta=1.0)
        call()  # what the library loads at the first use
        c.fill(0)
        stream.begin_capture()
        call()
        graph = stream.end_capture()
        graph.launch()
        graph.launch()
        stream.synchronize()
    wanted = 2 * host(cupy, a) @ host(cupy, b)
    np.testing.assert_allclose(host(cupy, c), wanted, rtol=1e-4, atol=1e-4)


def test_the_algorithm_that_was_measured_gives_the_same_bits_each_time():
    a, b, c = draw(512, 4096), draw(4096, 256), cupy.empty((512, 256), np.float32)
    call = bind_product(cupy, a, b, c)
    assert next(iter(tune([call]).values())) > 0
    runs = []
    for _ in range(3):
        call()
        runs.append(host(cupy, c).copy())
    np.testing.assert_allclose(runs[0], host(cupy, a) @ host(cupy, b), rtol=1e-3, atol=1e-3)
    assert runs[0].tobytes() == runs[1].tobytes() == runs[2].tobytes()


def test_eager_products():
    a, b = draw(3, 8, 16)[:, ::2, ::2], draw(8, 5)
    found = multiply(cupy, a, b)
    np.testing.assert_allclose(host(cupy, found), host(cupy, a) @ host(cupy, b), rtol=1e-5)
