"""The manifest as text: what is written is read, and what does not fit is refused."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest

from hpcad.checkpoint.format import DamagedCheckpointError, checksum, part_name
from hpcad.checkpoint.manifest import ArraySpec, Manifest, PartSpec, SliceSpec
from hpcad.errors import CheckpointError

NONCE = "0123456789abcdef"
PARTS = tuple(PartSpec(part_name(NONCE, rank), 8192) for rank in range(2))
MANIFEST = Manifest(
    step=3,
    nonce=NONCE,
    world_size=2,
    written="2025-01-01T00:00:00+00:00",
    hosts=("node1", "node2"),
    hpcad="0.1.0",
    state={"step": 3, "loss": 0.25, "text": 'é"\n'},
    arrays=(
        ArraySpec(
            "parameters/w",
            "<f4",
            (2, 3),
            (
                SliceSpec(PARTS[0].file, 4096, 0, 4, "0" * 32),
                SliceSpec(PARTS[1].file, 4096, 4, 2, "1" * 32),
            ),
        ),
        ArraySpec("count", "<i8", (), (SliceSpec(PARTS[1].file, 4104, 0, 1, "2" * 32),)),
        ArraySpec("empty", "<f2", (0, 4), ()),
    ),
    parts=PARTS,
)


def sealed(record: dict) -> bytes:
    """Return a record as the text of a manifest with the right checksum."""
    body = json.dumps(record, indent=1).encode() + b"\n"
    return body[:-3] + f',\n "xxh3_128": "{checksum(body)}"\n}}\n'.encode()


def record_of(manifest: Manifest) -> dict:
    record = json.loads(manifest.encode())
    del record["xxh3_128"]
    return record


def test_manifest_round_trip():
    assert Manifest.decode(MANIFEST.encode()) == MANIFEST


def test_a_manifest_without_arrays_round_trips():
    bare = dataclasses.replace(MANIFEST, arrays=(), parts=())
    assert Manifest.decode(bare.encode()) == bare


def test_the_manifest_is_json_that_ends_with_its_checksum():
    record = json.loads(MANIFEST.encode())
    assert (record["format"], record["version"]) == ("hpcad-checkpoint", 2)
    assert list(record)[-1] == "xxh3_128"


def test_any_other_writer_of_json_can_seal_it():
    assert Manifest.decode(sealed(record_of(MANIFEST))) == MANIFEST


def test_nbytes_does_not_overflow():
    assert ArraySpec("w", "<f8", (2**62, 2**62), ()).nbytes == 2**127


def test_every_single_bit_flip_is_damage():
    text = MANIFEST.encode()
    choose = random.Random(4)
    for bit in choose.sample(range(8 * len(text)), 1000):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedCheckpointError):
            Manifest.decode(bytes(flipped))


def test_every_truncation_is_damage():
    text = MANIFEST.encode()
    for length in range(len(text)):
        with pytest.raises(DamagedCheckpointError):
            Manifest.decode(text[:length])


def _array(**edit) -> dict:
    return {"arrays": [record_of(MANIFEST)["arrays"][0] | edit]}


def _slices(*edits: dict) -> dict:
    given = record_of(MANIFEST)["arrays"][0]["slices"]
    return _array(slices=[s | edit for s, edit in zip(given, edits, strict=True)])


@pytest.mark.parametrize(
    "edit",
    [
        {"format": "other"},
        {"version": 1},
        {"version": True},
        {"step": -1},
        {"step": 1.5},
        {"step": True},
        {"step": 2**63},
        {"nonce": "../../etc/passwd"},
        {"nonce": "fedcba9876543210"},
        {"state": "text"},
        {"state": None},
        {"hosts": [3]},
        {"hpcad": 3},
        {"arrays": None},
        {"arrays": [{"name": "w"}]},
        {"parts": []},
        {"parts": [{"file": part_name(NONCE, 0), "bytes": 8192}] * 2},
        _array(dtype="|O"),
        _array(dtype=["<f4"]),
        _array(shape=[-1]),
        _array(shape=[1] * 40),
        _array(shape=[2, 4]),
        _array(name="../w"),
        _array(name=3),
        _array(slices=[]),
        _slices({"part": "../secret"}, {}),
        _slices({"part": "/etc/passwd"}, {}),
        _slices({"part": part_name(NONCE, 7)}, {}),
        _slices({"part": part_name("f" * 16, 0)}, {}),
        _slices({"offset": -1}, {}),
        _slices({"offset": 8192}, {}),
        _slices({}, {"start": 3}),
        _slices({}, {"start": 5}),
        _slices({}, {"count": 2**62}),
        _slices({}, {"count": 1}),
        _slices({"xxh3_128": "0" * 31}, {}),
        _slices({}, {"part": part_name(NONCE, 0), "offset": 4104}),
    ],
)
def test_a_manifest_that_does_not_fit_is_damage(edit):
    with pytest.raises(DamagedCheckpointError):
        Manifest.decode(sealed(record_of(MANIFEST) | edit))


def test_a_key_that_occurs_twice_is_damage():
    text = json.dumps(record_of(MANIFEST), indent=1).replace('"step": 3,', '"step": 3, "step": 4,')
    body = text.encode() + b"\n"
    with pytest.raises(DamagedCheckpointError, match="twice"):
        Manifest.decode(body[:-3] + f',\n "xxh3_128": "{checksum(body)}"\n}}\n'.encode())


def test_a_later_version_is_not_damage():
    with pytest.raises(CheckpointError, match=r"version 3.*update hpcad") as caught:
        Manifest.decode(sealed(record_of(MANIFEST) | {"version": 3}))
    assert not isinstance(caught.value, DamagedCheckpointError)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b"\xff"])
def test_a_manifest_without_its_checksum_is_damage(text):
    with pytest.raises(DamagedCheckpointError):
        Manifest.decode(text)


@pytest.mark.parametrize("body", [b"[" * 200000 + b"\n}\n", b"1" * 5000 + b"\n}\n"])
def test_a_sealed_manifest_that_is_no_object_is_damage(body):
    with pytest.raises(DamagedCheckpointError):
        Manifest.decode(body[:-3] + f',\n "xxh3_128": "{checksum(body)}"\n}}\n'.encode())
