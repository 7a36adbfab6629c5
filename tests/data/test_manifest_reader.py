from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcad.data import Manifest, open_dataset
from hpcad.data.manifest.contents import seal
from hpcad.data.manifest.reader import parse_manifest, read_manifest
from hpcad.errors import DataError

ARRAY = {"dtype": "float32", "shape": [4, 2], "offset": 4096, "xxh3": "0" * 32}
GOOD = {
    "format": "hpcad-shards",
    "version": 1,
    "kind": "samples",
    "count": 4,
    "fields": {"x": {"dtype": "float32", "shape": [2]}},
    "shards": [{"file": "shard-0.h5", "count": 4, "bytes": 4128, "fields": {"x": ARRAY}}],
    "metadata": {"classes": 3, "class_names": ["a", "b", "c"]},
    "source": "",
    "licence": "",
    "attribution": "",
}


def put(*path: Any) -> Callable[[Any], None]:
    """A change: set the value at ``path[:-1]`` to ``path[-1]``."""

    def change(value: Any) -> None:
        *way, key, new = path
        for step in way:
            value = value[step]
        value[key] = new

    return change


def drop(key: str) -> Callable[[Any], None]:
    return lambda value: value.pop(key)


BAD: list[tuple[Callable[[Any], Any], str]] = [
    (put("format", "tar"), "format"),
    (put("version", 3), "this hpcad reads versions 1 to 2"),
    (put("kind", "images"), "kind"),
    (put("count", 5), "add up to 4"),
    (put("count", -1), "must be an integer"),
    (put("count", True), "must be an integer"),
    (put("count", 4.0), "must be an integer"),
    (put("extra", 1), "unknown key 'extra'"),
    (drop("licence"), "lacks 'licence'"),
    (put("source", 3), "must be a string"),
    (put("fields", {}), "at least one field"),
    (put("fields", {"../x": GOOD["fields"]["x"]}), "letters, digits and underscores"),  # type: ignore[index] # GOOD is a literal
    (put("fields", "x", "dtype", "object"), "dtype 'object'"),
    (put("fields", "x", "dtype", ">f4"), "dtype '>f4'"),
    (put("fields", "x", "dtype", None), "dtype None"),
    (put("fields", "x", "shape", [3]), "expected float32"),
    (put("fields", "x", "shape", 2), "must be a list"),
    (put("fields", "x", "shape", [2] * 40), "must be a list of at most"),
    (put("fields", "x", "shape", [2**70]), "must be an integer"),
    (put("fields", "x", "shape", [0]), "must be an integer"),
    (put("kind", "tokens"), "the one field"),
    (put("shards", []), "at least one shard"),
    (put("shards", 0, 7), "must be a JSON object"),
    (lambda v: v["shards"].append(copy.deepcopy(v["shards"][0])), "same file name"),
    (put("shards", 0, "file", "../../etc/shard.h5"), "plain file name"),
    (put("shards", 0, "file", "/etc/shard.h5"), "plain file name"),
    (put("shards", 0, "file", "a/b.h5"), "plain file name"),
    (put("shards", 0, "file", "a..h5"), "plain file name"),
    (put("shards", 0, "file", "a\\b.h5"), "plain file name"),
    (put("shards", 0, "file", "a.h5\n"), "plain file name"),
    (put("shards", 0, "file", ".hidden.h5"), "plain file name"),
    (put("shards", 0, "file", "manifest.json"), "plain file name"),
    (put("shards", 0, "bytes", 4127), "ends at byte 4128 of a file of 4127"),
    (put("shards", 0, "fields", {}), "lacks 'x'"),
    (put("shards", 0, "fields", "y", ARRAY), "unknown key 'y'"),
    (put("shards", 0, "fields", "x", "shape", [2**40, 2**40]), "expected float32"),
    (put("shards", 0, "fields", "x", "dtype", "float64"), "expected float32"),
    (put("shards", 0, "fields", "x", "offset", 4097), "not a multiple"),
    (put("shards", 0, "fields", "x", "offset", 0), "must be an integer"),
    (put("shards", 0, "fields", "x", "offset", 2**61), "ends at byte"),
    (put("shards", 0, "fields", "x", "xxh3", "zz"), "32 hexadecimal"),
    (put("metadata", []), "must be an object"),
    (put("metadata", "classes", 0), "must be an integer"),
    (put("metadata", "class_names", "abc"), "list of strings"),
    (put("metadata", "vocabulary", [1]), "list of strings"),
]


