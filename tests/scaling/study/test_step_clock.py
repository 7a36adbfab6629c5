"""The clock of the steps: what was under way, what was counted, what is left out."""

from __future__ import annotations

import types

import numpy as np
import pytest

from hpcad.backend import get_backend
from hpcad.backend.flops import count_gemm
from hpcad.parallel import init
from hpcad.parallel.record import listeners
from hpcad.scaling.study.facts import oversubscribed
from hpcad.scaling.study.pinning import share, whole_cores_first
from hpcad.scaling.study.step_clock import StepClock, covered
from hpcad.scaling.study.surroundings import variables
from hpcad.scaling.study.worker import steps_with_ends
from hpcad.training.phases import PhaseTimer


@pytest.fixture
def clock(plain_environment):
    with StepClock(init(), get_backend("cpu"), full=8, flops_at=1) as found:
        yield found
    assert found._note not in listeners


def step(clock, phases, size=8, products=1, began=0.0, ended=0.0):
    clock.before_step(phases)
    with phases("forward"):
        for _ in range(products):
            count_gemm(1, 1, 1)
        record = types.SimpleNamespace(
            operation="iallreduce", name="gradients of w", started=began, finished=ended
        )
        for listen in listeners:
            listen(record)
            listen(types.SimpleNamespace(**{**vars(record), "name": "loss", "finished": 99.0}))
    clock.after_step(phases, types.SimpleNamespace(global_size=size), 2.0)


def test_each_step_has_its_own_numbers(clock):
    phases = PhaseTimer()
    for number in range(3):
        step(clock, phases, products=number + 1, began=1.0, ended=1.5 + number)
    assert clock.communication == [0.5, 1.5, 2.5]
    assert clock.flops == 4  # two products in the step that is counted
    assert clock.losses.tolist() == [2.0] * 3
    found = clock.phases()
    assert list(found) == ["forward"]
    assert (found["forward"] > 0).all()
    assert (found["forward"] <= np.array(clock.seconds)).all()


def test_smaller_batches_are_left_out(clock):
    phases = PhaseTimer()
    for size in (8, 3, 8):
        step(clock, phases, size=size)
    assert len(clock.seconds) == len(clock.communication) == 2
    assert clock.left_out == 1
    assert clock.flops == 2  # of one step: the smaller one was counted, and forgotten


def test_what_overlaps_is_counted_once():
    assert covered([]) == 0.0
    assert covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.0, 1.5)]) == 4.0


@pytest.mark.parametrize(
    ("steps", "samples", "batch", "wanted"),
    [(4, 8, 4, 4), (2, 10, 4, 2), (3, 10, 4, 4), (4, 10, 4, 5), (5, 10, 4, 7), (3, 4, 4, 3)],
)
def test_ends_of_epochs_are_made_up_for(steps, samples, batch, wanted):
    assert steps_with_ends(steps, samples, batch) == wanted
    full = 0
    for taken in range(wanted):
        at = taken % -(-samples // batch)
        full += (at + 1) * batch <= samples
    assert full == steps


def test_ranks_get_cores_of_their_own():
    assert [share([3, 5, 7, 9], rank, 2, 2) for rank in range(2)] == [[3, 5], [7, 9]]
    assert share([3, 5], 0, 3, 1) is None
    assert share([3, 5], 0, 2, 2) is None


def test_whole_cores_come_before_their_second_threads():
    assert whole_cores_first([0, 1, 2, 3], [[0, 2], [1, 3]]) == [0, 1, 2, 3]
    assert whole_cores_first([0, 1, 2, 3], [[0, 1], [2, 3]]) == [0, 2, 1, 3]
    assert whole_cores_first([1, 2], []) == [1, 2]


def test_more_threads_than_cores_are_oversubscribed():
    def ranks(*cores):
        return [{"host": host, "cores": list(own)} for host, own in cores]

    assert not oversubscribed(ranks(("a", [0]), ("a", [1])), 1)
    assert oversubscribed(ranks(("a", [0]), ("a", [1])), 2)
    assert oversubscribed(ranks(*[("a", [0, 1])] * 4), 1)
    assert not oversubscribed(ranks(("a", [0]), ("b", [0])), 1)
    assert oversubscribed(ranks(("a", [0]), ("b", [0]), ("b", [0])), 1)


def test_variables_are_those_of_launch_and_messages():
    given = {"OMP_NUM_THREADS": "1", "FI_PROVIDER": "tcp", "HOME": "/root", "SLURM_JWT": "x"}
    assert variables(given) == {"FI_PROVIDER": "tcp", "OMP_NUM_THREADS": "1"}
