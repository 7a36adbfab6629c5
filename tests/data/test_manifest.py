from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hpcad.data import open_dataset
from hpcad.data.manifest.contents import canonical_hash, manifest_text
from hpcad.data.manifest.reader import parse_manifest, read_manifest


def test_reading_what_was_written_gives_the_same(make: Callable[..., Path]) -> None:
    manifest = read_manifest(make(10, 4))
    assert parse_manifest(json.loads(manifest_text(manifest)), "m") == manifest
    assert [shard.count for shard in manifest.shards] == [4, 4, 2]
    assert manifest.data_bytes == 10 * (6 * 4 + 8)


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_hash({"a": 1, "b": 2}) == canonical_hash({"b": 2, "a": 1})
    assert canonical_hash({"a": 1, "b": 2}) != canonical_hash({"a": 2, "b": 1})


def test_the_hash_is_that_of_the_content(make: Callable[..., Path]) -> None:
    first, same, other = make(10, name="a"), make(10, name="b"), make(11, name="c")
    assert read_manifest(first).hash == read_manifest(same).hash
    assert read_manifest(first).hash != read_manifest(other).hash


def test_a_dataset_of_version_1_keeps_its_hash() -> None:
    # Checkpoints name their dataset by it.
    train = open_dataset("builtin:digits/train")
    assert train.manifest.version == 1
    path = train.directory / "manifest.json"
    assert train.manifest.to_json() == json.loads(path.read_text())
    assert train.hash == canonical_hash(json.loads(path.read_text()))
    assert train.hash == "c2a02910cdaf3514799533da57d71b305ca6ef31652a5d29943e6c02872051fb"
    for verify in ("first", "read"):  # a shard without blocks is compared as a whole
        again = open_dataset("builtin:digits/train", verify=verify)
        assert again.read([0, 700])["y"].tolist() == train.read([0, 700])["y"].tolist()