def test_the_good_one_is_accepted() -> None:
    assert isinstance(parse_manifest(GOOD, "m.json"), Manifest)


@pytest.mark.parametrize(("change", "message"), BAD)
def test_each_bad_one_is_refused(change: Callable[[Any], Any], message: str) -> None:
    value = copy.deepcopy(GOOD)
    change(value)
    with pytest.raises(DataError, match=f"^m.json: .*{message}"):
        parse_manifest(value, "m.json")


BLOCKS = {"rows": 2, "offset": 8192, "xxh3": "1" * 32}
CHUNKED = {
    "dtype": "int16",
    "shape": [3, 5],
    "chunk": 2,
    "filters": ["shuffle", "deflate:1", "fletcher32"],
    "blocks": {**BLOCKS, "offset": 12288},
}
OFFSETS = {"dtype": "int64", "shape": [5], "offset": 16384, "xxh3": "2" * 32}
SECOND: dict[str, Any] = {
    **{key: value for key, value in GOOD.items() if key not in ("fields", "shards")},
    "version": 2,
    "fields": {
        "x": {"dtype": "float32", "shape": [2]},
        "f": {"dtype": "int16", "shape": [5], "ragged": True},
    },
    "shards": [
        {
            "file": "shard-0.h5",
            "count": 4,
            "bytes": 24576,
            "arrays": {
                "x": {**ARRAY, "blocks": BLOCKS},
                "f": CHUNKED,
                "f.offsets": {**OFFSETS, "blocks": {**BLOCKS, "rows": 5, "offset": 20480}},
            },
        }
    ],
    "statistics": {
        "x": {"count": [4, 4], "mean": [1.5, None], "std": [0, 1], "min": [0, 0], "max": [9, 9]}
    },
}
OF = ("shards", 0, "arrays")
BAD_SECOND: list[tuple[Callable[[Any], Any], str]] = [
    (drop("statistics"), "lacks 'statistics'"),
    (put("fields", "f", "ragged", False), '"ragged" is true or left out'),
    (put("fields", "x", "ragged", True), "lacks 'x.offsets'"),
    (put("fields", "_blocks", GOOD["fields"]["x"]), "the checksums' place"),  # type: ignore[index] # GOOD is a literal
    (put("shards", 0, "fields", {}), "unknown key 'fields'"),
    (put(*OF, "x", "shape", [0, 2]), "unknown key 'blocks'"),
    (put(*OF, "x", "shape", None), "must be a list"),
    (put(*OF, "x", "blocks", "rows", 5), "must be an integer from 1 to 4"),
    (put(*OF, "x", "blocks", "offset", 4096), "overlaps another"),
    (put(*OF, "x", "blocks", "offset", 24576), "ends at byte"),
    (put(*OF, "x", "blocks", "offset", 8193), "not a multiple"),
    (put(*OF, "x", "blocks", "xxh3", 5), "must be a string"),
    (lambda v: v["shards"][0]["arrays"]["x"].pop("blocks"), "lacks 'blocks'"),
    (put(*OF, "x", "chunk", 2), "lacks 'filters'"),
    (put(*OF, "f", "chunk", 0), "must be an integer from 1 to 3"),
    (put(*OF, "f", "chunk", 3), "of 2 rows, though chunks have 3"),
    (put(*OF, "f", "offset", 4096), "unknown key 'offset'"),
    (put(*OF, "f", "filters", []), "are not shuffle, deflate"),
    (put(*OF, "f", "filters", ["deflate:1"]), "are not shuffle, deflate"),
    (put(*OF, "f", "filters", ["deflate:0", "fletcher32"]), "are not shuffle, deflate"),
    (put(*OF, "f", "filters", ["fletcher32", "deflate:1"]), "are not shuffle, deflate"),
    (put(*OF, "f", "filters", ["lzf", "fletcher32"]), "are not shuffle, deflate"),
    (put(*OF, "f", "filters", ["fletcher32", 3]), "must be a list of strings"),
    (put(*OF, "f", "filters", "fletcher32"), "must be a list of strings"),
    (put(*OF, "f", "shape", [2**30, 5]), "do not fit into a file"),
    (put(*OF, "f.offsets", "shape", [4]), "expected int64"),
    (put(*OF, "f.offsets", "dtype", "int32"), "expected int64"),
    (put("statistics", "z", {}), "unknown field 'z'"),
    (put("statistics", []), "must be an object"),
    (put("statistics", "x", "mean", 1.0), "must have 2 numbers"),
    (put("statistics", "x", "mean", [1.0, "2"]), "a finite number or null"),
    (put("statistics", "x", "std", [1.0, -2.0]), "a finite number or null"),
    (put("statistics", "x", "max", [1.0, 1e400]), "a finite number or null"),
    (put("statistics", "x", "count", [1, -1]), "must be an integer"),
]


