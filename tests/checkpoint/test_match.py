"""A checkpoint of another model is refused in words that say how it differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpcad.checkpoint import require_match
from hpcad.errors import CheckpointError

WHERE = Path("runs/x/step-00000007.h5")


def expected_of(arrays):
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def message_of(arrays, expected) -> str:
    with pytest.raises(CheckpointError) as caught:
        require_match(arrays, expected, WHERE)
    return str(caught.value)


def test_the_same_model_passes(arrays):
    require_match(arrays, expected_of(arrays), WHERE)


def test_another_shape(arrays):
    expected = expected_of(arrays)
    expected["parameters/fc1.weight"] = ((16, 32), np.float32)
    assert message_of(arrays, expected) == (
        "checkpoint runs/x/step-00000007.h5 holds another model: parameter 'fc1.weight' has shape "
        "(16, 24) in the checkpoint and (16, 32) in the model; start afresh with another "
        "directory, or use the job file it was made with"
    )


def test_shape_missing_and_unexpected_together(arrays):
    expected = expected_of(arrays)
    expected["parameters/fc1.weight"] = ((16, 32), "f4")
    expected["parameters/fc2.weight"] = ((1,), "f4")
    del expected["optimizer/count"]
    text = message_of(arrays, expected)
    assert "has shape (16, 24) in the checkpoint and (16, 32)" in text
    assert "also missing: parameter 'fc2.weight'" in text
    assert "unexpected: array 'optimizer/count'" in text


def test_another_dtype(arrays):
    expected = expected_of(arrays)
    expected["parameters/fc1.bias"] = ((24,), np.float64)
    assert "'fc1.bias' has dtype float32 in the checkpoint and float64" in message_of(
        arrays, expected
    )


def test_long_lists_are_cut(arrays):
    expected = expected_of(arrays) | {f"parameters/l{i}": ((1,), "f4") for i in range(9)}
    assert "missing: parameter 'l0', parameter 'l1', parameter 'l2' and 6 more" in message_of(
        arrays, expected
    )


def test_several_shapes_are_counted(arrays):
    expected = {name: ((99,), array.dtype) for name, array in arrays.items()}
    assert "(and 3 more)" in message_of(arrays, expected)
