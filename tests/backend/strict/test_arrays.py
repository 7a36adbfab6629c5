"""Device arrays compute what NumPy's do, and refuse what CuPy's refuse."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import scipy_of
from hpcad.backend import strict as xp
from hpcad.backend.strict import StrictDeviceError

HOST = np.arange(12.0).reshape(3, 4)


def same(found, expected):
    assert isinstance(found, xp.ndarray)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sin(x) + 2 * x,
        lambda x: 1.0 / (x + 1),
        lambda x: np.float32(2) * x,
        lambda x: x @ x.T,
        lambda x: np.einsum("ij,kj->ik", x, x),
        lambda x: np.where(x > 3, x, 0.0),
        lambda x: np.concatenate([x, x[::-1]], axis=1),
        lambda x: x.sum(axis=0),
        lambda x: np.maximum(x, 4).max(axis=1, keepdims=True),
        lambda x: x.astype(np.float32),
        lambda x: x[1:, ::2].copy(),
        lambda x: x.reshape(2, 6).T,
        lambda x: np.sort(-x, axis=1),
        lambda x: np.linalg.inv(x[:, :3] + 9 * np.eye(3, like=x)),
        lambda x: np.add.reduce(x, axis=1),
        lambda x: np.clip(x, 1, None),
        lambda x: x == 3,
        lambda x: ~(x > 3),
        lambda x: np.zeros_like(x),
    ],
)
def test_values_are_those_of_numpy(function):
    same(function(xp.asarray(HOST)), function(HOST))


def test_results_without_axes_stay_on_the_device():
    for found in (xp.asarray(HOST).sum(), np.mean(xp.asarray(HOST)), xp.asarray(HOST)[1, 2]):
        assert isinstance(found, xp.ndarray)
        assert found.shape == ()


def test_views_share_memory_and_are_no_work():
    x = xp.asarray(HOST)
    before = xp.COUNTS.copy()
    rows, turned, part, one = x[1:], x.T, x.reshape(-1)[3:7], x[1]
    assert (xp.COUNTS - before).launches == 0
    assert (xp.COUNTS - before).allocations == 0
    assert rows.data.ptr == x.data.ptr + 32
    x[...] = 7
    for view in (rows, turned, part, one):
        assert np.all(view.get() == 7)


def test_assignments_reach_the_memory():
    x, expected = xp.zeros((3, 4)), np.zeros((3, 4))
    for array, library in ((x, xp), (expected, np)):
        array[1] = 5
        array[:, 2] = library.arange(3.0)
        array[library.asarray([0, 2]), 0] = 9
        array[array > 8] = -1
        array += 1
        library.add.at(array, (library.asarray([0, 0]), 3), 2.0)
    same(x, expected)


def test_different_values_for_one_element_are_refused():
    """Which of them a GPU stores is undefined."""
    x, index = xp.zeros(4), xp.asarray([1, 2, 1])
    with pytest.raises(StrictDeviceError, match="repeated indices"):
        x[index] = xp.arange(3.0)
    x[index] = 5.0
    x[index] = xp.asarray([7.0, 8.0, 7.0])
    assert x.tolist() == [0, 7, 8, 0]


def test_functions_write_into_out():
    x, out = xp.asarray(HOST), xp.empty((3, 4))
    assert np.multiply(x, 2, out=out) is out
    same(out, 2 * HOST)
    xp.add(x, x, out)
    same(out, 2 * HOST)
    np.copyto(out, 0.0, where=x > 5)
    same(out, np.where(HOST > 5, 0, 2 * HOST))


def test_conversion_to_a_host_array_is_refused():
    x = xp.asarray(HOST)
    for convert in (np.asarray, np.array, np.ascontiguousarray, lambda x: np.array([x, x])):
        with pytest.raises(TypeError, match="Implicit conversion"):
            convert(x)
    with pytest.raises(BufferError, match="exports no arrays"):
        np.from_dlpack(x)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + HOST,
        lambda x: HOST * x,
        lambda x: np.maximum(x, HOST),
        lambda x: x + np.array(1.0),
        lambda x: np.where(HOST > 3, x, 0.0),
        lambda x: np.concatenate([x, HOST]),
        lambda x: x.__iadd__(HOST),
        lambda x: np.add(x, x, out=HOST.copy()),
    ],
)
def test_host_arrays_do_not_mix_with_device_arrays(mix):
    with pytest.raises(TypeError):
        mix(xp.asarray(HOST))


def test_host_arrays_are_not_assigned():
    x = xp.zeros((3, 4))
    with pytest.raises(ValueError, match="non-scalar"):
        x[...] = HOST
    with pytest.raises(TypeError, match="list"):
        x[0] = [1, 2, 3, 4]


def test_functions_that_cupy_lacks_are_refused():
    x = xp.asarray(HOST)
    with pytest.raises(TypeError):
        np.insert(x, 0, 1.0)
    with pytest.raises(AttributeError, match="CuPy has none"):
        _ = xp.geomspace
    with pytest.raises(TypeError, match=r"maximum\.reduce"):
        np.maximum.reduce(x)
    with pytest.raises(TypeError, match=r"max\(\) has no keyword argument initial"):
        x.max(axis=0, initial=0)
    with pytest.raises(TypeError, match="cupy_logical_and"):
        np.logical_and(x + 1j, x)
    with pytest.raises(ValueError, match="one matrix"):
        scipy_of(x, "linalg").expm(xp.ones((2, 3, 3)))
    with pytest.raises(TypeError, match="no where"):
        np.add(x, x, where=x > 1)


def test_pickling_is_refused():
    with pytest.raises(TypeError, match="not pickled"):
        xp.zeros(3).__reduce__()


def test_memory_given_by_address_is_an_array():
    x = xp.asarray(HOST)
    pointer = xp.cuda.MemoryPointer(xp.cuda.UnownedMemory(x.data.ptr, x.nbytes, x), 8)
    same(xp.ndarray((3, 3), np.float64, pointer, (32, 8)), HOST[:, 1:])


def test_creation_from_nested_sequences_and_types():
    same(xp.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]))
    same(xp.array([xp.ones(2), xp.zeros(2)]), np.array([np.ones(2), np.zeros(2)]))
    same(xp.full((2, 2), 3, np.int32), np.full((2, 2), 3, np.int32))
    same(xp.linspace(0, 1, 5), np.linspace(0, 1, 5))
    same(xp.asarray(HOST.T), HOST.T)
    assert xp.asarray(HOST.T).flags.f_contiguous
    x = xp.ones(3)
    assert xp.asarray(x) is x
    assert xp.array(x) is not x
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.asarray(np.array(["a"]))
