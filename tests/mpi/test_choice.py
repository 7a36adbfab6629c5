"""The communicator that a job gets, and what is said about it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hpcad.errors import ConfigError
from hpcad.parallel import init

pytestmark = pytest.mark.mpi

WORLD = init()


def make(wish=None, local_sizes=None):
    from mpi4py import MPI

    from hpcad.parallel.choice import make_communicator

    environ = {} if wish is None else {"HPCAD_COMMUNICATOR": wish}
    return make_communicator(MPI.COMM_WORLD.Dup(), local_sizes or WORLD.size, environ)


def check(communicator):
    """It reduces, and all ranks mean the same one."""
    kinds = WORLD.communicator.gather_json(communicator.kind)
    assert kinds == [communicator.kind] * WORLD.size
    for count in (3, 100_000):
        array = communicator.allocate(4 * count).view(np.float32)
        array[...] = WORLD.rank
        communicator.allreduce(array)
        assert (array == WORLD.size * (WORLD.size - 1) // 2).all()


@pytest.mark.parametrize("wish", ["mpi", "node", "naive"])
def test_a_wish_is_granted(wish):
    communicator, reason = make(wish)
    assert communicator.kind == wish
    assert "HPCAD_COMMUNICATOR" in reason
    check(communicator)


def test_an_unknown_wish_is_told():
    with pytest.raises(ConfigError, match="'nccl' is not understood"):
        make("nccl")


def test_one_rank_on_every_node_sends_messages():
    communicator, reason = make(local_sizes=1)
    assert communicator.kind == "mpi"
    assert "one rank" in reason


@pytest.mark.mpi(min_size=2)
def test_ranks_of_a_node_measure_and_say_the_same():
    started = time.perf_counter()
    communicator, reason = make("auto")
    seconds = time.perf_counter() - started
    assert WORLD.communicator.gather_json(reason) == [reason] * WORLD.size
    assert communicator.kind in ("mpi", "node")
    assert reason.startswith("a sum of 4 MB took ")
    assert communicator._door._next() == 0  # what was measured with does not count
    assert getattr(communicator, "_windows", []) == []
    check(communicator)
    if WORLD.size == 2:  # more ranks than cores wait for each other
        assert seconds < 1.0  # less than 0.1 where nothing else runs


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(("long", "kind"), [(1e-4, "mpi"), (6e-4, "node"), (1e-3, "node")])
def test_messages_must_be_clearly_faster(monkeypatch, long, kind):
    from hpcad.parallel import choice

    def seconds(communicator, array):
        return long if communicator.kind == "mpi" else 1e-3

    monkeypatch.setattr(choice, "_seconds", seconds)
    communicator, reason = make()
    assert communicator.kind == kind
    assert f"1.00 ms at best in shared memory, typically {1e3 * long:.2f} ms by messages" in reason
    check(communicator)


@pytest.mark.mpi(min_size=2)
def test_messages_are_not_chosen_for_one_lucky_try(monkeypatch):
    """On a machine that is busy with something else."""
    from hpcad.parallel import choice

    tries = iter([1e-2, 1e-2, 1e-2, 1e-4, 1e-2, 1e-2, 1e-2, 1e-2] * 10)
    monkeypatch.setattr(choice, "_seconds", lambda communicator, array: next(tries))
    assert make()[0].kind == "node"


@pytest.mark.mpi(min_size=2)
def test_messages_where_shared_memory_is_short(monkeypatch):
    from hpcad.parallel import choice

    monkeypatch.setattr(choice, "has_room", lambda *_: False)
    communicator, reason = make()
    assert communicator.kind == "mpi"
    assert "too little shared memory" in reason
    check(communicator)


def test_the_world_says_which_one_it_has():
    line = WORLD.communicator_line()
    assert WORLD.communicator.kind in line
    assert WORLD.choice in line
    assert WORLD.communicator.gather_json(line) == [line] * WORLD.size
