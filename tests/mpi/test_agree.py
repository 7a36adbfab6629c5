"""An error on one rank is raised on all, as the same kind of error."""

from __future__ import annotations

import socket

import pytest

from hpcad.errors import CheckpointError, DataError, HpcadError
from hpcad.parallel import init

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def communicator():
    return init().communicator


def test_nothing_happens_when_all_is_well(communicator):
    communicator.agree(None, "reading")


@pytest.mark.mpi(min_size=2)
def test_one_rank_fails(communicator):
    failing = communicator.size - 1
    mine = DataError("shard 3 is short") if communicator.rank == failing else None
    with pytest.raises(DataError) as caught:
        communicator.agree(mine)
    if mine is not None:
        assert caught.value is mine
    else:
        assert str(caught.value) == f"rank {failing} on {socket.gethostname()}: shard 3 is short"
    communicator.barrier()


@pytest.mark.mpi(min_size=2)
def test_any_other_exception_becomes_the_base_class(communicator):
    mine = KeyError("w") if communicator.rank == 0 else None
    expected = KeyError if mine else HpcadError
    with pytest.raises(expected, match="w") as caught:
        communicator.agree(mine)
    if mine is None:
        assert type(caught.value) is HpcadError
        assert "rank 0" in str(caught.value)
        assert "KeyError" in str(caught.value)


@pytest.mark.mpi(min_size=3)
def test_several_ranks_fail(communicator):
    mine = CheckpointError(f"disk {communicator.rank}") if communicator.rank else None
    with pytest.raises(CheckpointError) as caught:
        communicator.agree(mine)
    if mine is None:
        assert "rank 1" in str(caught.value)
        assert str(caught.value).endswith(f"(and {communicator.size - 2} more ranks)")
