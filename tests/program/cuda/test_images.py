"""Pooling, patches of images, and random rows in CUDA C++ are those of NumPy and of primitives."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import Stream
from hpcad.errors import DeviceError
from hpcad.primitives.convolution import _conv_gemm, _conv_input_scatter
from hpcad.primitives.pooling import max_pool_parts
from hpcad.primitives.pooling import pick as pick_elements
from hpcad.primitives.pooling import unpool as unpool_images
from hpcad.program.cuda.routines.patches import Geometry, add_patches, take_patches
from hpcad.program.cuda.routines.pooling import max_pool, pick, unpool
from hpcad.program.cuda.routines.uniform_rows import uniform_rows

from .emulation import COMPILER
from .routine_cases import Case, check, emulator_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")

ODD = Geometry((2, 7, 5, 3), (3, 2), (2, 1), (1, 2))
FOURS = Geometry((2, 4, 5, 8), (3, 3), (1, 1), (1, 1))
GAPS = Geometry((1, 8, 9, 4), (2, 2), (3, 3), (0, 0))


def pixels(rng, number, dtype, count):
    """Many ties, some NaN and infinities; winners are numbers of parts."""
    if dtype == "int8":
        return rng.integers(0, 4, count)
    values = rng.integers(-2, 3, count).astype(np.float64)
    values[rng.random(count) < 0.05] = np.nan
    values[rng.random(count) < 0.05] = np.inf
    return values


def ids(rng, number, dtype, count):
    return rng.integers(0, 2**60, count) if dtype == "int64" else np.zeros(count)


CASES = {
    "pool": Case(max_pool("float32", (2, 5, 7, 8), 2), pixels, exact=True),
    "pool relu": Case(max_pool("float64", (2, 6, 7, 3), 3, relu=True), pixels, exact=True),
    "pool halves": Case(max_pool("bfloat16", (2, 5, 7, 8), 2, relu=True), pixels, exact=True),
    "unpool halves": Case(unpool("float16", (2, 5, 7, 8), 2), pixels, exact=True),
    "uniform halves": Case(uniform_rows("bfloat16", 3, 6, (5, 6)), ids, exact=True),
    "patches of halves": Case(take_patches("bfloat16", FOURS), exact=True),
    "images of halves": Case(add_patches("bfloat16", FOURS), exact=True),
    "unpool": Case(unpool("float32", (2, 5, 7, 8), 2), pixels, exact=True),
    "unpool odd": Case(unpool("float64", (1, 7, 4, 3), 2), pixels, exact=True),
    "pick": Case(pick("float32", (2, 5, 7, 3), 2), pixels, exact=True),
    "uniform": Case(uniform_rows("float32", 7, 13, (2**32 - 1, 77)), ids, exact=True),
    "uniform double": Case(uniform_rows("float64", 3, 8, (5, 6)), ids, exact=True),
    "patches": Case(take_patches("float32", ODD), exact=True),
    "patches of bytes": Case(take_patches("uint8", FOURS), exact=True),
    "patches with gaps": Case(take_patches("float64", GAPS), exact=True),
    "images": Case(add_patches("float32", ODD), exact=True),
    "images of fours": Case(add_patches("float32", FOURS), exact=True),
    "images with gaps": Case(add_patches("float64", GAPS), exact=True),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulator_of(list(CASES.values()), tmp_path_factory.mktemp("images"))


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_images_equal_numpy(library, name):
    check(CASES[name], library)


def same(found, expected):
    """All bits, but those of NaN."""
    np.testing.assert_array_equal(found, np.asarray(expected).ravel())


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_references_are_the_primitives():
    rng = np.random.default_rng(0)
    x = pixels(rng, 0, "float32", 2 * 5 * 7 * 3).astype(np.float32).reshape(2, 5, 7, 3)
    best, won = max_pool_parts(x, size=2)
    found = [x.ravel(), np.empty(best.size, np.float32), np.empty(best.size, np.int8)]
    max_pool("float32", x.shape, 2).reference(found, [])
    same(found[1], best)
    same(found[2], won)
    out = np.empty(x.size, np.float32)
    unpool("float32", x.shape, 2).reference([found[1], found[2], out], [])
    same(out, unpool_images(best, winner=won, shape=x.shape, size=2))
    picked = np.empty(best.size, np.float32)
    pick("float32", x.shape, 2).reference([x.ravel(), found[2], picked], [])
    same(picked, pick_elements(x, winner=won, size=2))
    stream, rows = Stream(3, "rows"), np.array([5, 2**40, 0])
    numbers = np.empty(21, np.float32)
    uniform_rows("float32", 3, 7, stream.key).reference([rows, np.array([9]), numbers], [])
    same(numbers, stream.uniform_rows(rows, 7, np.float32, step=9))


@pytest.mark.parametrize("geometry", [ODD, FOURS, GAPS])
def test_a_convolution_is_patches_and_a_product(geometry):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(geometry.images)
    w = rng.standard_normal((*geometry.kernel, x.shape[3], 6))
    matrix = np.empty(geometry.rows * geometry.columns)
    take_patches("float64", geometry).reference([x.ravel(), matrix], [])
    y = matrix.reshape(geometry.rows, -1) @ w.reshape(-1, 6)
    expected = _conv_gemm(x, w, None, geometry.stride, geometry.padding)
    np.testing.assert_allclose(y.ravel(), expected.ravel(), rtol=1e-12, atol=1e-12)
    columns = np.ascontiguousarray(y @ w.reshape(-1, 6).T)
    dx = np.empty(x.size)
    add_patches("float64", geometry).reference([columns.ravel(), dx], [])
    expected = _conv_input_scatter(
        y.reshape(expected.shape), w, x.shape[1:3], geometry.stride, geometry.padding
    )
    np.testing.assert_allclose(dx, expected.ravel(), rtol=1e-12, atol=1e-10)


def test_what_has_no_routine_is_refused():
    with pytest.raises(DeviceError, match="windows of 12 x 12"):
        max_pool("float32", (1, 30, 30, 1), 12)
    with pytest.raises(DeviceError, match="smaller than the kernel"):
        take_patches("float32", Geometry((1, 2, 2, 1), (3, 3)))
    with pytest.raises(DeviceError, match="int32"):
        unpool("int32", (1, 4, 4, 1), 2)
