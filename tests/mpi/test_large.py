"""Arrays of more than 2**31 bytes. They take memory and time, and run with ``-m slow``."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.parallel import init

from .groups import make_group

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

COUNT = (1 << 29) + 5  # float32: 20 bytes more than 2**31


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["mpi", "node"], ids=["by messages", "in shared memory"])
def test_more_than_two_gigabytes_are_reduced(kind):
    group = make_group(kind)
    array = group.allocate(4 * COUNT).view(np.float32)
    array[...] = group.rank + 1
    array[-3:] = 10 * group.rank
    group.allreduce(array)
    size = group.size
    assert (array[:-3] == size * (size + 1) / 2).all()
    assert (array[-3:] == 10 * size * (size - 1) / 2).all()
    assert init().size == size


@pytest.mark.timeout(300)
def test_more_than_two_gigabytes_are_broadcast():
    group = init().communicator
    array = np.full(COUNT, group.rank, np.float32)
    array[-1] = 7 + group.rank
    group.broadcast(array, group.size - 1)
    assert (array[:-1] == group.size - 1).all()
    assert array[-1] == 6 + group.size
