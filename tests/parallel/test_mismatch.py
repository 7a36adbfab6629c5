"""Ranks that call different collectives are told so, all of them, with their lines; none hangs."""

from __future__ import annotations

import time

import pytest
from launched import mpirun

PROLOGUE = """
import sys, time
import numpy as np
from hpcad.parallel import init
world = init()
group = world.communicator
group.barrier()
last = world.rank == world.size - 1
a = np.ones(10)
w = group.allocate(80_000).view(np.float64)
"""
# What the last rank does; what the others do; words of each that the error must hold.
CASES = {
    "operation": ("group.barrier()", "group.allreduce(a)", "barrier", "allreduce sum"),
    "reduction": ("group.allreduce(a, 'max')", "group.allreduce(a)", "max of 10", "sum of 10"),
    "count": ("group.allreduce(a[:9])", "group.allreduce(a)", "of 9 x", "of 10 x"),
    "dtype": ("group.allreduce(a.astype('f4'))", "group.allreduce(a)", "float32", "float64"),
    "root": ("group.broadcast(a, 1)", "group.broadcast(a)", "from 1", "from 0"),
    "name": ("group.allreduce(a, name='b')", "group.allreduce(a, name='c')", "'b'", "'c'"),
    "order": (
        "group.broadcast(a); group.allreduce(a)",
        "group.allreduce(a); group.broadcast(a)",
        "broadcast from 0",
        "allreduce sum",
    ),
    "request": (
        "group.iallreduce(a[:9]).wait()",
        "group.iallreduce(a).wait()",
        "of 9 x",
        "of 10 x",
    ),
    "request and call": ("group.iallreduce(a).wait()", "group.barrier()", "iallreduce", "barrier"),
    "request before others": (
        "[r.wait() for r in (group.iallreduce(a[:9]), group.iallreduce(a))]",
        "group.iallreduce(a).wait()",
        "of 9 x",
        "of 10 x",
    ),
    "gradients": ("group.allreduce(w[:9000])", "group.allreduce(w)", "of 9000 x", "of 10000 x"),
    "leaves early": ("pass", "group.allreduce(a)", "end of the program", "allreduce"),
    "exits early": ("sys.exit(3)", "group.allreduce(a)", "end of the program", "allreduce"),
}


@pytest.mark.parametrize("kind", ["node", "mpi"], ids=["in shared memory", "by messages"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ranks", [3])
def test_mismatch_names_ranks_calls_and_lines(case, kind, ranks):
    odd, usual, said_by_odd, said_by_usual = CASES[case]
    program = f"{PROLOGUE}if last:\n    {odd}\nelse:\n    {usual}\ngroup.barrier()\n"
    if "early" in case:
        program = program.replace("\ngroup.barrier()\n", "\n")
        program = program.replace("group.allreduce(a)", "[group.allreduce(a) for _ in range(9)]")
    line = program.count("\n", 0, program.index("if last:")) + 1
    started = time.monotonic()
    done = mpirun(ranks, ["-c", program], timeout=30, env={"HPCAD_COMMUNICATOR": kind})
    assert time.monotonic() - started < 20
    assert done.returncode != 0
    for rank in range(ranks):
        told = "".join(x for x in done.stderr.splitlines(True) if x.startswith(f"[rank {rank} "))
        assert "CollectiveError" in told, done.stderr
        assert f"rank {ranks - 1} (on" in told
        assert said_by_odd in told
        assert said_by_usual in told
        if "early" not in case:
            assert f"<string>:{line + 1}" in told
            assert f"<string>:{line + 3}" in told


NODES = """
from mpi4py import MPI
from hpcad.parallel.node.node import NodeCommunicator
group = NodeCommunicator(MPI.COMM_WORLD.Dup(), local=MPI.COMM_WORLD.Split(world.rank // 2))
last = world.rank == {odd}
w = group.allocate(80_000).view(np.float64)
"""


@pytest.mark.parametrize(("ranks", "odd"), [(3, 1), (3, 2), (4, 0), (4, 3)])
@pytest.mark.parametrize("case", ["operation", "count", "request", "gradients"])
def test_ranks_of_all_nodes_are_told(case, ranks, odd):
    odd_call, usual, said_by_odd, said_by_usual = CASES[case]
    program = f"{PROLOGUE}{NODES.format(odd=odd)}if last:\n    {odd_call}\nelse:\n    {usual}\n"
    done = mpirun(ranks, ["-c", program], timeout=30, env={"HPCAD_COMMUNICATOR": "mpi"})
    assert done.returncode != 0
    for rank in range(ranks):
        told = "".join(x for x in done.stderr.splitlines(True) if x.startswith(f"[rank {rank} "))
        assert "CollectiveError" in told, done.stderr
        assert f"rank {odd} (on" in told
        assert said_by_odd in told
        assert said_by_usual in told


PLACES = {
    "an array from elsewhere": ("np.ones(10_000)", "allreduce sum of 10000 x float64 at"),
    "another place": ("w2[1000:]", "byte 8000"),
}


@pytest.mark.parametrize("case", PLACES)
def test_ranks_that_pass_other_places_in_shared_memory_are_told_so(case):
    given, said = PLACES[case]
    program = f"""{PROLOGUE}
w2 = group.allocate(88_000).view(np.float64)
group.allreduce({given} if last else w2[:10_000])
"""
    done = mpirun(3, ["-c", program], timeout=30, env={"HPCAD_COMMUNICATOR": "node"})
    assert done.returncode == 12, done.stderr
    assert said in done.stderr
    assert "sum in shared memory (block 1, byte 0) of 10000 x float64" in done.stderr


NEVER = """
if last:
    time.sleep(600)
group.allreduce(a, name="loss")
"""


@pytest.mark.parametrize("kind", ["node", "mpi"], ids=["in shared memory", "by messages"])
def test_a_rank_that_never_comes_is_named_with_its_line(kind):
    env = {"HPCAD_TIMEOUT": "1", "HPCAD_COMMUNICATOR": kind}
    started = time.monotonic()
    done = mpirun(3, ["-c", PROLOGUE + NEVER], timeout=40, env=env)
    assert time.monotonic() - started < 20
    assert done.returncode != 0
    line = PROLOGUE.count("\n") + 3
    assert "allreduce sum of 10 x float64 'loss'" in done.stderr
    assert "rank 2 on" in done.stderr
    assert f"is at <string>:{line}" in done.stderr
    assert "2 of 3 ranks wait there" in done.stderr
    assert "HPCAD_TIMEOUT is 1 seconds" in done.stderr


def test_wrong_limit_is_refused():
    done = mpirun(2, ["-c", PROLOGUE], env={"HPCAD_TIMEOUT": "soon"})
    assert done.returncode == 2
    assert "HPCAD_TIMEOUT='soon'" in done.stderr


def test_checks_can_be_left_out():
    program = PROLOGUE + "group.allreduce(a)\nassert (a == world.size).all()\n"
    done = mpirun(2, ["-c", program], env={"HPCAD_CHECK": "0"})
    assert done.returncode == 0, done.stderr
