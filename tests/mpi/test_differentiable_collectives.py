"""Every collective is differentiated exactly, in both modes and their nestings, on all ranks."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import parallel
from hpcad.autodiff import grad, hvp, jvp, linearize, vhp, vjp
from hpcad.parallel import init

from .differentiable_cases import ALL, NESTINGS, array, close, every, linear, loss_of, over_ranks
from .groups import make_group

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def comm():
    return init().communicator


@pytest.fixture(scope="module")
def naive():
    return make_group("naive")


# -- first derivatives -----------------------------------------------------------------------------


@linear
def test_pullback_is_the_adjoint_over_all_ranks(comm, name):
    for dtype in (float, complex):
        x = array(comm, 1, dtype=dtype)
        y, pull = vjp(lambda x: ALL[name](x, comm), x)
        w = array(comm, 2, y.shape, dtype)
        (g,) = pull(w)
        assert g.shape == x.shape
        close(over_ranks(comm, np.sum(w * y)), over_ranks(comm, np.sum(g * x)))


@linear
def test_transposed_twice_is_the_collective_itself(comm, name):
    x = array(comm, 1)
    y, pull = vjp(lambda x: ALL[name](x, comm), x)
    _, pull_of_pull = vjp(lambda w: pull(w)[0], np.zeros_like(y))
    close(pull_of_pull(x)[0], y)


@every
def test_tangent_is_the_central_difference(comm, name):
    x, t, h = array(comm, 1), array(comm, 2), 1e-5
    y, tangent = jvp(lambda x: ALL[name](x, comm), (x,), (t,))
    ahead, behind = ALL[name](x + h * t, comm), ALL[name](x - h * t, comm)
    np.testing.assert_allclose(tangent, (ahead - behind) / (2 * h), rtol=1e-7, atol=1e-8)
    close(y, ALL[name](x, comm))
    _, push = linearize(lambda x: ALL[name](x, comm), x)
    close(push(t), tangent)


@every
def test_pullback_and_tangent_are_one_linear_map(comm, name):
    x, t = array(comm, 1), array(comm, 2)
    y, tangent = jvp(lambda x: ALL[name](x, comm), (x,), (t,))
    w = array(comm, 3, y.shape)
    (g,) = vjp(lambda x: ALL[name](x, comm), x)[1](w)
    close(over_ranks(comm, np.sum(w * tangent)), over_ranks(comm, np.sum(g * t)))


@every
def test_value_is_the_naive_communicator_s(comm, naive, name):
    x = array(comm, 1)
    close(ALL[name](x, comm), ALL[name](x, naive))
    f = lambda c: grad(lambda x: hnp.sum(hnp.sin(ALL[name](x, c))))(x)  # noqa: E731
    close(f(comm), f(naive))


@pytest.mark.parametrize("op", ["max", "min"])
def test_ties_are_split_evenly_over_the_ranks(comm, op):
    x = np.array([1.0, 2.0, float(comm.rank)])
    g = grad(lambda x: hnp.sum(parallel.allreduce(x, op, comm)))(x)
    winner = comm.rank == (comm.size - 1 if op == "max" else 0)
    close(g, [1, 1, comm.size if winner else 0])  # the sum over ranks of `size` equal results


def test_product_is_differentiated_exactly_at_zeros(comm):
    x = np.array([0.0 if comm.rank == 0 else 2.0, 0.0])
    g = grad(lambda x: parallel.allreduce(x, "prod", comm).sum() / comm.size)(x)
    first = 2.0 ** (comm.size - 1) if comm.rank == 0 else 0.0
    close(g, [first, 1.0 if comm.size == 1 else 0.0])


# -- second derivatives ----------------------------------------------------------------------------


@every
def test_second_derivative_is_the_difference_of_gradients_in_every_nesting(comm, name):
    loss, x, v, h = loss_of(name, comm), array(comm, 1), array(comm, 2), 1e-5
    expected = (grad(loss)(x + h * v) - grad(loss)(x - h * v)) / (2 * h)
    for nesting, product in NESTINGS.items():
        found = product(loss, x, v)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=nesting)


@every
def test_third_derivatives_agree(comm, name):
    loss, x, v = loss_of(name, comm), array(comm, 1), array(comm, 2)
    forwards = jvp(lambda y: hvp(loss, y, v), (x,), (v,))[1]
    backwards = grad(lambda y: hnp.sum(vhp(loss, y, v) * v))(x)
    close(forwards, backwards, 1e-9)


def test_data_parallel_loss_has_the_derivatives_of_one_process(comm):
    """Uneven batches and replicated weights: gradient, tangent, and each nesting of both."""
    rng = np.random.default_rng(5)
    batch, weights, v = rng.standard_normal((7, 3)), rng.standard_normal(3), np.ones(3)
    mine = np.array_split(batch, comm.size)[comm.rank]

    def loss(w):
        return parallel.mean(hnp.tanh(hnp.asarray(mine) @ w) ** 2, comm)

    def alone(w):
        return hnp.mean(hnp.tanh(hnp.asarray(batch) @ w) ** 2)

    close(jvp(loss, (weights,), (v,))[1], jvp(alone, (weights,), (v,))[1])
    close(parallel.allreduce(grad(loss)(weights), "mean", comm), grad(alone)(weights))
    for product in NESTINGS.values():
        found = parallel.allreduce(product(loss, weights, v), "mean", comm)
        close(found, hvp(alone, weights, v))
