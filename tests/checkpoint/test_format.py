"""Names, file names, and the manifest as text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpcad.checkpoint.format import (
    ArraySpec,
    DamagedCheckpointError,
    Manifest,
    check_names,
    encode_state,
    file_name,
    raw_bytes,
    step_of,
)
from hpcad.errors import CheckpointError

MANIFEST = Manifest(
    step=3,
    arrays=(ArraySpec("parameters/w", "<f4", (2, 3), "0" * 32),),
    state_bytes=2,
    state_checksum="1" * 32,
    written="2025-01-01T00:00:00+00:00",
    host="node1",
    hpcad="0.1.0",
)


@pytest.mark.parametrize("step", [0, 7, 12345678, 123456789])
def test_file_names_round_trip(step):
    assert step_of(file_name(step)) == step


@pytest.mark.parametrize("name", ["step-7.h5", ".step-00000007.h5.tmp-a", "step-00000007.h5.bad"])
def test_other_files_are_not_checkpoints(name):
    assert step_of(name) is None


def test_file_names_sort_by_step_as_text():
    assert sorted(map(file_name, [100, 9, 99])) == [file_name(9), file_name(99), file_name(100)]


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


def test_manifest_round_trip():
    assert Manifest.decode(MANIFEST.encode()) == MANIFEST


def test_nbytes_does_not_overflow():
    assert ArraySpec("w", "<f8", (2**62, 2**62), "").nbytes == 2**127


@pytest.mark.parametrize(
    "edit",
    [
        {"format": "other"},
        {"version": 2},
        {"step": -1},
        {"step": 1.5},
        {"step": True},
        {"arrays": None},
        {"arrays": [{"name": "w"}]},
        {"arrays": [{"name": "w", "dtype": "|O", "shape": [1], "xxh3_128": ""}]},
        {"arrays": [{"name": "w", "dtype": "<f4", "shape": [-1], "xxh3_128": ""}]},
        {"arrays": [{"name": "w", "dtype": "<f4", "shape": [1] * 40, "xxh3_128": ""}]},
        {"arrays": [{"name": "../w", "dtype": "<f4", "shape": [1], "xxh3_128": ""}]},
        {"arrays": [{"name": 3, "dtype": "<f4", "shape": [1], "xxh3_128": ""}]},
        {"state": "text"},
        {"host": 3},
    ],
)
def test_a_manifest_that_does_not_fit_is_damage(edit):
    record = json.loads(MANIFEST.encode()) | edit
    with pytest.raises(DamagedCheckpointError):
        Manifest.decode(json.dumps(record).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b"[" * 200000, b"\xff"])
def test_a_manifest_that_is_no_object_is_damage(text):
    with pytest.raises(DamagedCheckpointError):
        Manifest.decode(text)


def test_state_keeps_nan():
    assert json.loads(encode_state({"loss": float("nan")}))["loss"] != 0.0


def test_state_must_be_json():
    with pytest.raises(CheckpointError, match=r"JSON values .*float32"):
        encode_state({"loss": np.float32(1)})


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_raw_bytes_of_any_shape(shape):
    array = np.ones(shape, np.float32)
    assert bytes(raw_bytes(array)) == array.tobytes()
