"""Ranks that run out of data early go on with empty batches, and the means stay exact."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import nn, optim, parallel
from hpcad.errors import ShapeError
from hpcad.program.compiled import compile as compiled

pytestmark = pytest.mark.mpi

SIZES = {1: [(4, 3)], 2: [(4, 3, 2), (5,)], 3: [(2, 3), (), (1, 4, 2, 3)],
         4: [(), (3,), (2, 1, 4), (1, 2)]}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return parallel.init()


def make_data(world, make):
    """The batches of every rank; the same list everywhere."""
    rng = np.random.default_rng(0)
    return [[make(rng, n) for n in sizes] for sizes in SIZES[world.size]]


def whole(everything, step):
    """What all ranks have in a step, together."""
    now = [batches[step] for batches in everything if step < len(batches)]
    return tuple(np.concatenate(parts) for parts in zip(*now, strict=True))


def test_all_ranks_make_the_same_steps_and_see_their_batches(world):
    everything = make_data(world, lambda rng, n: rng.standard_normal((n, 3)))
    mine = everything[world.rank]
    found = list(parallel.join(iter(mine)))
    assert len(found) == max(map(len, everything))
    for given, got in zip(mine, found, strict=False):
        assert got is given
    for got in found[len(mine) :]:
        assert got.shape == (0, 3)
        assert got.dtype == np.float64


def test_trees_keep_their_form_also_on_a_rank_that_never_had_one(world):
    def make(rng, n):
        fields = {"y": rng.integers(0, 4, n), "z": [rng.random((n, 2)).astype(np.float32)]}
        return rng.standard_normal((n, 3)), fields, 0.5, np.array(7), None

    for x, fields, number, alone, nothing in parallel.join(make_data(world, make)[world.rank]):
        n = len(x)
        assert x.shape == (n, 3)
        assert fields["y"].shape == (n,)
        assert fields["y"].dtype == np.int64
        assert fields["z"][0].shape == (n, 2)
        assert fields["z"][0].dtype == np.float32
        assert (number, int(alone), nothing) == (0.5, 7, None)


def test_a_template_says_what_empty_batches_are_like(world):
    mine = [np.ones((2, 5))] if world.rank == world.size - 1 else []
    (batch,) = parallel.join(mine, template=np.ones((9, 5), np.float32))
    assert batch.shape == ((2, 5) if mine else (0, 5))
    assert batch.dtype == (np.float64 if mine else np.float32)


def test_no_data_at_all_is_no_step(world):
    assert list(parallel.join([])) == []
    assert list(parallel.join([], template=np.ones(3))) == []


def test_a_batch_of_other_things_is_an_error(world):
    with pytest.raises(ShapeError, match="a batch holds a set"):
        next(parallel.join([{1, 2}], parallel.SerialCommunicator()))


class Images(nn.Module):
    def __init__(self):
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), parallel.SyncBatchNorm(4)
        self.last = nn.Linear(16, 5)

    def forward(self, x):
        y = nn.max_pool2d(nn.relu(self.norm(self.conv(x))), 2)
        return self.last(nn.Flatten()(y))

    def example(self, rng, n):
        return rng.standard_normal((n, 4, 4, 1)), rng.integers(0, 5, n)


class Tokens(nn.Module):
    def __init__(self):
        self.embed, self.block = nn.Embedding(7, 8), nn.TransformerBlock(8, 2, bias=True)

    def forward(self, x):
        return self.block(self.embed(x)) @ self.embed.weight.T

    def example(self, rng, n):
        return rng.integers(0, 7, (n, 5)), rng.integers(0, 7, (n, 5))


class Sequences(nn.Module):
    def __init__(self):
        self.cell, self.last = nn.LSTM(3, 4), nn.Linear(4, 5)

    def forward(self, x):
        return self.last(self.cell(x)[0])

    def example(self, rng, n):
        return rng.standard_normal((n, 3, 3)), rng.integers(0, 5, (n, 3))


def make_step(model, mean):
    optimizer = optim.SGD(model, 0.2, clip_norm=0.5, momentum=0.9)

    def step(x, y):
        with nn.training_step(0, 0):
            losses = nn.cross_entropy(model(x), y, "none")
        loss = mean(losses)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@pytest.mark.parametrize("kind", [Images, Tokens, Sequences])
@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_training_to_the_last_sample_equals_one_process(world, kind, way):
    split, alone = kind().initialize(1, np.float64), kind().initialize(1, np.float64)
    if kind is Images:
        alone.norm = nn.BatchNorm(4).initialize(1, np.float64)
    parallel.DataParallel(split, world, bucket_mb=1e-3, first_bucket_mb=1e-4)
    step, reference = make_step(split, parallel.mean), make_step(alone, hnp.mean)
    if way == "compiled":
        step = compiled(step, strict=True, native=False)
    everything = make_data(world, split.example)
    for _ in range(3):  # several epochs: the programs of every size are run
        for k, (x, y) in enumerate(parallel.join(everything[world.rank])):
            expected = reference(*whole(everything, k))
            np.testing.assert_allclose(float(step(x, y)), float(expected), rtol=1e-8)
    for own, expected in zip(split.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(own.numpy(), expected.numpy(), rtol=1e-7, atol=1e-10)


def test_programs_in_c_take_empty_batches_too(world):
    model = nn.Linear(3, 4).initialize(1, np.float64)
    alone = nn.Linear(3, 4).initialize(1, np.float64)
    parallel.DataParallel(model, world)
    step, reference = (
        compiled(make_step(model, parallel.mean), strict=True),
        make_step(alone, hnp.mean),
    )
    everything = make_data(world, lambda rng, n: (rng.random((n, 3)), rng.integers(0, 4, n)))
    for _ in range(3):
        for k, batch in enumerate(parallel.join(everything[world.rank])):
            expected = reference(*whole(everything, k))
            np.testing.assert_allclose(float(step(*batch)), float(expected), rtol=1e-9)
    assert step.program.steps


def test_a_program_hears_how_many_samples_the_others_have(world):
    f = compiled(lambda x: parallel.mean(x * x), strict=True, native=False)
    for k in range(10):
        sizes = [4 if rank == 0 else (k * (rank + 1) if k > 4 else 4) for rank in range(world.size)]
        expected = np.dot(sizes, np.arange(1, world.size + 1) ** 2) / sum(sizes)
        found = f(np.full(sizes[world.rank], world.rank + 1.0))
        assert float(found) == pytest.approx(expected, rel=1e-12)
    assert world.rank > 0 or f.program.steps  # the same one from the third call on
