"""States on disk: they come back as they were, and no file outlives the derivative."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, grad, remat_sequence
from hpcad.errors import CheckpointError

X = np.linspace(-1.0, 1.2, 5)
V = np.array([1.0, -2.0, 0.5, 3.0, 1.0])


def body(x):
    return hnp.sin(x) * hnp.exp(0.3 * x)


def files(directory):
    return [name for _, _, names in os.walk(directory) for name in names]


def test_states_are_spilled_and_the_directory_is_removed(tmp_path):
    seen = []

    def step(x):
        seen.append(len(files(tmp_path)))
        return hnp.sin(x) * 1.1

    run = remat_sequence((step, 30), 2, disk_slots=3, directory=tmp_path, disk_cost=(0.5, 0.1))
    found = grad(lambda x: run(x).sum())(X)
    assert max(seen) == 3
    assert list(tmp_path.iterdir()) == []
    expected = grad(lambda x: remat_sequence((step, 30), 30)(x).sum())(X)
    np.testing.assert_array_equal(found, expected)


def test_the_directory_goes_when_the_tensors_go(tmp_path):
    run = remat_sequence((body, 10), 1, disk_slots=3, directory=tmp_path)
    y = run(Parameter(X.copy()))
    assert files(tmp_path)
    del y
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails_at", [7, 14])
def test_the_directory_goes_after_an_error(tmp_path, fails_at):
    count = []

    def step(x):
        count.append(1)
        if len(count) == fails_at:
            raise RuntimeError("stop")
        return hnp.sin(x)

    run = remat_sequence((step, 10), 1, disk_slots=3, directory=tmp_path)
    with pytest.raises(RuntimeError, match="stop"):
        run(Parameter(X.copy())).sum().backward()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["remove", "truncate", "flip"])
def test_a_file_that_was_harmed_is_noticed(tmp_path, harm):
    run = remat_sequence((body, 10), 1, disk_slots=3, directory=tmp_path)
    loss = run(Parameter(X.copy())).sum()
    for path in tmp_path.glob("*/*.npy"):
        content = path.read_bytes()
        if harm == "remove":
            path.unlink()
        elif harm == "truncate":
            path.write_bytes(content[:-8])
        else:
            path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    with pytest.raises(CheckpointError, match=r"cannot be read back|is damaged"):
        loss.backward()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    run = remat_sequence((body, 10), 1, disk_slots=3, directory=tmp_path / "no")
    with pytest.raises(CheckpointError, match="pass a directory that exists"):
        run(Parameter(X.copy()))


def test_a_state_with_constants_of_all_kinds_comes_back_from_disk():
    table = np.arange(5)

    def step(state):
        x, mask, name, number = state
        assert name == "name"
        return hnp.where(mask, hnp.sin(x), x * 0.9), ~mask, name, number + table

    first = (X, np.array([True, False, True, True, False]), "name", np.zeros(5, int))

    def by_hand(state):
        for _ in range(9):
            state = step(state)
        return state

    run = remat_sequence((step, 9), 1, disk_slots=4, disk_cost=0.0)
    found = grad(lambda x: run((x, *first[1:]))[0].sum())(X)
    np.testing.assert_array_equal(found, grad(lambda x: by_hand((x, *first[1:]))[0].sum())(X))
