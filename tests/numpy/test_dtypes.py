"""Data types, conversions out of tensors, DLPack, and what the namespace says of itself."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import Parameter, grad
from hpcad.autodiff import check_grads


def test_astype_differentiates_between_floating_and_complex_numbers():
    check_grads(lambda x: hnp.astype(x, complex) * (1 + 2j), (np.array([0.5, 2.0]),), order=2)
    gradient = grad(lambda x: (x.astype(np.float64) * 2.0).sum())(np.ones(2, np.float32))
    assert gradient.dtype == np.float32


def test_astype_to_integers_is_a_constant():
    assert grad(lambda x: x * x.astype(int))(2.5) == 2.0
    assert hnp.astype(hnp.asarray([0.0, 2.0]), bool).tolist() == [False, True]


def test_astype_from_complex_to_real_is_refused():
    with pytest.raises(TypeError, match=r"real\(x\), imag\(x\)"):
        hnp.astype(hnp.ones(2, dtype=complex), float)


def test_astype_copies_unless_told_not_to():
    x = hnp.ones(2)
    assert hnp.astype(x, float, copy=False) is x
    y = hnp.astype(x, float)
    x[0] = 5.0
    assert y.tolist() == [1.0, 1.0]


def test_promotion():
    x = hnp.ones(2, dtype=np.float32)
    assert hnp.result_type(x, 1.0) == np.float32
    assert hnp.result_type(x, np.int64, 1j) == np.complex128
    assert hnp.can_cast(x, np.float64)
    assert not hnp.can_cast(np.float64, np.float32)
    assert hnp.promote_types(np.int8, np.uint8) == np.int16
    assert hnp.isdtype(x.dtype, ("integral", "real floating"))
    assert not hnp.isdtype(hnp.float32, "complex floating")


def test_limits_are_python_numbers():
    info = hnp.finfo(hnp.ones(1, dtype=np.complex64))
    for name in ("eps", "max", "min", "smallest_normal", "tiny"):
        assert type(getattr(info, name)) is float
        assert getattr(info, name) == getattr(np.finfo(np.float32), name)
    assert (info.bits, info.dtype) == (32, np.float32)
    limits = hnp.iinfo(np.int8)
    assert (limits.bits, limits.min, limits.max, limits.dtype) == (8, -128, 127, np.int8)
    assert type(limits.max) is int


def test_the_namespace_describes_itself():
    info = hnp.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_dtypes()["integral"] == np.int64
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {
        "bool",
        "complex64",
        "complex128",
    }
    assert len(info.dtypes()) == 13
    assert info.capabilities()["boolean indexing"] is True
    with pytest.raises(ValueError, match="unknown kind"):
        info.dtypes(kind="string")
    x = hnp.ones(1)
    assert x.__array_namespace__(api_version="2025.12") is hnp
    with pytest.raises(ValueError, match="not known"):
        x.__array_namespace__(api_version="1999.01")


# -- values that leave a tensor -----------------------------------------------------------


def test_constants_become_python_numbers():
    assert float(hnp.asarray(1.5)) == 1.5
    assert int(hnp.asarray([3])) == 3
    assert complex(hnp.asarray(1j)) == 1j
    assert operator.index(hnp.asarray(4)) == 4
    assert [10, 20, 30][hnp.asarray(1)] == 20
    assert bool(hnp.asarray(True))
    assert f"{hnp.asarray(2.0):.2f}" == "2.00"
    with pytest.raises(TypeError):
        operator.index(hnp.asarray(4.0))
    with pytest.raises(TypeError):
        float(hnp.asarray(1j))
    with pytest.raises(TypeError, match=r"one element; this one has shape \(2,\)"):
        float(hnp.ones(2))


@pytest.mark.parametrize("kind", [float, int, complex])
def test_numbers_inside_transforms_would_lose_the_derivative(kind):
    with pytest.raises(TypeError, match="would lose its derivative"):
        grad(lambda x: x * kind(x))(1.0)


def test_numpy_gives_tracked_values_read_only():
    seen = []
    grad(lambda x: [seen.append(x.numpy()), x.sum()][1])(np.ones(2))
    with pytest.raises(ValueError, match="read-only"):
        seen[0][0] = 5.0
    assert not Parameter(np.ones(2)).numpy().flags.writeable
    array = np.ones(2)
    assert hnp.asarray(array).numpy() is array


# -- DLPack -------------------------------------------------------------------------------


def test_dlpack_both_ways():
    x = hnp.arange(3.0)
    np.testing.assert_array_equal(np.from_dlpack(x), [0, 1, 2])
    array = np.ones((2, 3), np.float32)
    y = hnp.from_dlpack(array)
    assert y.dtype == np.float32
    assert np.shares_memory(y.numpy(), array)
    assert not np.shares_memory(hnp.from_dlpack(array, copy=True).numpy(), array)
    assert hnp.from_dlpack(x, device="cpu").tolist() == [0, 1, 2]
    assert x.__dlpack_device__() == (1, 0)


def test_dlpack_refuses_tracked_tensors():
    p = Parameter(np.ones(2))
    with pytest.raises(BufferError, match=r"derivative would be lost.*detach"):
        np.from_dlpack(p)
    with pytest.raises(BufferError, match="derivative would be lost"):
        hnp.from_dlpack(p)
    np.testing.assert_array_equal(np.from_dlpack((p * 2.0).detach()), [2.0, 2.0])


def test_dlpack_with_torch():
    torch = pytest.importorskip("torch")
    x = hnp.from_dlpack(torch.arange(4, dtype=torch.float64))
    assert x.tolist() == [0, 1, 2, 3]
    assert torch.from_dlpack(x).sum().item() == 6.0
