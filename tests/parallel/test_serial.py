"""One process alone: nothing moves, everything is checked as it would be on many ranks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hpcad.errors import ConfigError, DataError, ShapeError
from hpcad.parallel import SerialCommunicator


@pytest.fixture
def alone() -> SerialCommunicator:
    return SerialCommunicator()


def test_arrays_keep_their_values(alone):
    array = np.arange(5.0)
    alone.broadcast(array)
    alone.allreduce(array, "prod")
    request = alone.iallreduce(array)
    assert request.test()
    request.wait()
    np.testing.assert_array_equal(array, np.arange(5.0))


def test_json_comes_back_as_json(alone):
    assert alone.broadcast_json({"a": (1, 2), 3: None}) == {"a": [1, 2], "3": None}
    assert alone.gather_json("x") == ["x"]


def test_allocated_bytes_are_zero_and_aligned(alone):
    for nbytes in (0, 1, 4096, 1_000_003):
        array = alone.allocate(nbytes)
        assert array.shape == (nbytes,)
        assert array.dtype == np.uint8
        assert not array.any()
        assert nbytes == 0 or array.ctypes.data % 64 == 0


def test_agree_raises_the_error_itself(alone):
    alone.agree(None)
    error = DataError("shard 3 is short")
    with pytest.raises(DataError) as caught:
        alone.agree(error)
    assert caught.value is error


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4))[:, ::2], np.array([object()]), [1.0], np.broadcast_to(1.0, (3,))]
)
def test_unfit_arrays_are_refused(alone, array):
    with pytest.raises(ShapeError, match=r"broadcast (needs|works)"):
        alone.broadcast(array)


@pytest.mark.parametrize(
    ("dtype", "op"),
    [("?", "sum"), ("F", "max"), ("D", "min"), (">f4", "sum"), ("M8[s]", "max"), ("S3", "sum")],
)
def test_reductions_without_a_meaning_are_refused(alone, dtype, op):
    with pytest.raises(ShapeError, match=f"the {op} of dtype"):
        alone.allreduce(np.zeros(2, dtype), op)


def test_unknown_reduction_is_refused(alone):
    with pytest.raises(ConfigError, match="'mean'; expected one of sum, max, min, prod"):
        alone.iallreduce(np.zeros(1), "mean")


def test_values_that_json_cannot_carry_are_refused(alone):
    with pytest.raises(ShapeError, match=r"by \.item\(\)"):
        alone.gather_json(np.float32(1))


def test_abort_ends_the_process_with_the_code():
    program = "from hpcad.parallel import SerialCommunicator as S; print('x'); S().abort(9)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (9, "x\n")
