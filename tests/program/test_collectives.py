"""Collectives are run once per call and in order, whoever needs what they answer."""

from __future__ import annotations

import numpy as np

import hpcad
import hpcad.numpy as hnp
from hpcad import parallel
from hpcad.parallel.serial import SerialCommunicator


class Counting(SerialCommunicator):
    """Counts the reductions."""

    def __init__(self):
        super().__init__()
        self.names = []

    def allreduce(self, array, op="sum", name="allreduce"):
        self.names.append(name)
        return super().allreduce(array, op, name)


def test_collectives_are_neither_dropped_nor_merged():
    group = Counting()

    def f(x):
        parallel.mean(x, group)  # nobody needs it
        first = parallel.mean(x * 2, group)
        second = parallel.mean(x * 2, group)
        return first + second

    x = np.arange(6.0)
    eager = f(x)
    per_call = list(group.names)
    compiled = hpcad.compile(f, strict=True)
    for _ in range(4):
        group.names.clear()
        np.testing.assert_allclose(float(compiled(x)), float(eager))
        assert group.names == per_call
    assert compiled.program is not None


def test_the_count_of_a_mean_is_asked_for_anew():
    class Growing(Counting):
        """Other ranks hold more samples from call to call."""

        others = 0

        def allreduce(self, array, op="sum", name="allreduce"):
            super().allreduce(array, op, name)
            if name == "count of mean":
                array += self.others

    group = Growing()
    compiled = hpcad.compile(lambda x: parallel.mean(hnp.exp(x), group), strict=True)
    x = np.zeros(4)
    for others in (0, 0, 4, 12):
        group.others = others
        np.testing.assert_allclose(float(compiled(x)), 4 / (4 + others))
