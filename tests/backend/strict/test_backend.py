"""The strict device as a backend, found by name and by array."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.backend import backend_of, get_backend, is_device_array, scipy_of, to_host
from hpcad.backend import strict as xp
from hpcad.errors import ConfigError


def test_the_backend_is_found_by_name_and_by_array():
    backend = get_backend("strict")
    assert (backend.name, backend.device, backend.on_device) == ("strict", "strict", True)
    assert backend.xp is xp
    for found in (xp.zeros(3), xp.zeros(3).device):
        assert backend_of(found) is backend
        assert is_device_array(found)
    assert backend_of(np.zeros(3)) is get_backend("cpu")
    assert not get_backend("cpu").on_device
    assert not is_device_array(np.zeros(3))
    with pytest.raises(ConfigError, match="'strict'"):
        get_backend("gpu0")


def test_memory_and_copies():
    backend = get_backend("strict")
    np.testing.assert_array_equal(to_host(backend.asarray([1.0, 2.0])), [1, 2])
    assert np.isnan(to_host(backend.empty((2,), np.float32))).all()
    memory = backend.allocate(100)
    assert memory.data.ptr % 64 == 0
    assert not to_host(memory).any()
    before = backend.memory_in_use()
    held = backend.zeros((1024,), np.float64)
    assert backend.memory_in_use() - before == held.nbytes
    backend.synchronize()


def test_scipy_for_the_memory_of_an_array():
    x = xp.asarray([[2.0, 1.0], [0.0, 3.0]])
    found = scipy_of(x, "special").erf(x), scipy_of(x, "linalg").expm(x)
    plain = scipy_of(np.ones(2), "special"), scipy_of(np.ones(2), "linalg")
    assert [module.__name__ for module in plain] == ["scipy.special", "scipy.linalg"]
    for a, b in zip(found, (plain[0].erf(x.get()), plain[1].expm(x.get())), strict=True):
        assert isinstance(a, xp.ndarray)
        np.testing.assert_array_equal(a.get(), b)
    with pytest.raises(AttributeError, match="CuPy has none"):
        _ = scipy_of(x, "special").jv


def test_tensors_move_to_the_device_and_back():
    x = hnp.asarray([1.0, 2.0])
    there = x.to_device("strict")
    assert there.to_device("strict").device == there.device
    assert isinstance(there.value, xp.ndarray)
    assert x.to_device(there.device).device == there.device
    assert hnp.full_like(there, 3).device == there.device
    assert hnp.ones(3, device="strict").device == there.device
    assert there.to_device("cpu").device == "cpu"
    np.testing.assert_array_equal(there.numpy(), [1, 2])
