"""Recomputation of loops: few states in memory, the others run again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.recomputation.chain import Chain, Deeper
from hpcad.autodiff.recomputation.places import Disk, Offline, Online, Plan
from hpcad.autodiff.recomputation.remat import recording_tapes
from hpcad.autodiff.recomputation.sealed import tensors_of
from hpcad.autodiff.recomputation.stretch import can_shorten
from hpcad.autodiff.tape import Tape
from hpcad.errors import DifferentiationError

State = Any
Step = Callable[[State], State]


def remat_sequence(
    steps: Sequence[Step] | tuple[Step, int],
    slots: int,
    *,
    disk_slots: int = 0,
    directory: str | os.PathLike[str] | None = None,
    disk_cost: float | tuple[float, float] = 1.0,
) -> Callable[[State], State]:
    """Chain steps so that the backward pass keeps few states and runs steps again.

    The schedule is Revolve's (Griewank and Walther, 2000): with ``slots`` states, no other one
    runs the steps fewer times. 100 steps with 8 states take 345 runs for a gradient, against 100
    that keep everything.

    Parameters
    ----------
    steps : sequence of callables, or (callable, int)
        Each a function from state to state, a pytree of arrays; or one function, and how often
        it is run. They may use parameters and tensors from outside, and must do the same when
        they are run again.
    slots : int
        How many states may be kept in memory at a time, the initial one included. To these
        come the records of the one step that is being differentiated.
    disk_slots : int
        How many more states may be kept in files. The schedule is then the one that takes the
        least time.
    directory : path, optional
        Where to make the temporary directory for these; in the system's when left out. It is
        removed when the derivative was taken or given up, also after an error.
    disk_cost : float or (float, float)
        Time to write and to read a state, in runs of a step.

    Returns
    -------
    callable
        ``run(state)`` returns the last state.

    Raises
    ------
    DifferentiationError
        A count is out of range; or, in the backward pass, a step did not do the same again.
    CheckpointError
        A file could not be written, or is gone or damaged.

    Notes
    -----
    As with :func:`remat`, outer tapes of nested transforms keep all they record, and forward mode
    just runs the steps.
    """
    step_of, count = _steps(steps)
    _check("slots", slots, 1)
    _check("disk_slots", disk_slots, 0)
    write, read = disk_cost if isinstance(disk_cost, tuple) else (disk_cost, disk_cost)
    if not (write >= 0 and read >= 0):
        raise DifferentiationError(f"disk_cost must not be negative, but is {disk_cost}")

    def plan() -> Plan:
        if disk_slots:
            return Disk(count, slots, disk_slots, write, read)
        return Offline(count, slots)

    def run(state: State) -> State:
        return _run(
            "remat_sequence", step_of, lambda number, _: number < count, plan, state, directory
        )

    return run


def remat_while(
    condition: Callable[[State], Any], step: Step, slots: int
) -> Callable[[State], State]:
    """Repeat a step while a condition holds, keeping few states for the backward pass.

    Nobody knows the number of steps beforehand, so the states to keep are chosen while the loop
    runs. The backward pass is optimal for these states. The total number of runs exceeds that of
    :func:`remat_sequence`, which knows the number, by at most a fifth (2 slots), a ninth (3) or a
    twelfth (4 and more), and by 1 or 2 % on average, for all loops of up to 2000 steps.

    Parameters
    ----------
    condition : callable
        ``condition(state)``: whether to go on. It is not differentiated.
    step : callable
        From state to state, a pytree of arrays.
    slots : int
        How many states may be kept at a time, the initial one included.

    Returns
    -------
    callable
        ``run(state)`` returns the first state for which the condition does not hold.
    """
    _check("slots", slots, 1)

    def run(state: State) -> State:
        return _run(
            "remat_while",
            lambda _: step,
            lambda _, current: bool(condition(current)),
            lambda: Online(slots),
            state,
        )

    return run


def _run(
    name: str,
    step_of: Callable[[int], Step],
    more: Callable[[int, State], bool],
    plan: Callable[[], Plan],
    state: State,
    directory: str | os.PathLike[str] | None = None,
) -> State:
    tapes = recording_tapes()
    least = _following(state, tapes)
    while least is not None and can_shorten(least):
        chain = Chain(name, step_of, plan(), directory)
        try:
            return chain.forward(state, more, tapes, least)
        except Deeper as deeper:  # a closure led to it: once more, on that tape
            least = deeper.tape
    number = 0
    while more(number, state):
        state = step_of(number)(state)
        number += 1
    return state


def _following(state: State, tapes: list[Tape]) -> Tape | None:
    """Of the tapes that follow the state, the innermost; else the outermost of all."""
    following = [tape for tape in tapes if tensors_of(state, tape)]
    return following[-1] if following else tapes[0] if tapes else None


def _steps(steps: Any) -> tuple[Callable[[int], Step], int]:
    if isinstance(steps, tuple) and len(steps) == 2 and isinstance(steps[1], int | np.integer):
        step, count = steps
        _check("the number of steps", count, 0)
        return lambda _: step, int(count)
    if not isinstance(steps, Iterable):
        raise DifferentiationError(
            f"steps is a {type(steps).__name__}; pass a sequence of functions, or (function, "
            "number of steps)"
        )
    functions = list(steps)
    for number, function in enumerate(functions):
        if not callable(function):
            raise DifferentiationError(
                f"step {number} is a {type(function).__name__}, not a function; pass a sequence of "
                "functions, or (function, number of steps)"
            )
    return functions.__getitem__, len(functions)


def _check(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise DifferentiationError(
            f"{name} must be a whole number, at least {least}, not {value!r}"
        )
