"""Some arrays of a checkpoint for another model: names by a mapping, dtypes by permission."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoint_layouts import write_directory

from hpcad.checkpoint.restoring.conversion import convert
from hpcad.checkpoint.restoring.partial import rename, restore_partial
from hpcad.errors import CheckpointError

W, B = "parameters/fc1.weight", "parameters/fc1.bias"


@pytest.fixture
def path(tmp_path, arrays):
    return write_directory(tmp_path / "checkpoints", 7, arrays, {"cursor": 448}, ranks=2)


def test_parameters_alone_by_default(path, arrays, same):
    found = restore_partial(path)
    same(found.arrays, {W: arrays[W], B: arrays[B]})
    assert (found.step, found.state) == (7, {"cursor": 448})


def test_the_newest_of_a_directory(path, arrays, same):
    write_directory(path.parent, 9, arrays | {B: arrays[B] + 1})
    found = restore_partial(path.parent, patterns=["*.bias"])
    same(found.arrays, {B: arrays[B] + 1})
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        restore_partial(path.parent.parent)


def test_renamed_and_converted_for_another_model(path, arrays, same):
    expected = {
        "parameters/body.weight": ((16, 24), np.float64),
        "parameters/body.offset": ((24,), np.float16),
    }
    renames = {"parameters/fc1.": "parameters/body.", B: "parameters/body.offset"}
    found = restore_partial(path, expected, renames=renames, allow_conversion=True)
    same(
        found.arrays,
        {
            "parameters/body.weight": arrays[W].astype(np.float64),
            "parameters/body.offset": arrays[B].astype(np.float16),
        },
    )


def test_conversion_needs_permission(path):
    expected = {W: ((16, 24), np.float64), B: ((24,), np.float32)}
    with pytest.raises(CheckpointError, match="dtype float32 in the checkpoint and float64 in the"):
        restore_partial(path, expected)


def test_missing_and_unexpected_arrays_are_errors(path):
    with pytest.raises(CheckpointError, match=r"missing: parameter 'fc2\.weight'"):
        restore_partial(
            path,
            {W: ((16, 24), "f4"), B: ((24,), "f4"), "parameters/fc2.weight": ((1,), "f4")},
            allow_conversion=True,
        )
    with pytest.raises(CheckpointError, match=r"unexpected: parameter 'fc1\.bias'"):
        restore_partial(path, {W: ((16, 24), "f4")}, allow_conversion=True)


def test_another_shape_is_an_error(path):
    with pytest.raises(CheckpointError, match=r"has shape \(16, 24\) in the checkpoint and \(24, "):
        restore_partial(path, {W: ((24, 16), "f4"), B: ((24,), "f4")})


def test_renaming(tmp_path):
    arrays = {name: np.zeros(0) for name in ("a/x", "a/y.z", "b", "bb")}
    new = {"a/": "c/", "a/y.": "d/", "b": "e"}
    assert list(rename(arrays, new, tmp_path)) == ["c/x", "d/z", "e", "bb"]
    # The longest entry counts, and a name that is no prefix stands for itself alone.
    with pytest.raises(CheckpointError, match=r"two arrays .* would have the name 'bb'"):
        rename(arrays, {"b": "bb"}, tmp_path)
    with pytest.raises(CheckpointError, match="holds no array 'absent/' that could be renamed"):
        rename(arrays, {"absent/": "x"}, tmp_path)


def test_two_arrays_may_exchange_their_names(tmp_path):
    found = rename({"a": np.zeros(1), "b": np.ones(1)}, {"a": "b", "b": "a"}, tmp_path)
    assert (found["a"][0], found["b"][0]) == (1, 0)


@pytest.mark.parametrize(
    ("values", "source", "target"),
    [
        ([1.1, np.nan, np.inf, -np.inf], "f8", "f4"),
        ([1.1, 65504], "f4", "f2"),
        ([1.5, 2.5], "f2", "f8"),
        ([1e-60], "f8", "f4"),  # underflow is rounding
        ([0, 127], "i8", "i1"),
        ([0, 1 << 24], "i8", "f4"),
        ([0, 5], "u8", "i2"),
    ],
)
def test_conversions_that_keep_what_numbers_mean(values, source, target):
    array = np.array(values, source)
    found = convert("x", array, target)
    assert found.dtype == target
    assert found.tobytes() == array.astype(target).tobytes()


@pytest.mark.parametrize(
    ("values", "source", "target", "reason"),
    [
        ([1e39], "f8", "f4", "cannot hold"),
        ([65536.0], "f4", "f2", "cannot hold"),
        ([128], "i8", "i1", "cannot hold"),
        ([1 << 63], "u8", "i8", "cannot"),
        ([(1 << 24) + 1], "i8", "f4", "cannot hold"),
        ([(1 << 63) - 1], "i8", "f8", "cannot hold"),
        ([-1], "i1", "u8", "without a loss of meaning"),
        ([1.0], "f4", "i4", "without a loss of meaning"),
        ([True], "?", "f4", "without a loss of meaning"),
        ([1.0], "f4", "?", "without a loss of meaning"),
        ([1], "i4", "?", "without a loss of meaning"),
    ],
)
def test_conversions_that_would_not(values, source, target, reason):
    with pytest.raises(CheckpointError, match=reason):
        convert("x", np.array(values, source), target)


def test_the_same_dtype_is_the_same_array():
    array = np.ones(3, bool)
    assert convert("x", array, bool) is array
