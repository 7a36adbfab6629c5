"""Memory: records are freed as backward uses them, and recomputation keeps what it says it does."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, Primitive, grad, remat, remat_sequence, remat_while, vjp
from hpcad.autodiff.state import STATE

SIZE = 40_000  # elements; what is not an array is small beside one of them
BYTES = 8 * SIZE


@contextmanager
def traced():
    """Yields a function: bytes allocated since, in arrays of ``SIZE`` elements."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: (tracemalloc.get_traced_memory()[0] - before) / BYTES
    finally:
        tracemalloc.stop()


def peak(run) -> float:
    """Most bytes allocated at a time, in arrays of ``SIZE`` elements."""
    run(np.ones(2))  # what is cached is not counted
    x = np.ones(SIZE)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run(x)
        return (tracemalloc.get_traced_memory()[1] - before) / BYTES
    finally:
        tracemalloc.stop()


def probe(watch):
    """The identity; its rule calls ``watch``."""

    def rule(g, _ans, _x):
        watch()
        return g

    return Primitive("probe", lambda x: x + 0.0, None, [rule], register=False)


# -- freed as they are used -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["grad", "backward", "pullback"])
def test_bytes_alive_fall_in_proportion_during_backward(mode):
    """At 0, 1/4, 1/2, 3/4 and the end of the walk over 60 operations."""
    alive = []
    with traced() as bytes_alive:
        watch = probe(lambda: alive.append(bytes_alive()))

        def chain(x):
            for k in range(60):
                x = hnp.sin(watch(x) if k % 15 == 0 else x)
            return watch(x).sum()

        if mode == "grad":
            grad(chain)(np.ones(SIZE))
        elif mode == "backward":
            chain(Parameter(np.ones(SIZE))).backward()
        else:
            vjp(chain, np.ones(SIZE))[1](1.0, retain=False)
    shares = np.array(alive) / alive[0]
    np.testing.assert_allclose(shares, [1.0, 0.75, 0.5, 0.25, 0.0], atol=0.06)
    assert 58 <= alive[0] <= 64


def test_inputs_that_no_rule_needs_are_not_kept():
    """Each case keeps none of its input, its answer, or both."""
    x = np.ones(SIZE)
    for operation, arrays in (
        (lambda y: y + 1.0, 0),
        (lambda y: -y, 0),
        (lambda y: 2.0 * y, 0),
        (lambda y: y.reshape(2, -1).T, 0),
        (lambda y: hnp.exp(y * 1.0), 1),
        (lambda y: hnp.tanh(y * 1.0), 1),
        (lambda y: hnp.sin(y * 1.0), 1),
        (lambda y: y * y, 1),
    ):
        with traced() as bytes_alive:
            value, pullback = vjp(lambda y: operation(y * 1.0).sum(), x)  # noqa: B023
            assert bytes_alive() == pytest.approx(arrays, abs=0.05)
            assert value.shape == ()
            pullback(1.0)


# -- after an error -----------------------------------------------------------------------------


class StopError(Exception):
    pass


def stop():
    raise StopError


def identity(function):
    return function


@pytest.mark.parametrize("when", ["forward", "backward"])
@pytest.mark.parametrize(
    "wrap",
    [identity, remat, lambda f: remat_sequence((f, 3), 2),
     lambda f: remat_sequence((f, 3), 1, disk_slots=1)],
    ids=["plain", "remat", "sequence", "disk"],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["grad", "backward"])
def test_an_error_in_the_middle_frees_everything(mode, wrap, when):
    values = []
    fails = probe(stop) if when == "backward" else (lambda x: stop())

    def step(x):
        x = hnp.exp(x * 0.1)
        values.append(weakref.ref(x.value))
        return x

    def function(x):
        x = wrap(step)(wrap(step)(x))
        return wrap(step)(wrap(step)(fails(x))).sum()

    gc.disable()
    try:
        p = Parameter(np.ones(100))
        failed = False
        try:
            if mode == "grad":
                grad(function)(np.ones(100))
            else:
                function(p).backward()
        except StopError:
            failed = True
        assert failed
        assert len(values) >= 2
        assert [value for value in values if value() is not None] == []
    finally:
        gc.enable()
    assert (STATE.depth, STATE.traces, STATE.recording) == (0, [], True)
    assert STATE.ambient() is None


# -- recomputation ------------------------------------------------------------------------------


def step(x):
    return hnp.square(hnp.sqrt(hnp.sqrt(x) * 1.1))


CASES = [(5, 1), (15, 1), (10, 3), (20, 4), (50, 5), (100, 8)]
ONE_STEP = 5.0  # its input, its values and temporary ones, and cotangents


@pytest.mark.parametrize(("steps", "slots"), CASES)
@pytest.mark.parametrize("disk_slots", [0, 4])
def test_a_sequence_takes_its_slots_and_one_step(steps, slots, disk_slots):
    """Whatever the number of steps, and however many states go to disk."""
    run = remat_sequence((step, steps), slots, disk_slots=disk_slots)
    taken = peak(lambda x: grad(lambda x: run(x).sum())(x))
    assert taken == pytest.approx(slots + ONE_STEP, abs=0.6)


@pytest.mark.parametrize(("steps", "slots"), CASES)
def test_a_loop_of_unknown_length_takes_no_more(steps, slots):

    def loop(x):
        return remat_while(lambda s: s[1] < steps, lambda s: (step(s[0]), s[1] + 1), slots)((x, 0))

    taken = peak(lambda x: grad(lambda x: loop(x)[0].sum())(x))
    assert taken == pytest.approx(slots + ONE_STEP, abs=0.6)


def test_the_records_of_one_step_are_what_comes_to_the_slots():
    """A step of ten times as many operations, on the same slots."""

    def long(x):
        for _ in range(10):
            x = step(x)
        return x

    def taken(run):
        return peak(lambda x: grad(lambda x: run(x).sum())(x))

    alone = taken(long)
    assert alone > 20
    for slots in (2, 5):
        sequence = taken(remat_sequence((long, 12), slots))
        assert slots + alone - 2 <= sequence <= slots + alone + 2


def test_remat_keeps_results_only():
    x = np.ones(SIZE)

    def many(x, wrap):
        for _ in range(10):
            x = wrap(lambda x: step(step(step(x))))(x)
        return x

    for wrap, least, most in ((identity, 55, 130), (remat, 9, 11)):
        with traced() as bytes_alive:
            value, pullback = vjp(lambda x: many(x, wrap).sum(), x)  # noqa: B023
            assert least <= bytes_alive() <= most
            pullback(1.0)
        assert value.shape == ()
