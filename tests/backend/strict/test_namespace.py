"""Calls of hpcad.numpy on tensors of the strict device give what they give on the host, there."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff.tensor import value_of
from hpcad.backend import is_device_array, to_host

from ...numpy.test_parity import ARRAYS, CALLS, calls, evaluated, flat

QUICK = ("float64", "int64")
# Host arrays among the arguments, which do not mix with device arrays.
MIXED = ["m.average(x, axis=-1, weights=np.arange(1, 5))"]


def difference(call, host):
    """What is wrong with a call on the device, or an empty text."""
    names = {"m": hnp, "np": np, "value": value_of}
    try:
        expected = flat(evaluated(call, names | {"x": host}))
    except (TypeError, ValueError, IndexError):
        return ""  # not a call for such an array
    try:
        found = flat(evaluated(call, names | {"x": hnp.asarray(host, device="strict")}))
        for a, b in zip(found, expected, strict=True):
            compare(value_of(a), value_of(b))
    except Exception as error:  # noqa: BLE001  (all differences are wanted)
        return f"{call}: {type(error).__name__}: {error}"
    return ""


def compare(found, expected):
    if not isinstance(expected, np.ndarray | np.generic):
        assert found == expected
        return
    assert is_device_array(found)
    found = to_host(found)
    assert (found.shape, found.dtype) == (np.shape(expected), expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


KINDS = [pytest.param(k, marks=() if k in QUICK else (pytest.mark.slow,)) for k in ARRAYS]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_calls_give_what_they_give_on_the_host(kind):
    host = hnp.asarray(ARRAYS[kind])
    told = [difference(call, value_of(host)) for call in calls(CALLS) if call not in MIXED]
    assert [text for text in told if text] == []


def test_host_arrays_do_not_mix():
    x = hnp.asarray(ARRAYS["float64"], device="strict")
    with pytest.raises(TypeError, match="move it first"):
        hnp.average(x, axis=-1, weights=np.arange(1, 5))
