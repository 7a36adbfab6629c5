from __future__ import annotations

import numpy as np
import pytest

from hpcad.data import ArrayDataset, Loader
from hpcad.data.augment import Augment, Flip, Noise, Shift
from hpcad.errors import DataError

N = 40


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return ArrayDataset({"x": rng.random((N, 6, 5, 2)).astype(np.float32), "y": np.arange(N)})


def epoch_of(dataset, changes, *, size=1, batch_size=8, cursor=0, seed=3):
    """Changed samples of the first two epochs by (epoch, id), from ranks of a world of ``size``."""
    found = {}
    for rank in range(size):
        augment = Augment(seed, changes)
        with Loader(dataset, batch_size, rank=rank, size=size, epochs=2, cursor=cursor) as loader:
            for batch in map(augment, loader):
                for i, sample in zip(batch.ids.tolist(), batch["x"], strict=True):
                    found[batch.epoch, i] = sample.copy()
    return found


CHANGES = [Flip("x"), Shift("x", 2), Noise("x", 0.1)]


def test_a_sample_is_changed_alike_at_any_world_size_batch_and_cursor(images):
    expected = epoch_of(images, CHANGES)
    for size, batch_size, cursor in [(3, 8, 0), (2, 7, 0), (1, 8, 45)]:
        for key, sample in epoch_of(
            images, CHANGES, size=size, batch_size=batch_size, cursor=cursor
        ).items():
            np.testing.assert_array_equal(sample, expected[key])


def test_epochs_seeds_and_changes_draw_anew(images):
    one, other = epoch_of(images, [Noise("x", 1.0)]), epoch_of(images, [Noise("x", 1.0)], seed=4)
    assert not np.array_equal(one[0, 5], one[1, 5])
    assert not np.array_equal(one[0, 5], other[0, 5])
    noise = one[0, 5] - images.read(np.array([5]))["x"][0]
    twice = epoch_of(images, [Noise("x", 1.0), Noise("x", 1.0)])[0, 5]
    assert not np.allclose(twice - images.read(np.array([5]))["x"][0], 2 * noise)


def test_flips_turn_the_stated_part(images):
    whole = np.arange(4000.0).reshape(1000, 2, 2)
    dataset = ArrayDataset({"x": whole})
    changed = epoch_of(dataset, [Flip("x", axis=1, probability=0.25)])
    turned = 0
    for i in range(1000):
        assert sorted(changed[0, i].ravel()) == sorted(whole[i].ravel())
        turned += np.array_equal(changed[0, i], whole[i][:, ::-1])
    assert 250 - 70 < turned < 250 + 70  # 5 standard errors


def test_shifts_move_zeros_in(images):
    ones = ArrayDataset({"x": np.ones((200, 5, 5))})
    lost = {tuple(s.sum(0).astype(int)) for s in epoch_of(ones, [Shift("x", 1)]).values()}
    assert len(lost) == 6  # up or down: a row is lost, or not; left, right, or none: a column
    for sample in epoch_of(ones, [Shift("x", 1)]).values():
        assert sample.sum() in (25, 20, 16)


def test_noise_is_normal():
    zeros = ArrayDataset({"x": np.zeros((2000, 7))})
    values = np.stack([v for (e, _), v in epoch_of(zeros, [Noise("x", 2.0)]).items() if e == 0])
    assert abs(values.mean()) < 0.09
    assert abs(values.std() - 2.0) < 0.06
    assert abs(np.corrcoef(values.T) - np.eye(7)).max() < 0.12


def test_an_unknown_field_is_an_error(images):
    with pytest.raises(DataError, match="'z'"), Loader(images, 4) as loader:
        Augment(0, [Flip("z")])(next(loader))
