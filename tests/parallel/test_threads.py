"""Ranks of a node divide its cores."""

from __future__ import annotations

import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from hpcad.parallel import threads


@pytest.mark.parametrize(
    ("mine", "node", "expected"),
    [
        (range(8), [range(8)], 8),
        (range(8), [range(8)] * 4, 2),
        (range(8), [range(8)] * 3, 2),
        (range(2), [range(2)] * 4, 1),  # more ranks than cores
        (range(4), [range(4), range(4, 8)], 4),  # bound: nobody else may use my cores
        ([0], [[0], [1]], 1),
        (range(4), [range(4), range(2, 6)], 3),  # two own cores and half of two shared ones
    ],
)
def test_fair_share(mine, node, expected):
    assert threads.fair_share(mine, node) == expected


def test_available_cores_are_the_affinity_mask():
    assert set(threads.available_cores()) == os.sched_getaffinity(0)


def test_limit_blas_sets_loaded_libraries():
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits():  # restores what was
        assert threads.limit_blas(1, {}) == 1
        blas = [entry for entry in threadpool_info() if entry["user_api"] == "blas"]
        assert blas
        assert all(entry["num_threads"] == 1 for entry in blas)


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_user_decides(variable):
    assert threads.limit_blas(1, {variable: "3"}) is None
