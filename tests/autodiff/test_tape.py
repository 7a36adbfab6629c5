"""The tape: freeing, pruning, accumulation, thread-local state, what it keeps."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import PRIMITIVES, Parameter, Tape, Tensor, grad, no_grad, vjp
from hpcad.autodiff.reverse import Pull
from hpcad.autodiff.state import STATE
from hpcad.errors import DifferentiationError, ShapeError


def test_gradients_accumulate_until_cleared():
    p = Parameter(np.array([1.0, 2.0]))
    for _ in range(2):
        (p * p).sum().backward()
    np.testing.assert_array_equal(p.grad, [4.0, 8.0])
    p.clear_grad()
    (p * 3.0).sum().backward()
    np.testing.assert_array_equal(p.grad, [3.0, 3.0])


def test_a_parameter_used_twice_gets_the_sum():
    p = Parameter(np.array(2.0))
    (p * p + p).backward()
    assert p.grad == 5.0


def test_broadcasting_is_undone():
    p = Parameter(np.ones((3, 1)))
    x = np.arange(8.0).reshape(2, 1, 4)
    (p * x).sum().backward()
    np.testing.assert_array_equal(p.grad, np.full((3, 1), 28.0))


def test_promotion_is_undone():
    p = Parameter(np.ones(3, np.float32))
    (p * np.ones(3, np.float64)).sum().backward()
    assert p.grad.dtype == np.float32


def test_backward_frees_the_records():
    p = Parameter(np.ones(4))
    y = p
    middle = []
    for _ in range(5):
        y = hnp.sin(y)
        middle.append(weakref.ref(y.value))
    loss = y.sum()
    tape = loss.follower
    assert len(tape.records) == 6
    del y
    loss.backward()
    assert tape.records == []
    assert all(value() is None for value in middle)


def test_records_are_freed_as_they_are_used():
    """Half-way through backward, half of the memory is gone."""
    p = Parameter(np.ones(1000))
    y, values = p, []
    for _ in range(10):
        y = hnp.exp(y * 1e-3)
        values.append(weakref.ref(y.value))
    alive = []

    class Watch:
        def seed_scale(self):
            return 1.0

        def look(self):
            pass

        def ready(self, _parameter):
            alive.append(sum(v() is not None for v in values))

        def finish(self):
            pass

    q = Parameter(np.ones(1000))
    q.sink = Watch()
    z = hnp.exp(y * q)
    late = [weakref.ref(z.value)]
    loss = z.sum()
    del y, z
    loss.backward()
    assert alive == [10]  # q is ready after the first records; those before it are untouched
    assert all(v() is None for v in values + late)


def test_a_tensor_that_dies_takes_its_record_along():
    p = Parameter(np.ones(3))
    y = hnp.exp(p)
    tape = weakref.ref(y.follower)
    del y
    gc.collect()
    assert tape() is None


def test_evaluating_without_backward_does_not_grow_the_tape():
    p = Parameter(np.ones(3))
    longest = 0
    for _ in range(2000):
        y = p
        for _ in range(10):
            y = hnp.sin(y)
        longest = max(longest, len(y.follower.records))
    assert longest < 1000
    y.sum().backward()
    assert np.isfinite(p.grad).all()


def test_pruning_keeps_what_is_still_needed():
    p = Parameter(np.array(0.5))
    kept = hnp.sin(p) * 2.0
    for _ in range(500):
        for _ in range(5):
            y = hnp.exp(p * 0.1)
    (kept + y).backward()
    np.testing.assert_allclose(p.grad, 2 * np.cos(0.5) + 0.1 * np.exp(0.05), rtol=1e-14)


def test_unneeded_arguments_are_not_kept():
    p = Parameter(np.ones(3))
    big = np.ones(3)
    y = p + big
    assert all(kept is None for kept in y.follower.records[-1][4])
    y = p * big
    assert y.follower.records[-1][4][1] is big
    assert y.follower.records[-1][4][0] is None


def test_second_backward_says_what_to_do():
    p = Parameter(np.ones(()))
    y = p * 2.0
    y.backward()
    with pytest.raises(DifferentiationError, match="run the forward pass again"):
        y.backward()


def test_using_a_freed_tensor_says_what_to_do():
    p = Parameter(np.ones(()))
    y = p * 2.0
    y.backward()
    with pytest.raises(DifferentiationError, match=r"call \.detach\(\)"):
        (y * p).backward()
    (y.detach() * p).backward()
    assert p.grad == 4.0


def test_backward_of_a_constant_is_an_error():
    with pytest.raises(DifferentiationError, match="depends on no parameter"):
        hpcad.tensor([1.0]).backward()
    p = Parameter(np.ones(3))
    with no_grad():
        y = (p * 2).sum()
    with pytest.raises(DifferentiationError, match="no_grad"):
        y.backward()


def test_backward_needs_a_scalar_or_a_seed():
    p = Parameter(np.ones(3))
    with pytest.raises(DifferentiationError, match="needs a scalar"):
        (p * 2).backward()
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        (p * 2).backward(np.ones(2))


def test_a_frozen_parameter_is_a_constant():
    p, q = Parameter(np.ones(())), Parameter(np.full((), 3.0))
    q.freeze()
    (p * q).backward()
    assert p.grad == 3.0
    assert q.grad is None


def test_state_is_restored_after_an_error():
    def fails(x):
        raise RuntimeError("user code")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="user code"):
            grad(lambda x: grad(fails)(x))(1.0)
    assert STATE.depth == 0
    with pytest.raises(RuntimeError, match="user code"), no_grad():
        fails(0)
    assert STATE.recording


def test_a_leaked_tensor_is_refused():
    leaked = []

    def f(x):
        leaked.append(x * 2.0)
        return x

    grad(f)(1.0)
    with pytest.raises(DifferentiationError, match="left the transform"):
        grad(lambda x: x * leaked[0])(1.0)


def test_threads_do_not_meet():
    def f(x):
        for _ in range(50):
            x = hnp.sin(x) + 0.1
        return x

    expected = grad(grad(f))(0.3)
    wrong = []

    def work():
        wrong.extend(1 for _ in range(20) if grad(grad(f))(0.3) != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_shape_errors_name_primitive_and_shapes():
    p = Parameter(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"add\(float64\[2, 3\], float64\[4\]\)"):
        p + np.ones(4)


def test_a_tape_is_a_readable_list():
    tape = Tape(1)
    x = tape.input(np.array(2.0))
    y = hnp.log(x) * x
    assert isinstance(y, Tensor)
    assert [record[0].name for record in tape.records] == ["log", "multiply"]
    assert [record[2] for record in tape.records] == [[0], [1, 0]]
    assert Pull(tape, {y.slot: np.array(1.0)}).retain()[x.slot] == np.log(2.0) + 1.0


def test_pullback_can_be_used_again():
    _, pullback = vjp(lambda x, y: x * y, np.array(2.0), np.array(3.0))
    assert pullback(np.array(1.0)) == (3.0, 2.0)
    assert pullback(np.array(2.0)) == (6.0, 4.0)


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("multiply", (2.0,)),
        ("multiply", (np.arange(3.0),)),
        ("add", (np.ones((2, 1)),)),
        ("divide", (np.float32(3),)),
        ("power", (2,)),
        ("maximum", (0.5,)),
        ("tanh", ()),
        ("sin", ()),
    ],
)
def test_the_short_way_of_recording_equals_the_general_one(name, constants):
    """Tape.process_leading beside Tape.process."""
    primitive, x = PRIMITIVES[name], np.array([0.2, 0.5, 0.7])
    tapes, answers = [], []
    for way in ("process_leading", "process"):
        with Tape() as tape:
            start = tape.input(x)
            if way == "process":
                answers.append(tape.process(primitive, (start, *constants), {}))
            else:
                answers.append(tape.process_leading(primitive, start, constants))
        tapes.append(tape)
    short, general = tapes
    assert short.avals == general.avals
    assert [len(g) for g in short.guards.values()] == [len(g) for g in general.guards.values()]
    np.testing.assert_array_equal(answers[0].value, answers[1].value)
    assert answers[0].slot == answers[1].slot
    assert answers[0].level == answers[1].level == 1
    for a, b in zip(short.records[0], general.records[0], strict=True):
        if isinstance(a, list | np.ndarray):
            assert len(a) == len(b)
            assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
        else:
            assert a == b


def test_shape_errors_of_the_short_way_name_primitive_and_shapes():
    with pytest.raises(ShapeError, match=r"multiply\(float64\[3\], float64\[2\]\)"):
        grad(lambda x: (x * np.ones(2)).sum())(np.ones(3))
