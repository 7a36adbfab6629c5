"""Ranks stay together in derivatives, whoever needs them; compiled, run again, and in errors."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import parallel
from hpcad.autodiff import grad, hvp, jvp, linearize
from hpcad.errors import ConfigError, ShapeError
from hpcad.parallel import init

from .differentiable_cases import ALL, NESTINGS, array, close, every, loss_of, over_ranks

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def comm():
    return init().communicator


# -- ranks that do not need what they received, or give constants --------------------------------


def lonely(name, comm, gives, needs):
    """Only rank ``gives`` passes its argument, only rank ``needs`` uses the result."""

    def loss(x):
        y = ALL[name](hnp.sin(x) if comm.rank == gives else np.ones_like(array(comm, 1)), comm)
        own = hnp.sum(x**3)
        return own + hnp.sum(y**3) if comm.rank == needs else own

    return loss


@every
def test_ranks_with_nothing_to_say_take_part_in_the_derivative(comm, name):
    loss, x, v, h = lonely(name, comm, 0, comm.size - 1), array(comm, 1), array(comm, 2), 1e-5
    slope = jvp(loss, (x,), (v,))[1]
    close(over_ranks(comm, np.sum(grad(loss)(x) * v)), over_ranks(comm, slope))
    expected = (grad(loss)(x + h * v) - grad(loss)(x - h * v)) / (2 * h)
    for nesting, product in NESTINGS.items():
        found = product(loss, x, v)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=nesting)


def test_metric_that_nobody_needs_does_no_harm(comm):
    def loss(x):
        parallel.allreduce(hnp.sin(x), "sum", comm)
        parallel.allgather(np.ones(2), comm)
        return hnp.sum(x**2)

    x = array(comm, 1)
    close(grad(loss)(x), 2 * x)
    _, push = linearize(loss, x)
    close(push(x), np.sum(2 * x * x))


def test_backward_reaches_attached_results(comm):
    p = hpcad.Parameter(array(comm, 1))
    y = parallel.bcast(p * p, 0, comm)
    own = hnp.sum(p)
    loss = own + hnp.sum(y) if comm.rank == comm.size - 1 else parallel.attach(own, y)
    loss.backward()
    close(p.grad, 1 + (2 * p.value if comm.rank == 0 else 0))


def test_backward_sends_messages_back(comm):
    p = hpcad.Parameter(array(comm, 1))
    loss = hnp.sum(p)
    if comm.rank == 0:
        loss = parallel.attach(loss, parallel.send(p * p, comm.size - 1, comm))
    if comm.rank == comm.size - 1:
        loss = loss + hnp.sum(parallel.recv(p, 0, comm))
    loss.backward()
    close(p.grad, 1 + (2 * p.value if comm.rank == 0 else 0))


# -- compiled --------------------------------------------------------------------------------------


@every
def test_compiled_gradient_and_tangent_are_the_eager_ones(comm, name):
    loss = loss_of(name, comm)
    # Gradient, tangent, and a Hessian times a vector, without a C compiler's time.
    both = hpcad.compile(lambda x, v: jvp(grad(loss), (x,), (v,)), strict=True, native=False)
    for seed in range(4):
        x, v = array(comm, seed), array(comm, 9)
        gradient, product = both(x, v)
        close(gradient, grad(loss)(x))
        close(product, hvp(loss, x, v))
    assert both.program is not None


def test_compiled_in_c_as_well(comm):
    loss = loss_of("prod", comm)
    gradient = hpcad.compile(grad(loss), strict=True)
    for seed in range(4):
        close(gradient(array(comm, seed)), grad(loss)(array(comm, seed)))
    assert gradient.program is not None


def test_constants_are_sent_anew_by_a_compiled_function(comm):
    base = np.full(3, float(comm.rank))
    f = hpcad.compile(lambda x: x + parallel.allreduce(base, "sum", comm), strict=True)
    for k in range(4):
        base[:] = comm.rank + k
        close(f(np.zeros(3)), np.full(3, comm.size * (k + (comm.size - 1) / 2)))


@pytest.mark.parametrize("name", ["max", "alltoall", "scan"])
def test_recomputation_runs_collectives_again(comm, name):
    x, v = array(comm, 1), array(comm, 2)

    def loss(x):
        ones = ALL[name](np.ones_like(v), comm)  # of a constant
        return loss_of(name, comm)(x) * hnp.sum(ones)

    close(grad(hpcad.remat(loss))(x), grad(loss)(x))
    for product in NESTINGS.values():
        close(product(hpcad.remat(loss), x, v), product(loss, x, v))


# -- errors ----------------------------------------------------------------------------------------


def test_uneven_blocks_say_so(comm):
    if comm.size == 1:
        pytest.skip("one rank divides every block")
    for call in (parallel.scatter, parallel.reduce_scatter, parallel.alltoall):
        with pytest.raises(ShapeError, match="multiple of the number of ranks"):
            call(np.ones(comm.size + 1), communicator=comm)


def test_numbers_have_no_blocks_and_roots_are_ranks(comm):
    for call in (parallel.gather, parallel.allgather, parallel.scatter):
        with pytest.raises(ShapeError, match="reshape it to"):
            call(np.array(1.0), communicator=comm)
    with pytest.raises(ConfigError, match="ranks 0 to"):
        parallel.reduce(np.ones(2), comm.size, comm)
    with pytest.raises(ConfigError, match="unknown reduction"):
        parallel.allreduce(np.ones(2), "median", comm)


def test_primitives_of_users_and_linear_solvers_may_communicate_inside(comm):
    norm = hpcad.primitive(
        lambda x: np.sqrt(comm_sum(comm, np.sum(x * x))),
        vjp=[lambda g, y, x: parallel.allreduce(g, "sum", comm) * x / y],
        jvp=[lambda t, y, x: parallel.allreduce(hnp.sum(t * x), "sum", comm) / y],
    )

    def by_parts(x):
        return hnp.sqrt(parallel.allreduce(hnp.sum(x * x), "sum", comm))

    x, v = array(comm, 1), array(comm, 2)
    close(grad(norm)(x), grad(by_parts)(x))
    close(jvp(norm, (x,), (v,))[1], jvp(by_parts, (x,), (v,))[1])
    for product in NESTINGS.values():
        close(product(norm, x, v), product(by_parts, x, v))


def comm_sum(comm, number):
    """The sum over ranks of a plain number, by the collective that is differentiable."""
    return np.asarray(parallel.allreduce(np.asarray(number), "sum", comm))
