"""Names, file names, states."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpcad.checkpoint.format import (
    check_names,
    directory_name,
    encode_state,
    nonce_of,
    part_name,
    raw_bytes,
    step_of,
)
from hpcad.errors import CheckpointError

NONCE = "0123456789abcdef"


@pytest.mark.parametrize("step", [0, 7, 12345678, 123456789])
def test_directory_names_round_trip(step):
    assert step_of(directory_name(step)) == step
    assert step_of(f"{directory_name(step)}.h5") == step


@pytest.mark.parametrize(
    "name",
    [
        "step-7",
        "step-00000007.superseded",
        "step-00000007.h5.bad",
        "step-0000000٣",
        "step-00000007/",
    ],
)
def test_other_names_are_not_checkpoints(name):
    assert step_of(name) is None


def test_directory_names_sort_by_step_as_text():
    assert sorted(map(directory_name, [100, 9, 99])) == [
        directory_name(9),
        directory_name(99),
        directory_name(100),
    ]


def test_part_names_round_trip():
    assert nonce_of(part_name(NONCE, 3)) == NONCE
    assert nonce_of(part_name(NONCE, 123456)) == NONCE
    assert nonce_of("../0123456789abcdef-0000.h5") is None
    assert nonce_of("manifest.json") is None


@pytest.mark.parametrize(
    "names",
    [[""], ["/a"], ["a/"], ["a//b"], ["a/../b"], ["./a"], ["a\nb"], ["a", "a"], ["x" * 2000]],
)
def test_names_that_no_dataset_can_have(names):
    with pytest.raises(CheckpointError):
        check_names(names)


def test_a_name_cannot_be_array_and_group():
    with pytest.raises(CheckpointError, match="'a/b' names both an array and a group"):
        check_names(["a/b/c", "a/b"])


def test_state_keeps_nan():
    assert json.loads(encode_state({"loss": float("nan")}))["loss"] != 0.0


@pytest.mark.parametrize("state", [{"loss": np.float32(1)}, {1: "a", "1": "b"}])
def test_state_must_be_json(state):
    with pytest.raises(CheckpointError, match="JSON values"):
        encode_state(state)


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_raw_bytes_of_any_shape(shape):
    array = np.ones(shape, np.float32)
    assert bytes(raw_bytes(array)) == array.tobytes()
