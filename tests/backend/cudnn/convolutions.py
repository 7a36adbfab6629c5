"""Convolutions on a device as cuDNN is given them, and the same in NumPy."""

from __future__ import annotations

import numpy as np

from hpcad.backend.cudnn import ConvolutionProblem, bind_convolution, plan_convolution
from hpcad.backend.half import named
from hpcad.primitives.convolution import conv, conv_input, conv_weight

WAYS = ("forward", "input", "weight")
SLIDES = {
    "plain": {"kernel": (3, 3)},
    "padded": {"kernel": (3, 3), "padding": (1, 1)},
    "strided": {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1)},
    "uneven": {"kernel": (3, 2), "stride": (2, 1), "padding": (0, 2)},
    "with gaps": {"kernel": (2, 2), "stride": (3, 3)},
    "point": {"kernel": (1, 1)},
    "wide padding": {"kernel": (2, 2), "padding": (3, 2)},
    "whole": {"kernel": (7, 8)},
}


def problem(way="forward", dtype="float32", images=(3, 7, 8, 4), filters=6, **more):
    return ConvolutionProblem(way, dtype, images, filters, **{"kernel": (3, 3), **more})


class Case:
    """Arrays of a convolution on a device; what is found begins as NaN."""

    def __init__(self, xp, problem):
        self.xp, self.problem = xp, problem
        random = np.random.default_rng(5)
        self.arrays = {}
        for name in problem.given:
            numbers = random.standard_normal(problem.shape(name))
            self.arrays[name] = xp.asarray(numbers.astype(named(problem.dtype)))
        self._answers = {}

    def plan(self):
        return plan_convolution(self.xp, self.problem)

    def bound(self):
        """The call; None where there is no plan."""
        plan = self.plan()
        if plan is None:
            return None
        found = self.problem.found
        self.arrays[found] = self.xp.empty(
            self.problem.shape(found), named(plan.problem.type_of(found))
        )
        return bind_convolution(plan, {n: a.data.ptr for n, a in self.arrays.items()})

    def found(self):
        return self.xp.asnumpy(self.arrays[self.problem.found]).astype(np.float64)

    def expected(self):
        """By hpcad's primitives, in float64, of the same numbers."""
        p = self.problem
        given = {n: self.xp.asnumpy(self.arrays[n]).astype(np.float64) for n in p.given}
        slide = {"stride": p.stride, "padding": p.padding}
        if p.way == "weight":
            dw = conv_weight(given["x"], given["g"], kernel=p.kernel, **slide)
            return dw.transpose(3, 0, 1, 2)
        w = given["w"].transpose(1, 2, 3, 0)
        if p.way == "input":
            return conv_input(given["g"], w, size=p.images[1:3], **slide)
        y = conv(given["x"], w, given["bias"].ravel() if p.bias else None, **slide)
        return np.maximum(y, 0) if p.relu else y

    def check(self, tolerance):
        expected = self.expected()
        atol = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(self.found(), expected, rtol=tolerance, atol=atol)
