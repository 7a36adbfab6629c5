"""Whatever is done to a manifest or to the bytes of a shard: right samples, or DataError."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcad.data import open_dataset
from hpcad.data.manifest.contents import seal
from hpcad.data.shards.writer import Layout
from hpcad.errors import DataError

from .test_bit_flips import N, samples, write

LAYOUTS = [Layout(), Layout(chunked=True, compress=1)]
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
EXPECTED = samples()

# Values that a mutated manifest may have anywhere: of every type, and some near to real ones.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-1, 9),
    st.sampled_from([0, 1, 40, 60, 4096, 8192, 40960, 65536, 2**31, 2**62]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["x", "float64", "int16", "uint8", "tokens", "shard-00000.h5", "../x.h5"]),
    st.sampled_from(["fletcher32", "shuffle", "deflate:1", "deflate:9"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module", params=LAYOUTS, ids=str)
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        write(Path(folder) / "d", request.param)
        yield Path(folder) / "d"


def right_or_refused(place: Path) -> bool:
    """Whether all samples come back, and are the packed ones; False for a DataError."""
    try:
        data = open_dataset(place, verify="first")
        read: dict[str, Any] = data.read(np.arange(N))
    except DataError:
        return False
    np.testing.assert_array_equal(read["x"], EXPECTED["x"])
    np.testing.assert_array_equal(read["y"], EXPECTED["y"])
    for number in range(N):
        np.testing.assert_array_equal(read["f"][number], EXPECTED["f"][number])
    return True


def paths(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all values inside a JSON value."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    found = [way] if way else []
    for key, inner in inside:
        found += paths(inner, (*way, key))
    return found


@given(draw=st.data())
@SETTINGS
def test_manifests_with_one_thing_changed(place: Path, draw: st.DataObject) -> None:
    path = place / "manifest.json"
    good = path.read_text()
    value = copy.deepcopy(json.loads(good))
    *way, key = draw.draw(st.sampled_from(paths(value)))
    inner = value
    for step in way:
        inner = inner[step]
    action = draw.draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "remove" and isinstance(inner, dict | list):
        del inner[key]
    elif action == "add" and isinstance(inner, dict):
        inner[draw.draw(st.text(max_size=6))] = draw.draw(VALUES)
    else:
        inner[key] = draw.draw(VALUES)
    if draw.draw(st.booleans()):  # an attacker can compute checksums too
        value["xxh3"] = seal(value)
    try:
        path.write_text(json.dumps(value))
        right_or_refused(place)
    finally:
        path.write_text(good)


@given(text=st.one_of(st.text(), VALUES.map(json.dumps), st.binary()))
@SETTINGS
def test_manifests_of_anything(place: Path, text: str | bytes) -> None:
    path = place / "manifest.json"
    good = path.read_bytes()
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    try:
        path.write_bytes(data)
        assert not right_or_refused(place)
    finally:
        path.write_bytes(good)


@given(draw=st.data())
@SETTINGS
def test_files_with_some_bytes_changed(place: Path, draw: st.DataObject) -> None:
    name = draw.draw(st.sampled_from(["manifest.json", "shard-00000.h5", "shard-00001.h5"]))
    path = place / name
    good = path.read_bytes()
    data = bytearray(good)
    used = np.flatnonzero(np.frombuffer(good, np.uint8))  # the rest is mostly padding
    for _ in range(draw.draw(st.integers(1, 4))):
        start = int(used[draw.draw(st.integers(0, len(used) - 1))])
        new = draw.draw(st.binary(min_size=1, max_size=16))
        data[start : start + len(new)] = new
    data = data[: draw.draw(st.sampled_from([len(good)] * 4 + [len(good) // 2, 0]))]
    try:
        path.write_bytes(data)
        right_or_refused(place)
    finally:
        path.write_bytes(good)


def test_what_is_not_changed_is_right(place: Path) -> None:
    assert right_or_refused(place)
