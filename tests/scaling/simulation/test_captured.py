"""The workload of a job file: an MLP whose operations and gradients are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import ConfigError
from hpcad.models import REGISTRY
from hpcad.scaling.simulation.captured import captured

JOB = """
name = "mlp"
[model]
kind = "mlp"
hidden = [48, 32]
[data]
train = "builtin:digits/train"
batch = 64
[optimizer]
kind = "adam"
learning_rate = 1e-3
[training]
epochs = 1
"""
SIZES = [(64, 48), (48, 32), (32, 10)]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    path = tmp_path_factory.mktemp("job") / "mlp.toml"
    path.write_text(JOB)
    return captured(path, REGISTRY)


def padded(nbytes):
    """Every gradient begins on a cache line, and what lies between two of them is sent as well."""
    return -(-nbytes // 64) * 64


def products(work):
    """Pieces that are matrix products, and their operations of a sample."""
    per_sample = work.flops[:, 1]
    known = {2 * m * n for m, n in SIZES}
    return [int(i) for i in np.flatnonzero(np.isin(per_sample, list(known)))], per_sample


def test_products_of_the_forward_pass(load):
    at, flops = products(load.forward)
    assert [flops[i] for i in at] == [2 * m * n for m, n in SIZES]
    assert not load.forward.flops[at, 0].any()


def test_products_of_the_backward_pass(load):
    # Of each layer from the last one on dW and dx, but no dx of the first.
    at, flops = products(load.backward)
    wanted = [2 * m * n for m, n in SIZES]
    assert sorted(flops[at]) == sorted([*wanted, *wanted[1:]])


def test_gradients_are_ready_where_their_products_are_done(load):
    sizes = [padded(n) for m, k in reversed(SIZES) for n in (4 * k, 4 * m * k)]
    assert [gradient.nbytes for gradient in load.gradients] == sizes
    _, flops = products(load.backward)
    after = [gradient.after for gradient in load.gradients]
    for layer, (m, k) in enumerate(reversed(SIZES)):
        weight = after[2 * layer + 1]
        # When the weights' gradient is ready, its product has been made, and not that of the
        # layer before it.
        done = flops[:weight].tolist()
        assert 2 * m * k in done
        before = [2 * a * b for a, b in list(reversed(SIZES))[layer + 1 :]]
        assert not set(before) & set(done)
    assert after == sorted(after)
    assert after[-1] <= len(load.backward)
    assert after[1] < len(load.backward) / 2


def test_parameters_state_and_update(load):
    count = sum(m * n + n for m, n in SIZES)
    assert load.parameters == count
    assert load.gradient_bytes == pytest.approx(4 * count, rel=0.05)
    # Adam keeps two numbers for each parameter; arenas are padded to cache lines.
    assert load.state_bytes == pytest.approx(3 * 4 * count, rel=0.05)
    # Parameters and both moments read and written, gradients read.
    assert load.optimizer.nbytes[0, 0] == pytest.approx(7 * 4 * count, rel=0.05)


def test_bytes_have_a_part_of_any_batch(load):
    """The product of a layer reads its weights whatever the batch is."""
    at, _ = products(load.forward)
    fixed = load.forward.nbytes[at, 0]
    for (m, n), nbytes in zip(SIZES, fixed, strict=True):
        assert nbytes >= 4 * m * n
    assert (load.forward.nbytes[at, 1] > 0).all()


def test_a_job_may_ask_for_messages_and_for_no_overlap(tmp_path):
    path = tmp_path / "mlp.toml"
    path.write_text(JOB + "[parallel]\nbucket_mb = 0.01\noverlap = false\n")
    found = captured(path, REGISTRY, batch=8)
    assert found.reduction == "blocking"
    assert found.bucket_bytes == (1250.0, 10_000.0)
    assert found.batch == 8


def test_a_batch_that_there_are_no_samples_for(tmp_path):
    path = tmp_path / "mlp.toml"
    path.write_text(JOB)
    with pytest.raises(ConfigError, match="give --capture-batch"):
        captured(path, REGISTRY, batch=10**6)
