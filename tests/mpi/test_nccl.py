"""What NCCL's communicator does beyond reductions: the strict device, NCCL's stand-in; no GPU."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import strict as cuda
from hpcad.errors import CollectiveError, ShapeError

from . import strict_nccl
from .device_groups import WORLD, expected, group_of, make, numbers

pytestmark = pytest.mark.mpi


@pytest.fixture(autouse=True)
def _nccl(monkeypatch):
    strict_nccl.install(monkeypatch.setattr)


def test_reduce_scatter_and_allgather_make_an_allreduce_in_place():
    group = group_of("nccl")
    host = numbers(6 * WORLD.size, "f8")
    array = cuda.asarray(host)
    block = array[6 * WORLD.rank : 6 * WORLD.rank + 6]
    group.reduce_scatter(array, block)
    mine = expected(host, "sum")[6 * WORLD.rank : 6 * WORLD.rank + 6]
    np.testing.assert_array_equal(cuda.asnumpy(block), mine)
    group.allgather(block, array)
    np.testing.assert_array_equal(cuda.asnumpy(array), expected(host, "sum"))


def test_several_arrays_are_broadcast_in_one_launch():
    group = group_of("nccl")
    arrays = [cuda.asarray(numbers(n, dtype)) for n, dtype in ((5, "f4"), (0, "f4"), (9, "i8"))]
    before = group._group._comm.launches
    group.broadcast_all(arrays, WORLD.size - 1)
    assert group._group._comm.launches == before + 1
    for array in arrays:
        there = np.random.default_rng([0, WORLD.size - 1]).integers(1, 4, array.size)
        np.testing.assert_array_equal(cuda.asnumpy(array), there)


def test_blocks_of_unequal_length_are_refused():
    group = group_of("nccl")
    with pytest.raises(ShapeError, match="moves equal blocks"):
        group.allgather(cuda.zeros(3), cuda.zeros(3 * WORLD.size + 1))
    with pytest.raises(ShapeError, match="moves equal blocks"):
        group.reduce_scatter(cuda.zeros(3 * WORLD.size + 1), cuda.zeros(3))


def test_an_error_that_nccl_reports_later_aborts_and_is_raised():
    group = make("nccl")
    group._group._comm.fails = strict_nccl.NcclError("NCCL_ERROR_REMOTE_ERROR: a peer is gone")
    with pytest.raises(CollectiveError, match=r"NCCL failed on rank .* a peer is gone"):
        group.iallreduce(cuda.zeros(3))
    assert group._group._comm.aborted
    with pytest.raises(CollectiveError, match="a peer is gone"):
        group.iallreduce(cuda.zeros(3))


def test_closing_destroys_nccls_communicator_once():
    group = make("nccl")
    group.close()
    assert group._group._comm.destroyed
    group.close()