def sealed(value: Any) -> Any:
    return {**value, "xxh3": seal(value)}


def test_a_good_one_of_version_2_is_accepted() -> None:
    manifest = parse_manifest(sealed(SECOND), "m.json")
    assert manifest.fields["f"].ragged
    assert manifest.shards[0].arrays["f"].chunk == 2
    assert manifest.shards[0].arrays["x"].blocks is not None
    assert manifest.to_json() == sealed(SECOND)


@pytest.mark.parametrize(("change", "message"), BAD_SECOND)
def test_each_bad_one_of_version_2_is_refused(change: Callable[[Any], Any], message: str) -> None:
    value = copy.deepcopy(SECOND)
    change(value)
    with pytest.raises(DataError, match=f"^m.json: .*{message}"):
        parse_manifest(sealed(value), "m.json")


def test_no_rows_have_no_blocks() -> None:
    value = copy.deepcopy(SECOND)
    entry = {"dtype": "int16", "shape": [0, 5], "offset": 0, "xxh3": "0" * 32}
    value["shards"][0]["arrays"]["f"] = entry
    assert parse_manifest(sealed(value), "m.json").shards[0].arrays["f"].nbytes == 0
    entry["offset"] = 4096
    with pytest.raises(DataError, match='"offset" without rows'):
        parse_manifest(sealed(value), "m.json")


def test_a_manifest_that_was_changed_is_refused() -> None:
    value = sealed(SECOND)
    value["source"] = "somewhere else"
    with pytest.raises(DataError, match="do not match its own checksum"):
        parse_manifest(value, "m.json")


@pytest.mark.parametrize("value", [None, 3, [], "hpcad-shards"])
def test_other_json_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="must be a JSON object"):
        parse_manifest(value, "m.json")


def test_overlapping_arrays_are_refused() -> None:
    value = copy.deepcopy(GOOD)
    value["fields"]["y"] = value["fields"]["x"]  # type: ignore[index] # GOOD is a literal
    value["shards"][0]["fields"]["y"] = ARRAY  # type: ignore[index] # GOOD is a literal
    with pytest.raises(DataError, match="overlaps"):
        parse_manifest(value, "m.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "hpcad-shards", "format": "x"}', "names a key twice"),
        ("{", "not a valid manifest"),
        ("", "not a valid manifest"),
        ('{"count": NaN}', "NaN is not JSON"),
        ("[" * 200_000, "not a valid manifest"),
        ("9" * 5000, "not a valid manifest"),
    ],
)
def test_text_that_is_no_manifest(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="not a valid manifest"):
        read_manifest(tmp_path)


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "manifest.json", "wb") as file:
        file.truncate(2**40)  # sparse: it takes no room
    with pytest.raises(DataError, match="too large for a manifest"):
        read_manifest(tmp_path)


def test_a_directory_without_manifest_says_what_to_do(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match="there is no such dataset"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="hpcad data pack"):
        open_dataset(tmp_path / "empty")
    make(name="parts/train")
    with pytest.raises(DataError, match=r"did you mean .*parts/train\?"):
        open_dataset(tmp_path / "parts")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return [way]
    return [way, *(place for key, inner in items for place in _places(inner, (*way, key)))]


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(_places(GOOD)[1:]), new=JSON)
def test_any_value_anywhere_is_accepted_or_refused_with_a_sentence(
    place: tuple[Any, ...], new: Any
) -> None:
    value = json.loads(json.dumps(GOOD))
    put(*place, new)(value)
    try:
        manifest = parse_manifest(value, "m.json")
    except DataError as error:
        assert str(error).startswith("m.json: ")  # noqa: PT017 - either outcome is right
    else:
        assert manifest.to_json() == value
