"""An exception on one rank ends the whole job within seconds, with that rank's traceback."""

from __future__ import annotations

import socket
import sys
import time

import pytest
from launched import mpirun, run_bounded

from hpcad.errors import DataError
from hpcad.parallel import abort

PROLOGUE = """
import sys, threading, time
import numpy as np
from hpcad.errors import DataError
from hpcad.parallel import init
world = init()
communicator = world.communicator
communicator.barrier()
last = world.rank == world.size - 1
"""
IN_THE_STEP = """
if last:
    raise ValueError("a bad step")
communicator.allreduce(np.ones(10))
"""
IN_A_THREAD = """
if last:
    threading.Thread(target=lambda: 1 // 0, name="reader").start()
    time.sleep(60)
communicator.barrier()
"""
WITH_MPI_BUSY_IN_A_THREAD = """
other = type(communicator)(communicator.comm.Dup())
if last:
    threading.Thread(target=other.barrier, daemon=True).start()
    time.sleep(0.3)
    raise ValueError("a bad step")
communicator.barrier()
"""
KNOWN_ERROR = """
if last:
    raise DataError("shard 3 is short")
communicator.barrier()
"""
BY_HAND = """
if last:
    print("leaving")
    communicator.abort(9)
communicator.barrier()
"""
AT_A_REQUEST = """
request = communicator.iallreduce(np.ones(1_000_000)) if not last else None
if last:
    raise ValueError("a bad step")
request.wait()
"""


def run(program: str, ranks: int = 2):
    start = time.monotonic()
    done = mpirun(ranks, ["-c", PROLOGUE + program], timeout=30)
    assert time.monotonic() - start < 10
    assert done.returncode != 0
    return done


@pytest.mark.parametrize(
    ("program", "ranks", "error"),
    [
        (IN_THE_STEP, 2, "ValueError: a bad step"),
        (IN_THE_STEP, 4, "ValueError: a bad step"),
        (IN_A_THREAD, 2, "ZeroDivisionError"),
        (WITH_MPI_BUSY_IN_A_THREAD, 2, "ValueError: a bad step"),
        (AT_A_REQUEST, 2, "ValueError: a bad step"),
        (KNOWN_ERROR, 2, "hpcad.errors.DataError: shard 3 is short"),
    ],
    ids=["step", "step-4", "thread", "busy-thread", "request", "known"],
)
def test_exception_on_one_rank_ends_the_job(program, ranks, error):
    done = run(program, ranks)
    lead = f"[rank {ranks - 1} on {socket.gethostname()}] "
    text = [line for line in done.stderr.splitlines() if line.startswith(lead)]
    where = " in thread reader" if program is IN_A_THREAD else ""
    assert text, done.stderr
    assert text[0] == f"{lead}uncaught exception{where}; ending all {ranks} ranks"
    assert text[1] == f"{lead}Traceback (most recent call last):"
    assert text[-1].startswith(lead + error)
    assert "[rank 0 on" not in done.stderr


def test_abort_by_hand():
    done = run(BY_HAND)
    assert "leaving" in done.stdout


def test_one_process_keeps_pythons_own_way():
    program = "from hpcad.parallel import init; init(); raise ValueError('alone')"
    done = run_bounded([sys.executable, "-c", program], timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_exit_codes():
    assert abort.exit_code(ValueError()) == 1
    assert abort.exit_code(DataError()) == DataError.exit_code
    assert abort.exit_code(KeyboardInterrupt()) == 130


def test_report_leads_every_line_and_keeps_causes():
    try:
        try:
            raise KeyError("w")
        except KeyError as error:
            raise DataError("no field w") from error
    except DataError as error:
        text = abort.report(error, 3, 8)
    lines = text.splitlines()
    assert all(line.startswith(f"[rank 3 on {socket.gethostname()}] ") for line in lines)
    assert "KeyError: 'w'" in text
    assert lines[-1].endswith("hpcad.errors.DataError: no field w")
