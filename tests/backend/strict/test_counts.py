"""What is counted as a synchronisation, a copy, an allocation or a launch."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from hpcad.backend import strict as xp
from hpcad.backend.strict import StrictDeviceError


def counted(work):
    before = xp.COUNTS.copy()
    work()
    return {name: n for name, n in vars(xp.COUNTS - before).items() if n}


def test_work_on_the_device_waits_for_nothing():
    x = xp.ones((8, 8))
    assert counted(lambda: x + x) == {"launches": 1, "allocations": 1}
    assert counted(lambda: x.__iadd__(1)) == {"launches": 1}
    with xp.forbid_synchronisation() as found:
        y = np.tanh(x @ x).sum(axis=0)
        y[2] = 4
    assert found.launches == 4
    assert found.allocations == 3


READS = {
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "if": lambda x: 1 if x[0] > 0 else 0,
    "item": lambda x: x[0].item(),
    "get": lambda x: x.get(),
    "asnumpy": xp.asnumpy,
    "print": str,
    "tolist": lambda x: x.tolist(),
    "mask": lambda x: x[x > 0],
    "nonzero": np.nonzero,
    "unique": np.unique,
    "set": lambda x: x.set(np.ones(4)),
    "synchronize": lambda _: xp.cuda.get_current_stream().synchronize(),
    "device": lambda _: xp.cuda.Device().synchronize(),
    "event": lambda _: xp.cuda.get_current_stream().record().synchronize(),
}


@pytest.mark.parametrize("read", READS)
def test_reading_a_value_is_a_synchronisation(read):
    x = xp.ones(4) + 0
    assert counted(lambda: READS[read](x))["synchronisations"] == 1
    x += 1  # so that there is something to wait for
    with (
        pytest.raises(StrictDeviceError, match="forbid_synchronisation"),
        xp.forbid_synchronisation(),
    ):
        READS[read](x)


def test_other_threads_may_wait_where_one_may_not():
    x = xp.ones(4)
    found = []
    with xp.forbid_synchronisation():
        thread = threading.Thread(target=lambda: found.append(float(x[0])))
        thread.start()
        thread.join()
    assert found == [1.0]


def test_copies_are_counted_with_their_bytes():
    host = np.ones(10, np.float32)
    assert counted(lambda: xp.asarray(host)) == {
        "host_to_device": 1, "bytes_to_device": 40, "allocations": 1,
    }  # fmt: skip
    x = xp.asarray(host)
    assert counted(x.get) == {"synchronisations": 1, "device_to_host": 1, "bytes_to_host": 40}


def test_an_event_with_work_behind_it_leaves_the_device_busy():
    x = xp.ones(4)
    event = xp.cuda.get_current_stream().record()
    x += 1
    with xp.forbid_synchronisation():
        assert counted(event.synchronize) == {"event_waits": 1}
    assert counted(event.synchronize) == {}  # the host knows


def test_an_event_is_done_when_it_is_asked_again():
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        x = xp.ones(4)
    event = stream.record()
    assert not event.done
    assert event.done
    assert xp.cuda.Event().done  # never recorded
    assert x.shape == (4,)


def test_a_stream_is_done_when_it_is_asked_again():
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        x = xp.ones(4)
        assert not stream.done
        assert stream.done
        x += 1
        assert not stream.done
    stream.synchronize()
    assert stream.done
