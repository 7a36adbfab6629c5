"""Blocks of different lengths reach whom they are for. Runs on any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import CollectiveError, ShapeError

from .groups import make_group

pytestmark = pytest.mark.mpi


@pytest.fixture(
    scope="module", params=["world", "mpi", "node", "nodes of 2", "naive", "mpi in pieces"]
)
def group(request):
    communicator = make_group(request.param.removesuffix(" in pieces"))
    if "pieces" in request.param:
        communicator.chunk = 100
    return communicator


def block(source, target, count, dtype="int64"):
    """What `source` has for `target`; every element differs from all others."""
    return (np.arange(count) + 1000 * (10 * source + target)).astype(dtype)


RULES = {
    "random": lambda s, t: int(np.random.default_rng([s, t]).integers(0, 90)),
    "mostly nothing": lambda s, t: 70 if (s, t) == (0, 0) or t == s + 1 else 0,
    "nothing": lambda s, t: 0,
    "all to the first": lambda s, t: 7 * (s + 1) if t == 0 else 0,
}


@pytest.mark.parametrize("dtype", ["int64", "float32", "complex128"])
@pytest.mark.parametrize("rule", RULES)
def test_every_block_arrives_where_it_belongs(group, rule, dtype):
    count, ranks, me = RULES[rule], range(group.size), group.rank
    given, taken = [count(me, t) for t in ranks], [count(s, me) for s in ranks]
    sent = np.concatenate([block(me, t, given[t], dtype) for t in ranks])
    sent.flags.writeable = False
    received = np.full(sum(taken), -1, dtype)
    group.alltoallv(sent, given, received, np.array(taken))
    expected = np.concatenate([block(s, me, taken[s], dtype) for s in ranks])
    np.testing.assert_array_equal(received, expected)


def test_a_count_that_the_receiver_does_not_expect_is_an_error_on_all(group):
    last = group.size - 1
    given, taken = np.ones(group.size, int), np.ones(group.size, int)
    if group.rank == last:
        given[0] = 2
    sent, received = np.zeros(given.sum()), np.zeros(taken.sum())
    with pytest.raises(CollectiveError, match=f"rank 0 expects 1 elements from rank {last}, .* 2"):
        group.alltoallv(sent, given, received, taken)
    group.alltoallv(received, taken, received.copy(), taken)  # and the ranks are in step


def test_counts_must_divide_the_arrays(group):
    whole, ones = np.ones(group.size), np.ones(group.size, int)
    for counts in (2 * ones, ones[:-1], -ones, ones.astype(float)):
        with pytest.raises(ShapeError, match="counts"):
            group.alltoallv(whole, counts, whole.copy(), ones)
    with pytest.raises(ShapeError, match="one dtype"):
        group.alltoallv(whole, ones, whole.astype("f4"), ones)
    group.barrier()
