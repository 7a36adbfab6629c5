"""Algorithms are chosen by a clock on one rank, used by all, and kept."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.binding import CublasLtError
from hpcad.backend.cublaslt.context import Context
from hpcad.backend.cublaslt.enums import numpy_type
from hpcad.backend.cublaslt.plan import Plan
from hpcad.backend.cublaslt.tuning import fastest, record_for, tune
from hpcad.errors import DeviceError

from .arrays import HALF, host


@pytest.fixture
def device(xp, monkeypatch):
    """A context of this test's own."""
    from hpcad.backend.cublaslt import context

    monkeypatch.setattr(context, "_contexts", {})
    monkeypatch.setattr(context, "WORKSPACE", {True: 1 << 16, False: 1 << 16})
    return context.context_of(xp)


def bound(xp, rows=8, dtype="float32", **more):
    kind = numpy_type(dtype)
    a, b = (xp.asarray(np.ones(s, np.float32).astype(kind)) for s in ((rows, 16), (16, 8)))
    return bind_product(xp, a, b, xp.zeros((rows, 8), kind), **more)


def number(algorithm):
    """Which one of the stand-in's it is."""
    return int.from_bytes(algorithm.data[8:16], "little")


class Clock:
    """Says how long each algorithm takes, and how often it was asked."""

    def __init__(self, plan, seconds):
        self.seconds, self.asked, self.runs = seconds, [], 0
        functions = plan.context.library.functions
        enqueue = functions["cublasLtMatmul"]

        def spy(*arguments):
            self.asked.append(int.from_bytes(bytes(arguments[12])[8:16], "little"))
            return enqueue(*arguments)

        functions["cublasLtMatmul"] = spy

    def __call__(self, run):
        run()
        self.runs += 1
        return self.seconds[self.asked[-1]]


def test_the_fastest_is_taken(xp, device):
    call = bound(xp)
    clock = Clock(call.plan, {2: 3e-6, 3: 2e-6, 4: 1e-6})
    found = tune([call, call, None, bind_empty(xp)], clock)
    assert number(call.plan.algorithm) == 4
    assert found == {call.plan.problem.key: 1e-6}
    assert set(clock.asked) == {2, 3, 4}


def bind_empty(xp):
    return bind_product(xp, *(xp.empty(s, np.float32) for s in ((0, 4), (4, 3), (0, 3))))


def test_the_first_stays_unless_another_is_clearly_faster(xp, device):
    call = bound(xp)
    tune([call], Clock(call.plan, {2: 100e-6, 3: 99e-6, 4: 98.5e-6}))
    assert number(call.plan.algorithm) == 2


def test_products_that_are_bound_later_use_the_choice(xp, device):
    call = bound(xp)
    tune([call], Clock(call.plan, {2: 3e-6, 3: 1e-6, 4: 2e-6}))
    assert bound(xp).plan is call.plan
    device.plans.clear()
    later = bound(xp)
    assert later.plan is not call.plan
    assert number(later.plan.algorithm) == 3


def test_measuring_leaves_the_operands_alone(xp, device):
    call = bound(xp, beta=1.0)
    call()
    before = [host(xp, x).copy() for x in call._kept[1:4]]
    tune([call], Clock(call.plan, {2: 1e-6, 3: 1e-6, 4: 1e-6}))
    for x, y in zip(before, call._kept[1:4], strict=True):
        assert (x == host(xp, y)).all()


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("epilogue", ["", "gelu_aux_bias", "dgelu_bgrad", "bgrad_a"])
def test_any_problem_can_be_measured(xp, device, dtype, epilogue):
    kind = numpy_type(dtype)
    long = {"bgrad_a": 24}.get(epilogue, 8)
    beside = {"bias": xp.empty(long, kind)} if epilogue else {}
    if "gelu" in epilogue:
        beside["aux"] = xp.empty((24, 8), kind)
    call = bound(xp, 24, dtype, epilogue=epilogue, **beside)
    _, took = fastest(call.plan, Clock(call.plan, {2: 2e-6, 3: 3e-6, 4: 4e-6}))
    assert took == 2e-6


def test_an_algorithm_that_does_not_run_is_left_out(xp, device):
    call = bound(xp)
    clock = Clock(call.plan, {2: 1e-6, 3: 2e-6, 4: 3e-6})

    def failing(run):
        took = clock(run)
        if clock.asked[-1] == 2:
            raise CublasLtError("cublasLtMatmul", 15, device.library)
        return took

    algorithm, took = fastest(call.plan, failing)
    assert (number(algorithm), took) == (3, 2e-6)

    def broken(run):
        raise CublasLtError("cublasLtMatmul", 13, device.library)

    with pytest.raises(DeviceError, match="none of the algorithms"):
        fastest(call.plan, broken)


