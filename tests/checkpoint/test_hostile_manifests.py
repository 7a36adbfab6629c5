"""Hostile manifests, with checksums that fit: one clear error each, in bounded time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from checkpoint_layouts import NONCE, forge, sealed

from hpcad.checkpoint import read_checkpoint
from hpcad.checkpoint.format import MAX_MANIFEST
from hpcad.errors import CheckpointError

WEIGHT = "parameters/fc1.weight"
FIRST = f"{NONCE}-0000.h5"


def array(record: dict[str, Any], name: str = WEIGHT) -> dict[str, Any]:
    return next(item for item in record["arrays"] if item["name"] == name)


# Manifests that say what no writer says, with checksums that fit.


def part_named(name: Any) -> Callable[[dict[str, Any]], None]:
    def alter(record: dict[str, Any]) -> None:
        record["parts"][0]["file"] = name
        for item in record["arrays"]:
            for piece in item["slices"]:
                if piece["part"] == FIRST:
                    piece["part"] = name

    return alter


def sets(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    """Return an alteration of the value under `keys`; those of the weight come first."""

    def alter(record: dict[str, Any]) -> None:
        place: Any = record
        if keys[0] == "weight":
            place = array(record)
        for key in keys[1:-1] if keys[0] == "weight" else keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return alter


def terabytes(record: dict[str, Any]) -> None:
    """Four terabytes, which the parts are said to hold."""
    array(record).update(shape=[1 << 20, 1 << 20])
    array(record)["slices"] = [array(record)["slices"][0] | {"count": 1 << 40, "offset": 1 << 20}]
    record["parts"][0]["bytes"] = 1 << 50


def overlapping(record: dict[str, Any]) -> None:
    bias, weight = array(record, "parameters/fc1.bias"), array(record)
    bias["slices"][0]["offset"] = weight["slices"][0]["offset"] + 4


def same_elements_twice(record: dict[str, Any]) -> None:
    array(record)["slices"].append(array(record)["slices"][1])


def missing_slice(record: dict[str, Any]) -> None:
    del array(record)["slices"][0]


def last_slice_missing(record: dict[str, Any]) -> None:
    del array(record)["slices"][1]


def swapped_slices(record: dict[str, Any]) -> None:
    array(record)["slices"].reverse()


def name_twice(record: dict[str, Any]) -> None:
    record["arrays"].append(array(record))


def part_twice(record: dict[str, Any]) -> None:
    record["parts"].append(record["parts"][0])


def array_and_group(record: dict[str, Any]) -> None:
    array(record)["name"] = "parameters"


FORGED = {
    "part above": (part_named("../secret"), "is not of the form"),
    "part of another checkpoint": (part_named(f"../step-00000008/{FIRST}"), "is not of the form"),
    "absolute part": (part_named("/etc/passwd"), "is not of the form"),
    "part with NUL": (part_named(f"{FIRST}\0"), "is not of the form"),
    "part with a line end": (part_named(f"{FIRST}\n"), "is not of the form"),
    "part in a folder": (part_named(f"x/{FIRST}"), "is not of the form"),
    "part without a name": (part_named(""), "is not of the form"),
    "part that is a list": (part_named([FIRST]), "is not text"),
    "part with other digits": (
        part_named(f"{NONCE}-\u0660\u0660\u0660\u0660.h5"),
        "is not of the form",
    ),
    "part of another save": (part_named(f"{NONCE[::-1]}-0000.h5"), "belongs to another save"),
    "part not listed": (sets("parts", to=[]), "behind its end"),
    "part that is longer": (sets("parts", 0, "bytes", to=1 << 40), "bytes instead of"),
    "part of no bytes": (sets("parts", 0, "bytes", to=0), "behind its end"),
    "part of NaN bytes": (sets("parts", 0, "bytes", to=float("nan")), "nan is not a count"),
    "part twice": (part_twice, "a part is named twice"),
    "parts of Infinity": (sets("parts", to=float("inf")), "not iterable"),
    "terabytes": (terabytes, "bytes instead of"),
    "terabytes without parts": (sets("weight", "shape", to=[1 << 20, 1 << 20]), "of 1099511627776"),
    "shape beyond all": (sets("weight", "shape", to=[1 << 62, 1 << 62, 0]), "slices of"),
    "negative shape": (sets("weight", "shape", to=[-16, -24]), "is not a count"),
    "shape of floats": (sets("weight", "shape", to=[16.0, 24.0]), "is not a count"),
    "shape of truth": (sets("weight", "shape", to=[True]), "is not a count"),
    "shape with Infinity": (sets("weight", "shape", to=[float("inf")]), "inf is not a count"),
    "shape of 100 axes": (sets("weight", "shape", to=[1] * 100), "100 axes"),
    "extent of 200 digits": (sets("weight", "shape", to=[10**200]), "is not a count"),
    "overlapping": (overlapping, "two slices overlap"),
    "same elements twice": (same_elements_twice, "do not follow each other"),
    "missing slice": (missing_slice, "do not follow each other"),
    "last slice missing": (last_slice_missing, "hold 192 of 384 elements"),
    "swapped slices": (swapped_slices, "do not follow each other"),
    "empty slice": (sets("weight", "slices", 0, "count", to=0), "do not follow each other"),
    "negative offset": (sets("weight", "slices", 0, "offset", to=-8), "is not a count"),
    "offset far behind": (sets("weight", "slices", 0, "offset", to=1 << 60), "behind its end"),
    "offset of 2**64": (sets("weight", "slices", 0, "offset", to=1 << 64), "is not a count"),
    "other place": (sets("weight", "slices", 0, "offset", to=0), "checksum of array"),
    "checksum of another kind": (sets("weight", "slices", 0, "xxh3_128", to="0"), "of the form"),
    "no slices": (sets("weight", "slices", to=[]), "hold 0 of 384 elements"),
    "objects": (sets("weight", "dtype", to="|O"), "has dtype '|O'"),
    "references": (sets("weight", "dtype", to="|V8"), "has dtype '|V8'"),
    "text": (sets("weight", "dtype", to="|S4"), "has dtype '|S4'"),
    "big-endian": (sets("weight", "dtype", to=">f4"), "has dtype '>f4'"),
    "a compound dtype": (sets("weight", "dtype", to=[["x", "<f4"]]), "unhashable"),
    "name above": (sets("weight", "name", to="../x"), "cannot name an array"),
    "absolute name": (sets("weight", "name", to="/x"), "cannot name an array"),
    "name with NUL": (sets("weight", "name", to="x\0y"), "cannot name an array"),
    "name of 1 MB": (sets("weight", "name", to="x" * 1_000_000), "cannot name an array"),
    "name of 500 groups": (sets("weight", "name", to="x/" * 500 + "x"), "cannot name an array"),
    "name twice": (name_twice, "is used twice"),
    "array and group": (array_and_group, "names both an array and a group"),
    "name that is a number": (sets("weight", "name", to=5), "is not text"),
    "version 0": (sets("version", to=0), "it is not of this format"),
    "version in words": (sets("version", to="2"), "it is not of this format"),
    "other format": (sets("format", to="x"), "it is not of this format"),
    "step of NaN": (sets("step", to=float("nan")), "nan is not a count"),
    "another step": (sets("step", to=8), "its name states step 7, it holds 8"),
    "state that is a list": (sets("state", to=[1]), "its state is not a JSON object"),
    "nonce of a path": (sets("nonce", to="../../../../../x"), "is not of the form"),
    "arrays that are text": (sets("arrays", to="xyz"), "its manifest cannot be used"),
    "slices that are a number": (sets("weight", "slices", to=3), "not iterable"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_manifest_is_refused(two_parts, refused, case):
    alter, reason = FORGED[case]
    forge(two_parts, alter)
    assert reason in refused(two_parts)


def test_a_manifest_forged_without_a_change_is_accepted(two_parts, arrays, same):
    """The forgeries are refused for what they alter, not for how they are made."""
    forge(two_parts, lambda record: None)
    same(read_checkpoint(two_parts).arrays, arrays)


def test_a_newer_version_is_refused_in_its_own_words(two_parts, refused):
    forge(two_parts, sets("version", to=99))
    assert "has format version 99" in refused(two_parts, CheckpointError)


# Text that no manifest is.


def doubled_key(text: bytes) -> bytes:
    return sealed(text[: text.rindex(b",\n")].decode() + ', "step": 7}')


TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda text: b"",
    "null": lambda text: b"null",
    "bare object": lambda text: sealed({}),
    "without a checksum": lambda text: text[: text.rindex(b",\n")] + b"\n}\n",
    "key twice": doubled_key,
    "deep lists": lambda text: sealed('{"state": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep objects": lambda text: sealed('{"x": ' * 100_000 + "1" + "}" * 100_000),
    "a number of a million digits": lambda text: sealed('{"step": ' + "9" * 1_000_000 + "}"),
    "a million lists": lambda text: sealed('{"state": [' + "[]," * (1 << 20) + "1]}"),
    "millions of numbers": lambda text: sealed('{"state": [' + "1," * (5 << 20) + "1]}"),
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "no text": lambda text: bytes(range(256)) * 8,
    "HDF5": lambda text: b"\x89HDF\r\n\x1a\n" + text,
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_is_no_manifest_is_refused(two_parts, refused, case):
    manifest = two_parts / "manifest.json"
    manifest.write_bytes(TEXTS[case](manifest.read_bytes()))
    assert "its manifest cannot be used" in refused(two_parts)


def test_a_giant_manifest_is_refused_unread(two_parts, refused):
    os.truncate(two_parts / "manifest.json", MAX_MANIFEST + 1)
    assert f"its manifest has {MAX_MANIFEST + 1} bytes" in refused(two_parts)
