"""Random programs: steps over a pool of arrays, drawn by hypothesis or by a generator.

A step is kept if NumPy can take it and, mostly, if its result is finite and not huge. Every value
knows whether kernels compute it to the bit (``exact``): steps that jump (``floor``, comparisons,
sorting) take only such values, because a last bit that differs would decide.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

import hpcad
import hpcad.parallel
import hpcad.primitives
from hpcad.autodiff import PRIMITIVES
from hpcad.autodiff.pytree import flatten

from .random_shapes import KINDS, REJECTED

HUGE = 1e4

_spec = importlib.util.spec_from_file_location(
    "samples_of", Path(__file__).parents[1] / "primitives" / "samples_of.py"
)
_samples = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("samples_of", _samples)
_spec.loader.exec_module(_samples)
SAMPLES = _samples.gather()
# Their results have other shapes for other values; or the sign of vectors is arbitrary.
UNFIT = {
    "nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values", "intersect1d",
    "setdiff1d", "setxor1d", "union1d", "bincount", "eig", "eigvals", "recurrence",
}  # fmt: skip
TABLE = sorted(name for name in PRIMITIVES if SAMPLES.get(name) and name not in UNFIT)


class Chance:
    """Choices by a generator of random numbers."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def integer(self, low, high):
        return self.random.randint(low, high)


class Drawn:
    """The same, by hypothesis."""

    def __init__(self, draw):
        self.draw = draw

    def integer(self, low, high):
        return self.draw(st.integers(low, high))


class Choices:
    """What the steps choose with."""

    def __init__(self, source):
        self.integer = source.integer

    def pick(self, options):
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent):
        return self.integer(0, 99) < percent

    def numbers(self, shape, dtype):
        rng = np.random.default_rng(self.integer(0, 2**16))
        if np.dtype(dtype).kind in "biu":
            return rng.integers(0, 2 if dtype == "bool" else 5, shape).astype(dtype)
        x = rng.uniform(-2, 2, shape)
        if np.dtype(dtype).kind == "c":
            x = x + 1j * rng.uniform(-2, 2, shape)
        return np.asarray(x, dtype)


@dataclass
class Program:
    """Inputs, and steps that add to the pool.

    Attributes
    ----------
    inputs : list of array
    steps : list of (name, function, indices)
    pool : list of array
        What each step has made, evaluated eagerly.
    exact : list of bool
    jumps : bool
        Whether some step took only exact values; then derivatives have nothing to say of it.
    """

    inputs: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    pool: list = field(default_factory=list)
    exact: list = field(default_factory=list)

    def run(self, inputs):
        """All values, from the inputs on."""
        values = list(inputs)
        for _, function, indices in self.steps:
            made = function(*(values[i] for i in indices))
            values += made if isinstance(made, (tuple, list)) else [made]
        return values

    def outputs(self, inputs):
        """The last values, and what nothing else reads."""
        values = self.run(inputs)
        read = {i for _, _, indices in self.steps for i in indices}
        last = range(max(0, len(values) - 3), len(values))
        return [v for i, v in enumerate(values) if i not in read or i in last]

    def loss(self, inputs):
        """A smooth number that depends on every floating output."""
        total = 0.0
        for i, value in enumerate(self.outputs(inputs)):
            if value.dtype.kind in "fc" and value.size:
                part = value.real if value.dtype.kind == "c" else value
                total = total + (part * (0.5 + 0.25 * (i % 3))).mean()
        return total

    def smooth(self):
        """Which inputs are real numbers."""
        return [i for i, x in enumerate(self.inputs) if x.dtype.kind == "f" and x.size]

    def with_inputs(self, places, arrays):
        full = list(self.inputs)
        for i, array in zip(places, arrays, strict=True):
            full[i] = array
        return full

    def __repr__(self):
        lines = [f"{i}: {x.dtype}{list(x.shape)}" for i, x in enumerate(self.inputs)]
        lines += [f"{name}{tuple(indices)}" for name, _, indices in self.steps]
        return "\n".join(lines)


def build(choices, steps, differentiable=False, discontinuous=True):
    """Draw a program of so many steps."""
    program = Program()
    for _ in range(choices.integer(2, 4)):
        _add_input(program, choices, differentiable)
    tries = 0
    while len(program.steps) < steps and tries < 20 * steps:
        tries += 1
        if choices.chance(15):
            _add_sample(program, choices, differentiable)
            continue
        kind = choices.pick(KINDS)
        if (kind.discrete and not discontinuous) or (differentiable and not kind.smooth):
            continue
        drawn = kind.draw(choices, program.pool, program.exact if discontinuous else None)
        if drawn is not None:
            _try(program, kind.exact, *drawn)
    return program


def _add_input(program, choices, differentiable, array=None):
    if array is None:
        sides = [choices.pick((1, 2, 3, 4, 7, 17)) for _ in range(choices.pick((0, 1, 2, 2, 3)))]
        if choices.chance(4):
            sides.append(0)
        dtypes = ("float64", "float64", "float32") if differentiable else (
            "float64", "float64", "float32", "int64", "int32", "bool", "complex128"
        )  # fmt: skip
        array = choices.numbers(tuple(sides), choices.pick(dtypes))
    if program.steps:  # inputs come first: what was numbered moves on
        at = len(program.inputs)
        moved = [(n, f, [i + (i >= at) for i in indices]) for n, f, indices in program.steps]
        program.steps = moved
        program.pool.insert(at, array)
        program.exact.insert(at, True)
    else:
        program.pool.append(array)
        program.exact.append(True)
    program.inputs.append(array)
    return len(program.inputs) - 1


def _add_sample(program, choices, differentiable):
    """A primitive of the table, of its own sample arguments, which become inputs."""
    name = choices.pick(TABLE)
    primitive = PRIMITIVES[name]
    if differentiable and not (primitive.differentiable and not primitive.constant):
        return
    if differentiable and name in ("gammainc", "gammaincc"):
        return
    args, params = choices.pick(SAMPLES[name])
    places = [i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind != "O"]
    if not places:
        return
    inputs = [_add_input(program, choices, differentiable, args[i]) for i in places]

    def step(*arrays):
        full = list(args)
        for i, array in zip(places, arrays, strict=True):
            full[i] = array
        return tuple(flatten(primitive(*full, **params))[0])

    _try(program, False, name, step, inputs)


def _try(program, exact, name, function, indices):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            made = function(*(program.pool[i] for i in indices))
        except (*REJECTED, hpcad.errors.HpcadError):
            return
    made = list(made) if isinstance(made, (tuple, list)) else [made]
    if not made or not all(map(_usable, made)):
        return
    program.steps.append((name, function, list(indices)))
    program.pool += made
    program.exact += [exact and all(program.exact[i] for i in indices)] * len(made)


def _usable(x):
    x = np.asarray(hpcad.autodiff.value_of(x))
    if x.size > 5000 or x.dtype.kind not in "biufc":
        return False
    return x.dtype.kind in "biu" or not x.size or bool(np.abs(x).max() < HUGE)  # not NaN, either
