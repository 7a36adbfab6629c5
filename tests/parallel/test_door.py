"""Every call is numbered, signed, located and timed, cheaply."""

from __future__ import annotations

import inspect
import timeit

import numpy as np
import pytest

from hpcad.parallel import SerialCommunicator, door


def last() -> door.Record:
    return door.records()[-1]


def test_record_says_what_was_called_and_where():
    communicator = SerialCommunicator("test")
    array = np.zeros(7, np.float32)
    line = inspect.currentframe().f_lineno + 1
    communicator.allreduce(array, "max", name="norm")
    record = last()
    assert record.signature == (0, "allreduce", "max", "<f4", 7, "norm")
    assert record.communicator == "test"
    assert (record.file, record.line) == (__file__, line)
    assert 0 < record.seconds < 1
    assert "allreduce 'norm' <f4[7]" in repr(record)


def test_sequence_counts_the_calls_of_one_communicator():
    first, second = SerialCommunicator(), SerialCommunicator()
    first.barrier()
    second.barrier()
    first.gather_json(1)
    assert [r.sequence for r in door.records()[-3:]] == [0, 0, 1]


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("barrier", lambda c: c.barrier()),
        ("broadcast", lambda c: c.broadcast(np.zeros(1))),
        ("allreduce", lambda c: c.allreduce(np.zeros(1))),
        ("iallreduce", lambda c: c.iallreduce(np.zeros(1))),
        ("broadcast_json", lambda c: c.broadcast_json(None)),
        ("gather_json", lambda c: c.gather_json(None)),
    ],
)
def test_every_collective_passes_the_door(operation, call):
    call(SerialCommunicator())
    assert last().operation == operation
    assert last().file == __file__


def test_a_call_under_way_has_no_time_yet():
    record = door.Door("test").enter("barrier", "", 0, "")
    assert record.seconds is None
    assert "under way" in repr(record)
    record.finish()
    assert record.seconds is not None


def test_only_the_last_records_are_kept():
    entrance = door.Door("test")
    for _ in range(door.CAPACITY + 5):
        entrance.enter("barrier", "", 0, "").finish()
    kept = door.records()
    assert len(kept) == door.CAPACITY
    assert kept[-1].sequence - kept[0].sequence == door.CAPACITY - 1


def test_debug_names_the_line_outside_the_package(monkeypatch):
    monkeypatch.setenv("HPCAD_DEBUG", "1")
    communicator = SerialCommunicator("debug")
    communicator.agree(None)
    communicator.barrier()
    assert last().file == __file__


def test_a_call_costs_little():
    communicator = SerialCommunicator()
    seconds = min(timeit.repeat(communicator.barrier, number=1000, repeat=20)) / 1000
    assert seconds < 10e-6  # about 1.5 us here; a walk over frames or a lock shows
