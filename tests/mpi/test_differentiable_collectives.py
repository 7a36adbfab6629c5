"""Every collective is differentiated exactly, in both modes and their nestings, on all ranks."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import parallel
from hpcad.autodiff import grad, hvp, jvp, linearize, vhp, vjp
from hpcad.errors import ConfigError, ShapeError
from hpcad.parallel import init

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def comm():
    return init().communicator


@pytest.fixture(scope="module")
def naive():
    from mpi4py import MPI

    from hpcad.parallel.naive import NaiveCommunicator

    return NaiveCommunicator(MPI.COMM_WORLD.Dup())


# -- the collectives, as functions of an array (2 * size, 3) and a communicator --------------------


def _last(c):
    return c.size - 1


def _line(x, c):
    """To the next rank; nobody sends to the first, nor does the last send."""
    behind = c.rank + 1 if c.rank + 1 < c.size else None
    return parallel.sendrecv(x, behind, c.rank - 1 if c.rank else None, c)


def _one_message(x, c):
    """From the first rank to the last."""
    parts = [x]
    if c.rank == 0:
        parts.append(parallel.send(x, _last(c), c))
    if c.rank == _last(c):
        parts.append(parallel.recv(x, 0, c))
    return hnp.concatenate(parts)


LINEAR = {
    "allreduce": lambda x, c: parallel.allreduce(x, "sum", c),
    "allreduce mean": lambda x, c: parallel.allreduce(x, "mean", c),
    "reduce": lambda x, c: parallel.reduce(x, _last(c), c),
    "bcast": lambda x, c: parallel.bcast(x, _last(c), c),
    "gather": lambda x, c: parallel.gather(x, _last(c), c),
    "scatter": lambda x, c: parallel.scatter(x, _last(c), c),
    "allgather": lambda x, c: parallel.allgather(x, c),
    "reduce_scatter": lambda x, c: parallel.reduce_scatter(x, c),
    "alltoall": lambda x, c: parallel.alltoall(x, c),
    "scan": lambda x, c: parallel.scan(x, c),
    "reversed scan": lambda x, c: parallel.scan(x, c, reverse=True),
    "ring": lambda x, c: parallel.sendrecv(x, (c.rank + 1) % c.size, (c.rank - 1) % c.size, c),
    "line": _line,
    "send and recv": _one_message,
}
OTHERS = {
    "max": lambda x, c: parallel.allreduce(x, "max", c),
    "min": lambda x, c: parallel.allreduce(x, "min", c),
    "prod": lambda x, c: parallel.allreduce(x, "prod", c),
}
ALL = LINEAR | OTHERS
linear = pytest.mark.parametrize("name", LINEAR)
every = pytest.mark.parametrize("name", ALL)


def array(comm, seed, shape=None, dtype=float):
    """Numbers of this rank, no two alike."""
    rng = np.random.default_rng(100 * seed + comm.rank)
    x = rng.uniform(0.5, 1.5, shape or (2 * comm.size, 3))
    return (x + 1j * rng.uniform(0.5, 1.5, x.shape) if dtype is complex else x).astype(dtype)


def over_ranks(comm, value):
    total = np.array(value)
    comm.allreduce(total)
    return total[()]


def close(x, y, tolerance=1e-10):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


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


def by_reverse_over_reverse(f, x, v):
    return grad(lambda y: hnp.sum(grad(f)(y) * v))(x)


NESTINGS = {
    "forward over reverse": hvp,
    "reverse over forward": vhp,
    "reverse over reverse": by_reverse_over_reverse,
}


def loss_of(name, comm):
    """The loss of this rank: every rank weighs what it received otherwise."""

    def loss(x):
        y = ALL[name](hnp.sin(x), comm)
        return hnp.sum((comm.rank + 1) * y**3)

    return loss


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
