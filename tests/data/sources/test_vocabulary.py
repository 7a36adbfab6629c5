from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hpcad.data import open_dataset, pack, pack_all
from hpcad.data.sources import text_sources
from hpcad.data.sources.vocabulary import tokenize
from hpcad.errors import DataError


def vocabulary(tmp_path: Path, *tokens: str) -> Path:
    path = tmp_path / "v.json"
    path.write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    return path


def test_the_longest_token_that_fits_is_taken() -> None:
    tokens = ["t", "o", "m", "a", "to", "tom", "ato", "mat"]
    found = [tokens[i] for i in tokenize("tomatotot", tokens, "here")]
    assert found == ["tom", "ato", "to", "t"]


def test_a_text_through_a_vocabulary_is_the_text(tmp_path: Path) -> None:
    text = "the cat, the hat, the bat\nät"
    file = vocabulary(tmp_path, *sorted(set(text)), "the ", "at", ", the", "zebra")
    (tmp_path / "t").write_text(text)
    (source,) = text_sources(tmp_path / "t", tokenizer=file)
    pack(source, tmp_path / "d", shard_samples=5)
    dataset = open_dataset(tmp_path / "d")
    assert dataset.metadata["tokenizer"] == "longest match"
    words = [
        dataset.metadata["vocabulary"][i] for i in dataset.read(np.arange(source.count))["tokens"]
    ]
    assert "".join(words) == text
    assert source.count < len(text)
    assert words[0] == "the "


def test_what_no_token_fits(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("ab\naxb")
    with pytest.raises(DataError, match=r"t, line 2: no token of the vocabulary fits 'xb'"):
        text_sources(tmp_path / "t", tokenizer=vocabulary(tmp_path, "a", "b", "\n"))
    file = vocabulary(tmp_path, "a", "b", "\n", "<unk>")
    (source,) = text_sources(tmp_path / "t", tokenizer=file)
    (chunk,) = source.chunks(0, source.count)
    assert chunk["tokens"].tolist() == [0, 1, 2, 0, 3, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a JSON file"),
        ("[" * 100000, "is not a JSON file"),
        ("[]", "one JSON object"),
        ("{}", "one JSON object"),
        ('{"a": "b"}', "the id of token 'a' is 'b'"),
        ('{"a": true}', "the id of token 'a' is True"),
        ('{"a": 1}', "need the ids 0 to 0, each once; 'a' has 1"),
        ('{"a": 0, "b": 0}', "each once; 'b' has 0"),
        ('{"a": -1, "b": 0}', "'a' has -1"),
        ('{"": 0}', "the empty string"),
    ],
)
def test_files_that_are_no_vocabulary(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "v.json").write_text(text)
    (tmp_path / "t").write_text("a")
    with pytest.raises(DataError, match=message):
        text_sources(tmp_path / "t", tokenizer=tmp_path / "v.json")


def test_bytes_need_no_utf8(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2
    (tmp_path / "t").write_bytes(data)
    parts = text_sources(tmp_path / "t", split=0.5, tokenizer="bytes")
    pack_all([(part, tmp_path / str(k)) for k, part in enumerate(parts)])
    for k in range(2):
        dataset = open_dataset(tmp_path / str(k))
        assert dataset.read(np.arange(256))["tokens"].tobytes() == data[:256]
        assert dataset.metadata["vocabulary"][65] == "A"
        assert dataset.metadata["tokenizer"] == "bytes"
