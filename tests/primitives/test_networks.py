"""What records of the networks' primitives keep alive, and that they can do without the rest."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import check_grads
from hpcad.autodiff.tape import Tape
from hpcad.primitives.normalization import layer_norm
from hpcad.primitives.pooling import max_pool2d
from hpcad.primitives.softmax import cross_entropy

CASES = {
    "layer_norm": lambda x: layer_norm(x, np.ones(4), np.zeros(4)),
    "cross_entropy": lambda x: cross_entropy(x, np.array([1, 3, 0])),
    "max_pool": lambda x: max_pool2d(x.reshape(1, 3, 4, 1)),
}
X = np.random.default_rng(0).permutation(12).reshape(3, 4) * 0.3


@pytest.mark.parametrize("name", CASES)
def test_residuals_take_the_place_of_the_argument(name):
    """Logits and activations are large: what is kept of them is what the rule reads."""
    with Tape() as tape:
        CASES[name](tape.input(X))
    (record,) = [r for r in tape.records if r[0].name == name]
    _, _, _, _, args, saved, _ = record
    assert args[0] is None
    assert saved is not None


@pytest.mark.parametrize("name", CASES)
def test_nested_transforms_have_the_argument_instead(name):
    """There the residuals are found again by primitives, so that they are followed, too."""
    with Tape() as outer:
        x = outer.input(X)
        with Tape() as inner:
            CASES[name](inner.input(x))
    (record,) = [r for r in inner.records if r[0].name == name]
    assert record[4][0] is not None
    assert record[5] is None
    check_grads(CASES[name], (X,), order=3)
