"""Data-parallel gradients equal those of one process on the whole batch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.models import MLP, MLPConfig
from hpcad.primitives.softmax import cross_entropy

N = 13
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((N, 6)), rng.integers(0, 4, N)


def make(seed=1):
    model = MLP(MLPConfig([9, 8, 7]), 6, 4)
    model.initialize(seed, np.float64)
    return model


def gradients(model):
    return [p.grad.copy() for p in model.parameters()]


def whole_batch(frozen=()):
    model = make()
    for i in frozen:
        model.parameters()[i].freeze()
    nn.cross_entropy(model(X), Y).backward()
    return model


def part(world, sizes=None):
    """This rank's slice of the batch; an uneven division by default, with an empty rank."""
    if sizes is None:
        sizes = [N - 5, 0, 3, 2] if world.size == 4 else [N - 5 * (world.size > 1), 5, 0]
    ends = np.cumsum(sizes[: world.size])
    stop = ends[world.rank] if world.rank < world.size - 1 else N
    return slice(ends[world.rank] - sizes[world.rank], stop)


def equal(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


@pytest.mark.mpi
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("bucket_mb", [1e-4, 1e-3, 4.0])
def test_uneven_parts_give_the_gradient_of_the_whole(bucket_mb, overlap):
    world, model = parallel.init(), make()
    parallel.DataParallel(
        model, world, bucket_mb=bucket_mb, first_bucket_mb=bucket_mb, overlap=overlap
    )
    mine = part(world)
    for _ in range(2):
        loss = parallel.mean(cross_entropy(model(X[mine]), Y[mine]))
        loss.backward()
        expected = whole_batch()
        equal(gradients(model), gradients(expected))
        for p in model.parameters():
            p.fresh = False  # as an optimizer step does
    np.testing.assert_allclose(float(loss), float(nn.cross_entropy(expected(X), Y)), rtol=1e-12)


@pytest.mark.mpi
def test_even_local_means_average_to_the_global_mean():
    world, model = parallel.init(), make()
    parallel.DataParallel(model, world)
    x, y = np.tile(X[:3], (world.size, 1)), np.tile(Y[:3], world.size)
    mine = slice(3 * world.rank, 3 * world.rank + 3)
    nn.cross_entropy(model(x[mine]), y[mine]).backward()
    alone = make()
    nn.cross_entropy(alone(x), y).backward()
    equal(gradients(model), gradients(alone))


@pytest.mark.mpi
def test_training_is_the_same_on_any_number_of_ranks():
    world, model, alone = parallel.init(), make(), make()
    parallel.DataParallel(model, world, bucket_mb=1e-3)
    a = optim.AdamW(model, 1e-2, clip_norm=0.5, weight_decay=0.1)
    b = optim.AdamW(alone, 1e-2, clip_norm=0.5, weight_decay=0.1)
    mine = part(world)
    for _ in range(10):
        parallel.mean(cross_entropy(model(X[mine]), Y[mine]), count=N).backward()
        nn.cross_entropy(alone(X), Y).backward()
        a.step()
        b.step()
    for p, q in zip(model.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(p.value, q.value, rtol=1e-9, atol=1e-12)


@pytest.mark.mpi
def test_accumulation_without_sync_and_with_it():
    world, expected = parallel.init(), whole_batch()
    for syncing in (False, True):
        model = make()
        engine = parallel.DataParallel(model, world, bucket_mb=1e-3)
        mine = part(world)
        middle = (mine.start + mine.stop) // 2
        first, second = slice(mine.start, middle), slice(middle, mine.stop)

        def share(rows, model=model):
            total = cross_entropy(model(X[rows]), Y[rows]).sum()
            return total * (world.size / N)

        if syncing:
            share(first).backward()
        else:
            with engine.no_sync():
                share(first).backward()
        share(second).backward()
        equal(gradients(model), gradients(expected))


@pytest.mark.mpi
def test_a_rank_may_skip_a_step():
    world, model = parallel.init(), make()
    engine = parallel.DataParallel(model, world)
    if world.rank == 0:
        (cross_entropy(model(X), Y).sum() * (world.size / N)).backward()
    else:
        engine.skip()
    equal(gradients(model), gradients(whole_batch()))


@pytest.mark.mpi
def test_unused_and_frozen_parameters():
    world, model = parallel.init(), make()
    model.spare = nn.Parameter(np.ones(5))
    model.layers[0].weight.freeze()
    parallel.DataParallel(model, world, bucket_mb=1e-4, first_bucket_mb=1e-4)
    model.spare.grad[...] = 7.0
    mine = part(world)
    parallel.mean(cross_entropy(model(X[mine]), Y[mine])).backward()
    expected = whole_batch(frozen=[0])
    equal(gradients(model)[1:-1], gradients_or_none(expected)[1:])
    assert not model.spare.grad.any()
    assert not model.layers[0].weight.grad.any()


def gradients_or_none(model):
    return [p.grad for p in model.parameters()]


@pytest.mark.mpi
def test_a_regulariser_on_the_parameters_counts_once():
    world, model, alone = parallel.init(), make(), make()
    parallel.DataParallel(model, world)
    mine = part(world)

    def penalty(m):
        return sum((p * p).sum() for p in m.parameters()) * 0.01

    (parallel.mean(cross_entropy(model(X[mine]), Y[mine])) + penalty(model)).backward()
    (nn.cross_entropy(alone(X), Y) + penalty(alone)).backward()
    equal(gradients(model), gradients(alone))


@pytest.mark.mpi
def test_parameters_come_from_rank_0():
    world = parallel.init()
    model = make(seed=world.rank)
    parallel.DataParallel(model, world)
    equal([p.value for p in model.parameters()], [p.value for p in make(seed=0).parameters()])


@pytest.mark.mpi
def test_gradients_are_contiguous_in_the_communicators_memory():
    world, model = parallel.init(), make()
    engine = parallel.DataParallel(model, world, bucket_mb=1e-4, first_bucket_mb=1e-4)
    (arena,) = engine.arenas
    assert len(engine.buckets) > 3
    covered = sorted((b.span.start, b.span.stop) for b in engine.buckets)
    assert covered[0][0] == 0
    assert covered[-1][1] == arena.grads.size
    assert all(a[1] == b[0] for a, b in itertools.pairwise(covered))


@pytest.mark.mpi
@pytest.mark.parametrize("overlap", [True, False])
def test_reductions_start_while_backward_still_runs(overlap, monkeypatch):
    world, model = parallel.init(), make()
    engine = parallel.DataParallel(
        model, world, bucket_mb=1e-4, first_bucket_mb=1e-4, overlap=overlap
    )
    unfinished = []
    start = engine._in_flight._start

    def watched(bucket):
        unfinished.append(sum(b.pending for b in engine.buckets))
        return start(bucket)

    monkeypatch.setattr(engine._in_flight, "_start", watched)
    mine = part(world)
    parallel.mean(cross_entropy(model(X[mine]), Y[mine])).backward()
    assert len(unfinished) == len(engine.buckets)
    if overlap:
        assert unfinished[0] > 0
        assert unfinished == sorted(unfinished, reverse=True)
    else:
        assert set(unfinished) == {0}


@pytest.mark.mpi
def test_unfreezing_after_the_engine_was_made():
    world, model = parallel.init(), make()
    for p in model.parameters()[:-2]:
        p.freeze()
    parallel.DataParallel(model, world, bucket_mb=1e-4, first_bucket_mb=1e-4)
    for p in model.parameters():
        p.freeze(False)
    mine = part(world)
    parallel.mean(cross_entropy(model(X[mine]), Y[mine])).backward()
    equal(gradients(model), gradients(whole_batch()))


@pytest.mark.mpi
def test_a_backward_pass_that_raised_on_all_ranks_leaves_nothing_behind(monkeypatch):
    from hpcad.primitives.elementwise import relu

    world, model = parallel.init(), make()
    parallel.DataParallel(model, world, bucket_mb=1e-4, first_bucket_mb=1e-4)
    mine = part(world)

    def broken(*_):
        raise RuntimeError("a rule that fails")

    hidden = relu(model.layers[0](X[mine]))
    with monkeypatch.context() as patch:
        patch.setattr(relu, "vjp", (broken,))
        loss = parallel.mean(cross_entropy(model.layers[2](model.layers[1](hidden)), Y[mine]))
        with pytest.raises(RuntimeError, match="a rule that fails"):
            loss.backward()
    parallel.mean(cross_entropy(model(X[mine]), Y[mine])).backward()
    equal(gradients(model), gradients(whole_batch()))
