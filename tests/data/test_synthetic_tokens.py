"""Tokens that are made while they are read: functions of their places."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import cli
from hpcad.data import Loader, open_dataset, verify_dataset
from hpcad.data.synthetic_tokens import ENTROPY, VOCABULARY, tokens_at
from hpcad.errors import DataError

TEST, TRAIN = "builtin:synthetic-tokens/test", "builtin:synthetic-tokens/train"

KNOWN = [
    [88, 1, 1253, 210, 892, 776, 1, 5823, 3488],
    [1, 247, 1, 39998, 6, 579, 33, 4402, 78],
    [30, 54, 2, 21, 2486, 1746, 13, 10372, 6121],
]
HASH = "22624c05f29494a89b4cdcd54e63ab815828758fecfb86993b56dd376f75d1ec"


def probabilities():
    """Of each token, from its definition: b + 1 random bits, b from 0 to 15."""
    of_bits = np.zeros(1 << 16)
    for b in range(16):
        of_bits[: 2 << b] += 1 / 16 / (2 << b)
    return np.bincount(np.arange(1 << 16) % VOCABULARY, of_bits)


def test_known_tokens():
    """They must never change: checkpoints name their data by the hash."""
    data = open_dataset(TRAIN, window=8)
    got = data.read(np.array([0, 7777777, len(data) - 1]))
    expected = np.array(KNOWN)
    np.testing.assert_array_equal(got["x"], expected[:, :-1])
    np.testing.assert_array_equal(got["y"], expected[:, 1:])
    assert got["x"].dtype == np.uint16
    assert data.hash == HASH


def test_windows_are_parts_of_one_stream():
    whole = open_dataset(TEST, window=100, stride=100).read(np.arange(3))["x"].ravel()
    parts = open_dataset(TEST, window=7, stride=3).read(np.array([5, 0, 90]))
    for start, x, y in zip((15, 0, 270), parts["x"], parts["y"], strict=True):
        np.testing.assert_array_equal(x, whole[start : start + 7])
        np.testing.assert_array_equal(y, whole[start + 1 : start + 8])
    assert len(open_dataset(TEST, window=1024, stride=1024)) == 255
    assert len(open_dataset(TRAIN, window=1024)) == 2**33 - 1024


def test_frequencies_and_their_entropy():
    tokens = tokens_at(np.arange(400_000), (1, 2))
    p = probabilities()
    assert -(p * np.log(p)).sum() == pytest.approx(ENTROPY, abs=1e-4)
    assert -np.log(p[tokens]).mean() == pytest.approx(ENTROPY, abs=0.02)
    counts = np.bincount(tokens, minlength=VOCABULARY)
    assert len(counts) == VOCABULARY
    np.testing.assert_allclose(counts[:64] / len(tokens), p[:64], rtol=0.2)


def test_a_loader_reads_them():
    loader = Loader(open_dataset(TRAIN, window=16), 4, seed=1)
    with loader:
        batch = next(loader)
    assert batch.fields["x"].shape == (4, 16)
    np.testing.assert_array_equal(batch.fields["x"][:, 1:], batch.fields["y"][:, :-1])


def test_what_cannot_be(capsys):
    with pytest.raises(DataError, match=r"stream of 262144 tokens: window= .* None and 1"):
        open_dataset(TEST)
    with pytest.raises(DataError, match="made while it is read: there are no files"):
        verify_dataset(TEST)
    for command in ("bench", "inspect"):
        assert cli.main(["data", command, TEST]) == DataError.exit_code
        assert "made while it is read: there are no files" in capsys.readouterr().err
    with pytest.raises(DataError, match="sample ids from 0 to 262144"):
        open_dataset(TEST, window=8).read(np.array([0, 2**18]))
