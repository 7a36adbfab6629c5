"""The installed CuPy has the names that device communicators use. Needs no device, proves none."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import DeviceError
from hpcad.parallel.devices.nccl_group import NcclGroup, nccl_of

pytest.importorskip("cupy", reason="CuPy is not installed")
import cupy


@pytest.fixture
def nccl():
    found = nccl_of(cupy)
    if not found.available:
        pytest.skip("CuPy finds no NCCL library")
    return found


@pytest.mark.parametrize(
    ("room", "names"),
    [
        (cupy, "ndarray zeros"),
        (cupy.ndarray, "reshape view get set data flags dtype nbytes"),
        (cupy.cuda, "Stream Event get_current_stream alloc_pinned_memory runtime"),
        (cupy.cuda.Stream, "wait_event synchronize"),
        (cupy.cuda.Event, "record done synchronize"),
        (cupy.cuda.runtime, "hostRegister CUDARuntimeError deviceGetPCIBusId getDevice"),
    ],
)
def test_cupy_has_these_names(room, names):
    assert [name for name in names.split() if not hasattr(room, name)] == []


def test_nccl_has_these_names(nccl):
    calls = "allReduce reduce reduceScatter allGather broadcast check_async_error abort destroy"
    missing = [name for name in calls.split() if not hasattr(nccl.NcclCommunicator, name)]
    names = "NcclError get_unique_id groupStart groupEnd NCCL_SUM NCCL_PROD NCCL_MAX NCCL_MIN"
    assert missing + [name for name in names.split() if not hasattr(nccl, name)] == []
    assert len(bytes(nccl.get_unique_id())) == 128


def test_nccls_dtypes_have_the_names_of_numpys(nccl):
    group = object.__new__(NcclGroup)
    group._nccl = nccl
    for number, code in enumerate(["i1", "u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]):
        assert group._number(np.dtype(code)) == number
    assert group._number(np.dtype("c8")) == nccl.NCCL_FLOAT32
    assert group._number(np.dtype("i2")) is None
    assert group._number(np.dtype("?")) is None
    types = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    assert group._number(np.dtype(types.bfloat16)) == nccl.NCCL_BFLOAT16


def test_without_a_device_nccl_says_why(nccl):
    if cupy.cuda.is_available():
        pytest.skip("there is a device")
    with pytest.raises(DeviceError, match="NCCL cannot connect the devices of 1 ranks"):
        NcclGroup(cupy, 1, 0, bytes(nccl.get_unique_id()))
