"""Arenas: layout, views, alignment."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend import Arena

SHAPES = {"a": (3, 5), "b": (), "c": (0, 4), "d": (16,), "e": (1,)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_views_partition_the_arena(dtype):
    arena = Arena(SHAPES, dtype)
    for i, (name, view) in enumerate(arena.views.items(), start=1):
        assert view.shape == SHAPES[name]
        assert np.shares_memory(view, arena.flat) or view.size == 0
        view[...] = i
    for i, span in enumerate(arena.spans.values(), start=1):
        assert (arena.flat[span] == i).all()
    padding = arena.size - sum(v.size for v in arena.views.values())
    assert (arena.flat == 0).sum() == padding


def test_every_view_starts_on_a_cache_line():
    arena = Arena(SHAPES, np.float32)
    assert all(v.ctypes.data % 64 == 0 for v in arena.views.values())


def test_memory_comes_from_the_given_allocator():
    taken = []

    def allocate(nbytes):
        taken.append(np.zeros(nbytes, np.uint8))
        return taken[-1]

    arena = Arena(SHAPES, np.float64, allocate)
    assert np.shares_memory(arena.flat, taken[0])
    assert arena.like().flat.shape == arena.flat.shape
