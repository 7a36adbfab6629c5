"""Random programs taken forward, backward, forward over reverse, and as training steps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

import hpcad
from hpcad import Parameter, nn, optim
from hpcad.autodiff import value_of
from hpcad.autodiff.pytree import flatten
from hpcad.errors import CaptureError, HpcadError
from hpcad.program.capture.expand import EXPANSIONS

from .random_programs import build

WAYS = ("forward", "gradient", "cotangents", "forward over reverse", "training")
ULPS = 512  # of the largest number, or of 1, whichever is more
# Composite operations are expanded; and NumPy's ``**`` has ways of its own for some exponents.
OTHERWISE = {*EXPANSIONS, "log_softmax", "power"}


class Model(nn.Module):
    def __init__(self, arrays):
        self.weights = [Parameter(array) for array in arrays]


@dataclass
class Case:
    """A program and what is done with it."""

    program: object
    way: str

    def make(self):
        """A function of the inputs, and one that returns what it has changed."""
        program, places = self.program, self.program.smooth()

        def outputs(*arrays):
            return tuple(program.outputs(program.with_inputs(places, arrays)))

        def loss(*arrays):
            return program.loss(program.with_inputs(places, arrays))

        everything = tuple(range(len(places)))
        if self.way == "forward":
            return program.outputs, list
        if self.way == "gradient":
            taken = hpcad.value_and_grad(loss, argnums=everything)
            return lambda inputs: taken(*(inputs[i] for i in places)), list
        if self.way == "cotangents":
            return lambda inputs: _pulled(outputs, [inputs[i] for i in places]), list
        if self.way == "forward over reverse":
            slope = hpcad.grad(loss, argnums=everything)
            return lambda inputs: _pushed(slope, [inputs[i] for i in places]), list
        return self._training(places, loss)

    def _training(self, places, loss):
        """Two losses whose gradients are added, and an update."""
        model = Model([self.program.inputs[i] for i in places])
        kind = optim.Adam if len(self.program.steps) % 2 else optim.SGD
        optimizer = kind(model, 1e-3)

        def step(inputs):
            first = loss(*model.weights)
            first.backward()
            second = loss(*(w * 0.5 for w in model.weights))
            second.backward()
            optimizer.step()
            return first, second, inputs

        return step, lambda: [(w.numpy().copy(), w.grad.copy()) for w in model.weights]

    @property
    def bitwise(self):
        """Whether a program without fusion and C computes the same to the bit."""
        names = {name.partition("(")[0] for name, _, _ in self.program.steps}
        return self.way == "forward" and names.isdisjoint(OTHERWISE)

    @property
    def eps(self):
        single = any(x.dtype in (np.float32, np.complex64) for x in self.program.pool)
        return np.finfo(np.float32 if single else np.float64).eps


def _pulled(outputs, arrays):
    answer, pull = hpcad.vjp(outputs, *arrays)
    return answer, pull(tuple(np.ones(x.shape, x.dtype) for x in flatten(answer)[0]))


def _pushed(slope, arrays):
    return hpcad.jvp(slope, tuple(arrays), tuple(x * 0.5 for x in arrays))


def draw(choices, way, steps):
    """A case, or None where eager calls refuse it."""
    program = build(choices, steps, differentiable=way != "forward")
    case = Case(program, way)
    if way != "forward" and not program.smooth():
        return None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            function, _ = case.make()
            function(program.inputs)
    except (HpcadError, ValueError, TypeError, np.linalg.LinAlgError):
        return None
    return case


def hold(cases, exact=False, **options):
    """Compile all cases as one function, and hold each call of it against eager calls.

    Parameters
    ----------
    exact : bool
        Whether those that can be are equal to the bit.

    Returns
    -------
    list of str
        What is wrong with which.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return list(_differences(cases, exact, options))


def _differences(cases, exact, options):
    eager, moved, ours = ([case.make() for case in cases] for _ in range(3))
    functions = [function for function, _ in ours]

    def together(inputs):
        return [function(mine) for function, mine in zip(functions, inputs, strict=True)]

    compiled = hpcad.compile(together, strict=True, **options)
    for call in range(4):
        inputs = [c.program.inputs if call < 3 else perturbed(c.program.inputs, 1) for c in cases]
        found = compiled(inputs)
        for i, case in enumerate(cases):
            expected = flat((eager[i][0](inputs[i]), eager[i][1]()))
            sensitive = flat((moved[i][0](perturbed(inputs[i], call)), moved[i][1]()))
            got = flat((found[i], ours[i][1]()))
            for k, three in enumerate(zip(got, expected, sensitive, strict=True)):
                wrong = difference(*three, case.eps, exact and case.bitwise)
                if wrong:
                    yield f"call {call}, {case.way}, result {k}: {wrong}\n{case.program}"


def flat(tree):
    return [np.asarray(value_of(x)) for x in flatten(tree)[0]]


def perturbed(arrays, seed):
    """Inputs that differ in their last bits: how much results then differ is no mistake."""
    rng = np.random.default_rng(seed)
    found = []
    for x in arrays:
        noise = 4 * np.finfo(x.dtype).eps if x.dtype.kind in "fc" else 0
        change = x * (1 + noise * rng.uniform(-1, 1, x.shape)) if noise else x
        found.append(np.asarray(change, x.dtype))
    return found


def difference(a, b, sensitive, eps, exact):
    """What is wrong with ``a``, which should be ``b``."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype}{a.shape} instead of {b.dtype}{b.shape}"
    if exact or a.dtype.kind not in "fc":
        same = a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        return None if same else f"not the same to the bit, {a.dtype}{a.shape}"
    known = np.isfinite(b) & np.isfinite(sensitive)
    a, b, sensitive = a[known], b[known], sensitive[known]
    scale = max(1.0, np.abs(b).max(initial=0.0))
    allowed = ULPS * eps * scale + 300 * np.abs(sensitive - b).max(initial=0.0)
    largest = np.abs(a - b).max(initial=0.0)
    return None if largest <= allowed else f"differs by {largest:.3g}, not by {allowed:.3g}"


def fails(cases, **options):
    """The same, each case by itself where they fail together; values that are read are no failure.

    Returns
    -------
    list of str
    """
    try:
        return hold(cases, **options)
    except CaptureError as error:
        if len(cases) > 1:
            return [text for case in cases for text in fails([case], **options)]
        return [] if "were read" in str(error) else [f"{error}\n{cases[0].program}"]
