"""What becomes a graph, what ends one, and what is found in it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.autodiff.state import effect
from hpcad.backend import get_backend, strict
from hpcad.backend.strict.errors import StrictDeviceError
from hpcad.errors import ShapeError
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

BACKEND = get_backend("strict")
RANDOM = np.random.default_rng(3)


def array(*shape):
    return BACKEND.asarray(RANDOM.standard_normal(shape).astype(np.float32))


class Linear:
    """A classifier of one layer, its optimizer, and effects between its passes."""

    def __init__(self, between=None):
        self.layer = nn.Linear(6, 4)
        self.layer.initialize(1, np.float32, BACKEND)
        self.optimizer = optim.SGD(self.layer, 0.1)
        self.between = between
        self.run = Compiled(self.step, Options(ahead=True, strict=True))

    def step(self, x, y):
        loss = nn.cross_entropy(self.layer(x), y)
        loss.backward()
        if self.between is not None:
            effect(self.between.look)
        self.optimizer.step()
        return loss.detach()


class Effects:
    """Effects of one kind, counted."""

    def __init__(self, kind):
        self.count = itertools.count()  # a number that changes would be another program's
        if kind is not None:
            self.effect_kind = kind

    def look(self):
        next(self.count)


def labels(*numbers):
    return BACKEND.asarray(np.array(numbers))


@pytest.mark.parametrize(("kind", "graphs"), [(None, 2), ("boundary", 2), ("host", 1)])
def test_effects_are_had_once_a_run_and_end_a_graph_unless_they_keep_books(kind, graphs):
    between = Effects(kind)
    model = Linear(between)
    for _ in range(4):
        model.run(array(3, 6), labels(0, 1, 2))
    assert next(between.count) == 4
    assert model.run.program._call.graphs == graphs


def test_another_shape_is_another_program():
    model = Linear()
    for count in (3, 3, 5, 5, 3):
        model.run(array(count, 6), labels(*range(3), *[0] * (count - 3)))
    assert len(model.run._entries) == 2


def test_a_label_that_is_no_class_is_told_of():
    model = Linear()
    for _ in range(3):
        model.run(array(3, 6), labels(0, 1, 3))
    model.run(array(3, 6), labels(0, 1, 4))
    with pytest.raises(ShapeError, match=r"a label does not fit 4 classes.*test_segments.py"):
        model.run.program.target.faults.check(wait=True)
    with pytest.raises(ShapeError, match="a label does not fit 4 classes"):
        model.run(array(3, 6), labels(0, 1, 2))


def test_an_index_that_is_no_row_is_told_of():
    table = nn.Embedding(5, 3)
    table.initialize(1, np.float32, BACKEND)
    optimizer = optim.SGD(table, 0.1)

    def step(index):
        loss = (table(index) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = Compiled(step, Options(ahead=True, strict=True))
    for _ in range(3):
        run(labels(0, 4, 4))
    run(labels(0, 5, 4))
    with pytest.raises(ShapeError, match="an index means no row of the table"):
        run.program.target.faults.check(wait=True)


def test_reading_a_number_in_a_graph_is_refused():
    class Reads:
        effect_kind = "staged"  # says that its work can be captured, which is not true

        def look(self):
            """What an eager call would do."""

        def staged(self):
            return lambda: None, lambda: float(model.layer.weight.gradient[0, 0])

    model = Linear(Reads())
    model.run(array(3, 6), labels(0, 1, 2))  # step by step: nothing is captured yet
    with pytest.raises(StrictDeviceError, match="captur"):
        model.run(array(3, 6), labels(0, 1, 2))


def test_memory_that_is_freed_under_a_graph_is_found():
    class Forgets:
        effect_kind = "staged"

        def look(self):
            """What an eager call would do."""

        def staged(self):
            self.memory = BACKEND.zeros((4,), np.float32)

            def enqueue():
                self.memory[...] = 1.0

            return lambda: None, enqueue

    forgetful = Forgets()
    model = Linear(forgetful)
    for _ in range(3):
        model.run(array(3, 6), labels(0, 1, 2))
    forgetful.memory = None
    with pytest.raises(StrictDeviceError, match="free"):
        model.run(array(3, 6), labels(0, 1, 2))


def test_a_function_without_parameters_runs_on_the_device_of_its_arguments():
    @hpcad.compile(strict=True)
    def function(x, y):
        return (x @ y).sum(axis=0) * 2.0

    for _ in range(4):
        x, y = array(3, 4), array(4, 5)
        found = function(x, y)
        expected = (BACKEND.to_host(x) @ BACKEND.to_host(y)).sum(axis=0) * 2.0
        np.testing.assert_allclose(BACKEND.to_host(found), expected, rtol=1e-5)
    assert type(found) is strict.ndarray
    assert function.program._call.graphs == 1
