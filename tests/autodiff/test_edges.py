"""Edges of the rules: indices, labels, infinities, aliases, several losses on one tape."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import grad, nn, vjp
from hpcad.autodiff import Parameter
from hpcad.errors import ShapeError
from hpcad.models import CNN, CNNConfig, RecurrentClassifier, RecurrentConfig
from hpcad.primitives.attention import attention
from hpcad.primitives.indexing import take_rows
from hpcad.primitives.softmax import cross_entropy

X = np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (((0, 0),), [2, 0, 0]),
        (range(-3, 3), [2, 2, 2]),
        ([0, 2, 0], [2, 0, 1]),
        (np.array([True, False, True]), [1, 0, 1]),
        (slice(None, None, -1), [1, 1, 1]),
        ((..., None, 1), [0, 1, 0]),
    ],
)
def test_repeated_indices_accumulate(index, expected):
    np.testing.assert_array_equal(grad(lambda x: x[index].sum())(np.ones(3)), expected)


def test_rows_counted_from_the_end_are_the_same_rows():
    found = grad(lambda t: take_rows(t, np.array([-1, 2])).sum())(np.ones((3, 1)))
    np.testing.assert_array_equal(found, [[0], [0], [2]])
    p = Parameter(np.ones((3, 1)))
    p.grad = np.zeros((3, 1))
    take_rows(p, np.array([-1, 2])).sum().backward()
    np.testing.assert_array_equal(p.grad, found)


def test_rows_without_columns():
    assert grad(lambda t: take_rows(t, np.array([0, 0])).sum())(np.ones((3, 0))).shape == (3, 0)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(label):
    with pytest.raises(ShapeError, match=f"labels from {label} to {label} do not fit 3 classes"):
        cross_entropy(np.array([[1.0, 2.0, 3.0]]), np.array([label]))


def test_causal_attention_needs_a_key_for_every_query():
    with pytest.raises(ShapeError, match="4 queries but 2 keys"):
        attention(np.ones((4, 3)), np.ones((2, 3)), np.ones((2, 3)), causal=True)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_infinities_do_not_become_nan():
    assert vjp(lambda x, y: x * 2, np.array(1.0), np.array(np.inf))[1](1.0)[1] == 0
    assert grad(lambda x: -hnp.log(x))(np.array(0.0)) == -np.inf
    slope = grad(lambda x: hnp.log(hnp.unstack(x)[0]))(np.array([0.0, 1.0]))
    np.testing.assert_array_equal(slope, [np.inf, 0])


def test_gradients_belong_to_the_caller():
    g = grad(lambda x: x.sum())(np.ones(3))
    g += 1
    w = np.ones(2)
    a, b = vjp(lambda x, y: x + y, np.ones(2), np.ones(2))[1](w)
    assert not np.shares_memory(a, b)
    assert not np.shares_memory(a, w)


def test_functions_of_integers():
    x = np.array([0, 3])
    np.testing.assert_allclose(nn.sigmoid(x), 1 / (1 + np.exp(-x)))
    np.testing.assert_allclose(nn.softmax(x).sum(), 1)
    assert nn.relu(2.0) == 2.0


def test_losses_that_share_nothing_each_have_a_backward():
    p, q = Parameter(np.array(1.0)), Parameter(np.array(1.0))
    a, b = p * 2.0, q * 3.0
    a.backward()
    b.backward()
    assert (p.grad, q.grad) == (2.0, 3.0)


def test_the_two_losses_of_an_adversarial_pair():
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    fake = generator(X)
    critic(fake.detach()).sum().backward()
    assert generator.weight.grad is None
    critic(fake).sum().backward()
    assert generator.weight.grad is not None


def test_bookkeeping_does_not_grow_without_backward():
    p, y = Parameter(np.ones(3)), None
    for _ in range(3000):
        y = hnp.sin(p * 1.0)
    assert len(y.follower.avals) < 1500


def test_a_seed_may_be_a_number():
    p = Parameter(np.array(1.0))
    (p * 2).backward(1.0)
    assert p.grad == 2


def test_a_square_stays_in_single_precision():
    x = np.ones(1000, np.float32)
    _, pull = vjp(lambda x: x**2, x)
    pull(x)
    tracemalloc.start()
    pull(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * x.nbytes


def test_models_take_batches_without_samples():
    image = np.zeros((0, 8, 8), np.float32)
    assert CNN(CNNConfig([2], 4), (8, 8), 3)(image).shape == (0, 3)
    assert RecurrentClassifier(RecurrentConfig("gru", 4), 8, 3)(image).shape == (0, 3)
    assert nn.Linear(2, 3)(np.zeros((0, 2), np.float32)).shape == (0, 3)


def test_axes_are_checked_and_may_be_numpy_integers():
    with pytest.raises(ValueError, match="axis 5 is out of bounds"):
        hnp.expand_dims(np.ones(3), 5)
    with pytest.raises(ValueError, match="axis 7"):
        hnp.concatenate([np.ones((2, 3))] * 2, 7)
    with pytest.raises(ShapeError, match="at least one array"):
        hnp.concatenate([])
    assert hnp.mean(np.ones((2, 3)), np.int64(1)).shape == (2,)
    assert hnp.sum(np.ones((2, 3)), axis=[0, 1]) == 6
    assert hnp.argmax(np.eye(3), 1).tolist() == [0, 1, 2]


def test_tensors_print_their_values():
    assert str(hnp.arange(3.0)) == "[0. 1. 2.]"
    assert repr(hnp.arange(3.0)) == "Tensor(array([0., 1., 2.]))"
    assert repr(Parameter(np.ones(1))) == "Parameter(array([1.]), level=0)"
    seen = []
    grad(lambda x: seen.append((str(x), repr(x))) or x)(2.0)
    assert seen == [("2.0", "Tensor(array(2.), level=1)")]
