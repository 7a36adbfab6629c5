"""Programs of devices compute cross-entropy by its routines, whoever asks for its gradient."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.backend import get_backend
from hpcad.backend.half import named
from hpcad.primitives.softmax import cross_entropy
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

RNG = np.random.default_rng(4)
LOGITS, LABELS = RNG.standard_normal((6, 9)).astype(np.float32), RNG.integers(0, 9, 6)
WEIGHTS = RNG.standard_normal(6).astype(np.float32)


def of_mean(x, labels, _weights):
    return hnp.mean(cross_entropy(x * 2, labels))


def of_weighted(x, labels, weights):
    return hnp.sum(cross_entropy(x * 2, labels) * weights)


def run(function, device, dtype="float32"):
    """The gradient, and the kinds of the steps that concern the loss."""
    backend = get_backend(device)
    arrays = [backend.asarray(a) for a in (LOGITS.astype(named(dtype)), LABELS, WEIGHTS)]
    compiled = Compiled(hpcad.grad(function), Options(ahead=True, strict=True))
    found = backend.to_host(compiled(*arrays))
    kinds = {s.kind for s in compiled.program.steps if "streamed_loss" in s.name}
    return found.astype(np.float32), kinds


@pytest.mark.parametrize("function", [of_mean, of_weighted])
def test_gradients_are_those_of_the_host(function):
    found, kinds = run(function, "strict")
    np.testing.assert_allclose(found, run(function, "cpu")[0], rtol=1e-4, atol=1e-6)
    assert kinds == {"routine"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_logits_in_half_precision_are_read_as_they_are(dtype):
    found, kinds = run(of_mean, "strict", dtype)
    expected = run(of_mean, "cpu")[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-2 * np.abs(expected).max())
    assert kinds == {"routine"}


def test_second_derivatives_are_those_of_the_host():
    def twice(x, labels, weights):
        return hnp.sum(hpcad.grad(of_weighted)(x, labels, weights) ** 2)

    found, _ = run(twice, "strict")
    np.testing.assert_allclose(found, run(twice, "cpu")[0], rtol=1e-4, atol=1e-5)
