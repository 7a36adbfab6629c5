"""Attention over long sequences, a block of queries after the other."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
from hpcad.primitives import attention as module
from hpcad.primitives.attention import attention, blocks, blockwise
from hpcad.primitives.product import matmul


@pytest.fixture
def short(monkeypatch):
    """Blocks of three queries from six keys on."""
    monkeypatch.setattr(module, "LONG", 6)
    monkeypatch.setattr(module, "BLOCK", 3)


def operands(queries, keys, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((2, queries, 4)), rng.standard_normal((2, keys, 4)),
            rng.standard_normal((2, keys, 5)))  # fmt: skip


def test_blocks_cover_all_queries_and_see_what_a_causal_query_may_see(short):
    q, k, _ = operands(8, 10)
    assert blocks(q, k, causal=True) == [
        (slice(0, 3), slice(0, 5)),
        (slice(3, 6), slice(0, 8)),
        (slice(6, 8), slice(0, 10)),
    ]
    assert len(blocks(q[:, :3], k, causal=False)) == 1
    assert len(blocks(q, k[:, :5], causal=False)) == 1


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(8, 8), (7, 10), (9, 9)])
def test_block_by_block_it_is_the_same(short, causal, queries, keys):
    q, k, v = operands(queries, keys)
    expected = matmul(module._probabilities(q, k, causal), v)
    np.testing.assert_allclose(blockwise(q, k, v, causal), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("causal", [False, True])
def test_derivatives_block_by_block_are_the_same(short, causal):
    """In nested transforms, and in programs, where probabilities are not kept."""
    q, k, v = operands(8, 9)

    def loss(operands):
        return (attention(*operands, causal=causal) ** 2).sum()

    def twice(operands):
        return hpcad.hvp(loss, operands, operands)

    blocked, compiled = twice((q, k, v)), hpcad.compile(hpcad.grad(loss), strict=True)
    for _ in range(3):
        found = compiled((q, k, v))
    module.LONG = 1 << 30
    for a, b in zip(blocked, twice((q, k, v)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    for a, b in zip(found, hpcad.grad(loss)((q, k, v)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_a_program_of_long_attention_holds_no_scores_of_the_whole_sequence():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 2, 1024, 16)).astype(np.float32) for _ in range(3))

    def loss(operands):
        return (attention(*operands, causal=True) ** 2).sum()

    compiled = hpcad.compile(hpcad.grad(loss), strict=True)
    for _ in range(3):
        compiled((q, k, v))
    scores = 2 * 1024 * 1024 * 4
    if compiled.program.kernels:
        assert compiled.program.arena_bytes < 0.75 * scores