def test_choices_are_kept_and_used_without_measuring(xp, device, tmp_path):
    call, path = bound(xp), tmp_path / "run" / "algorithms.json"
    clock = Clock(call.plan, {2: 3e-6, 3: 1e-6, 4: 2e-6})
    tune([call], clock, record=record_for(device, path))
    content = json.loads(path.read_text())
    assert list(content["choices"]) == [call.plan.problem.key]
    call.plan.use(call.plan.candidates[0])
    asked = clock.runs
    assert tune([call], clock, record=record_for(device, path)) == {}
    assert (clock.runs, number(call.plan.algorithm)) == (asked, 3)


@pytest.mark.parametrize("damage", ["no JSON", "another device", "no algorithm", "no hexadecimal"])
def test_a_record_that_does_not_hold_is_measured_anew(xp, device, tmp_path, damage):
    call, path = bound(xp), tmp_path / "algorithms.json"
    clock = Clock(call.plan, {2: 3e-6, 3: 1e-6, 4: 2e-6})
    tune([call], clock, record=record_for(device, path))
    text = path.read_text()
    label = json.loads(text)["choices"][call.plan.problem.key][0]
    path.write_text({
        "no JSON": text[:-9],
        "another device": text.replace(device.device, "a card that is gone"),
        "no algorithm": text.replace(label, "00" * 64),
        "no hexadecimal": text.replace(label, "split"),
    }[damage])  # fmt: skip
    assert tune([call], clock, record=record_for(device, path)) != {}
    assert json.loads(path.read_text())["choices"][call.plan.problem.key][0] == label


def test_all_ranks_use_what_the_first_measured(xp, device):
    """Two ranks with contexts of their own; the second would have chosen otherwise."""
    call = bound(xp)
    clock = Clock(call.plan, {2: 3e-6, 3: 1e-6, 4: 2e-6})
    other = Context(xp, 0)
    theirs = Plan(other, call.plan.problem)
    other.plans[theirs.problem] = theirs
    sent: list[bytes] = []
    ready = threading.Event()

    def share(data):
        if data is not None:
            sent.append(data)
            ready.set()
        assert ready.wait(10)
        return sent[0]

    def refuse(run):
        raise AssertionError("only the first rank measures")

    tune([call], clock, share=share)
    following = type(call)(theirs, _one(call), (256, 256, 256, 0, 0), (1.0, 0.0))
    tune([following], refuse, lead=False, share=share)
    assert number(theirs.algorithm) == 3
    assert theirs.algorithm == call.plan.algorithm


def _one(call):
    from hpcad.backend.cublaslt.layout import Arrangement, Offsets

    return Arrangement(call.plan.problem, True, (Offsets(),))


@pytest.mark.parametrize(
    "message", [b"", b"[]", b'{"format": 2}', b'{"format": 1, "algorithms": {"x": "y"}}']
)
def test_a_message_that_cannot_be_read_is_an_error(xp, device, message):
    with pytest.raises(DeviceError, match="cannot be read"):
        tune([bound(xp)], lead=False, share=lambda data: message)


def test_an_algorithm_that_does_not_fit_here_leaves_the_first(xp, device, caplog):
    call = bound(xp)
    content = {"format": 1, "algorithms": {call.plan.problem.key: "00" * 64}}
    tune([call], lead=False, share=lambda data: json.dumps(content).encode())
    assert number(call.plan.algorithm) == 2
    assert "does not fit" in caplog.text


def test_where_no_time_passes_the_first_stays(xp, device):
    call = bound(xp)
    found = tune([call])
    assert list(found) == [call.plan.problem.key]
    assert number(call.plan.algorithm) == 2


def test_samples_of_the_clock_of_events_are_long_enough():
    """A device whose work takes 10 us: 1 run, 1 sample of it, then 200 of them in 2 ms."""
    from hpcad.backend.cublaslt.tuning import event_clock

    runs, marks = [], []

    class Event:
        def record(self):
            self.at = 1e-2 * len(runs)  # milliseconds

        def synchronize(self):
            marks.append(len(runs))

    class Xp:
        class cuda:  # noqa: N801
            pass

    Xp.cuda.Event = Event
    Xp.cuda.get_elapsed_time = staticmethod(lambda one, other: other.at - one.at)
    clock = event_clock(Xp, aim=2e-3, most=1000)
    assert clock(lambda: runs.append(1)) == pytest.approx(1e-5)
    assert marks in ([2, 201], [2, 202])
