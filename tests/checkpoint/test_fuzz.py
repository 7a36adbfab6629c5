"""Fuzzing: whatever is done to a small checkpoint, its contents or a `CheckpointError` come out."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_layouts import sealed, write_directory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcad.checkpoint import Checkpoint, DamagedCheckpointError, read_checkpoint
from hpcad.checkpoint.safetensors import read_safetensors, write_safetensors
from hpcad.errors import CheckpointError

ARRAYS = {
    "a/w": np.arange(20, dtype=np.float32).reshape(4, 5),
    "a/b": np.array([True, False, True]),
    "count": np.array(7),
}
STATE = {"cursor": 3, "deep": {"x": [1, None]}}

few = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["../x", "/etc/passwd", "a/w", "<f8", "|O", "0123456789abcdef-0001.h5"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_directory(tmp_path, 7, ARRAYS, STATE, ranks=2)


@pytest.fixture
def before(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.iterdir()}


def content_of(checkpoint: Checkpoint) -> Any:
    arrays = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in checkpoint.arrays.items()}
    return checkpoint.step, json.dumps(checkpoint.state), arrays


def check_message(error: CheckpointError, path: Path) -> None:
    """One line of bounded length that names the file."""
    text = str(error)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 600


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything inside a JSON value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = [path] if path else []
    for key, item in items:
        found += places(item, (*path, key))
    return found


def put(record: Any, place: tuple[Any, ...], value: Any, action: str) -> Any:
    """Return a copy of `record` with another value, none, or one more at a place."""
    record = copy.deepcopy(record)
    holder = record
    for key in place[:-1]:
        holder = holder[key]
    if action == "remove":
        del holder[place[-1]]
    elif action == "repeat" and isinstance(holder, list):
        holder.append(holder[place[-1]])
    else:
        holder[place[-1]] = value
    return record


@few
@given(data=st.data())
def test_a_manifest_with_any_other_values(path, before, data):
    """With a checksum that fits. What is read is what the manifest says, bit for bit, or nothing.

    The arrays can only be those that were saved: no other bytes have their checksums. (Their
    names, and dtypes and shapes of the same length, are the manifest's word, and so is the state.)
    """
    record = json.loads(before[path / "manifest.json"])
    del record["xxh3_128"]
    for _ in range(data.draw(st.integers(1, 3))):
        if spots := places(record):
            place = data.draw(st.sampled_from(spots))
            action = data.draw(st.sampled_from(["set", "set", "remove", "repeat"]))
            record = put(record, place, data.draw(values), action)
    (path / "manifest.json").write_bytes(sealed(record))
    try:
        found = read_checkpoint(path)
    except CheckpointError as error:
        check_message(error, path)
    else:
        saved = {a.tobytes() for a in ARRAYS.values()} | {b""}
        assert {a.tobytes() for a in found.arrays.values()} <= saved


@few
@given(data=st.data())
def test_files_with_any_other_bytes(path, before, data):
    """Overwritten, cut, extended, with bytes inserted, or one in the place of another."""
    files = sorted(before)
    for file in files:
        file.write_bytes(before[file])  # the last example has changed them
    expected = content_of(read_checkpoint(path))
    for _ in range(data.draw(st.integers(1, 3))):
        file = data.draw(st.sampled_from(files))
        content = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(content)))
        new = data.draw(st.binary(max_size=40))
        action = data.draw(st.sampled_from(["overwrite", "insert", "cut", "copy", "remove"]))
        if action == "overwrite":
            content[at : at + len(new)] = new
        elif action == "insert":
            content[at:at] = new
        elif action == "cut":
            del content[at : at + data.draw(st.integers(1, 400))]
        elif action == "copy":
            content = bytearray(before[data.draw(st.sampled_from(files))])
        file.write_bytes(content)
        if action == "remove":
            file.unlink()
            break
    try:
        found = read_checkpoint(path)
    except DamagedCheckpointError as error:
        check_message(error, path)
    else:
        assert content_of(found) == expected


@few
@given(data=st.data())
def test_safetensors_with_any_other_header(tmp_path, data):
    file = tmp_path / "x.safetensors"
    write_safetensors(file, {n: (a.dtype.str, a.shape) for n, a in ARRAYS.items()}, ARRAYS.get)
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    record = json.loads(content[8 : 8 + length])
    for _ in range(data.draw(st.integers(1, 3))):
        if spots := places(record):
            place = data.draw(st.sampled_from(spots))
            action = data.draw(st.sampled_from(["set", "remove", "repeat"]))
            record = put(record, place, data.draw(values), action)
    header = json.dumps(record).encode() + b" " * data.draw(st.integers(0, 3))
    stated = data.draw(st.sampled_from([len(header), len(header) + 1, 1 << 62]))
    file.write_bytes(stated.to_bytes(8, "little") + header + content[8 + length :])
    try:
        arrays, _ = read_safetensors(file)
    except CheckpointError as error:
        check_message(error, file)
    else:
        total = sum(array.nbytes for array in arrays.values())
        assert total == sum(array.nbytes for array in ARRAYS.values())
