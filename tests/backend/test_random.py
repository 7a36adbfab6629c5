"""Philox: published test vectors, and independence of rank and order."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.random import Stream, philox4x32

# Known answers of Philox4x32-10, published with the Random123 library.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    words = philox4x32(tuple(np.array([c], np.uint64) for c in counter), key)
    assert tuple(int(w[0]) for w in words) == answer


def test_uniform_and_normal_have_their_moments():
    u = Stream(1, "u").uniform((200_000,))
    z = Stream(1, "z").normal((200_000,))
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 0.5) < 3e-3
    assert abs(u.var() - 1 / 12) < 1e-3
    assert abs(z.mean()) < 1e-2
    assert abs(z.var() - 1) < 2e-2


def test_rows_are_the_same_wherever_they_are_computed():
    stream = Stream(5, "dropout")
    whole = stream.uniform_rows(np.arange(10), 7, np.float32, step=3)
    np.testing.assert_array_equal(whole[[8, 2]], stream.uniform_rows([8, 2], 7, np.float32, step=3))


@pytest.mark.parametrize("other", [Stream(6, "a"), Stream(5, "b")])
def test_seed_and_name_give_other_numbers(other):
    assert not np.array_equal(Stream(5, "a").uniform((8,)), other.uniform((8,)))


def test_steps_give_other_numbers():
    stream = Stream(5, "a")
    assert not np.array_equal(stream.uniform((8,), step=1), stream.uniform((8,), step=2))
    assert not np.array_equal(stream.uniform((8,), step=1), stream.uniform((8,), step=1 + 2**32))
