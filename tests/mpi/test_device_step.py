"""Compiled steps on the strict device, whose gradients are reduced between graphs."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import parallel
from hpcad.backend import strict

from .device_training import Training, assert_trained_alike, choose_anew

pytestmark = pytest.mark.mpi


@pytest.fixture(autouse=True)
def _staged(monkeypatch):
    choose_anew(monkeypatch, "staged")


def test_the_host_finds_the_same():
    one, host = Training("strict"), Training("cpu")
    np.testing.assert_allclose(one.losses(), host.losses(), rtol=1e-5)
    assert_trained_alike(one, host)
    # One graph for the forward pass, one up to each bucket that is complete, one for the update.
    alone = parallel.init().size == 1
    assert one.graphs == (1 if alone else len(one.engine.buckets) + 2)
    assert len(one.engine.buckets) > 1
    if not alone:
        assert "between CUDA graphs (a 'staged' communicator passes" in one.engine.describe()


def test_all_ranks_hold_the_same_parameters():
    training = Training("strict")
    training.losses()
    flat = np.concatenate([p.ravel() for p in training.parameters()])
    flat = flat.view(np.uint32).astype(np.int64)
    communicator = parallel.init().communicator
    low, high = flat.copy(), flat.copy()
    communicator.allreduce(low, "min", "lowest")
    communicator.allreduce(high, "max", "highest")
    np.testing.assert_array_equal(low, high)
    assert strict.COUNTS.graph_launches > 0
