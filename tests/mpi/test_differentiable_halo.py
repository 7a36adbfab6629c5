"""Halos on grids of ranks are those of the whole array, and so are their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import parallel
from hpcad.autodiff import grad, hvp, jvp, vjp
from hpcad.errors import ConfigError, ShapeError
from hpcad.parallel import init

pytestmark = pytest.mark.mpi

WHOLE = np.random.default_rng(3).standard_normal((9, 10, 2))  # which no number of ranks divides


def grids():
    size = init().communicator.size
    for shape in [(size, 1), (1, -1)] + ([(2, 2)] if size == 4 else []):
        for periodic in (False, True, (True, False)):
            yield parallel.Grid(shape, periodic, init().communicator)


def padded(whole, grid, width):
    """The whole array with a rim: around the corner, or zeros."""
    for axis, periodic in enumerate(grid.periodic):
        rim = [(0, 0)] * whole.ndim
        rim[axis] = (width, width)
        whole = np.pad(whole, rim, mode="wrap" if periodic else "constant")
    return whole


def wider(block, width):
    return tuple(slice(part.start, part.stop + 2 * width) for part in block)


@pytest.mark.parametrize("width", [1, 2])
def test_halo_is_cut_out_of_the_whole_array(width):
    for grid in grids():
        block = grid.block(WHOLE.shape)
        found = parallel.halo_exchange(WHOLE[block], grid, width)
        expected = padded(WHOLE, grid, width)[wider(block, width)]
        np.testing.assert_array_equal(found, expected)


def test_blocks_are_the_whole_array_once():
    for grid in grids():
        count = np.zeros(WHOLE.shape)
        count[grid.block(WHOLE.shape)] += 1
        grid.communicator.allreduce(count)
        assert (count == 1).all()


def test_adjoint_adds_the_rim_to_where_it_came_from():
    for grid in grids():
        x = WHOLE[grid.block(WHOLE.shape)]
        y, pull = vjp(lambda x, grid=grid: parallel.halo_exchange(x, grid), x)
        w = np.random.default_rng(grid.communicator.rank).standard_normal(y.shape)
        both = np.array([np.sum(w * y), np.sum(pull(w)[0] * x)])
        grid.communicator.allreduce(both)
        np.testing.assert_allclose(both[0], both[1], rtol=1e-12)
        again = vjp(lambda w, pull=pull: pull(w)[0], w)[1](x)[0]
        np.testing.assert_allclose(again, y)
        np.testing.assert_allclose(
            jvp(lambda x, grid=grid: parallel.halo_exchange(x, grid), (x,), (x,))[1], y
        )


def energy(u):
    """Of an array with a rim, at the points inside: nonlinear, so that it has second derivatives"""
    slope = (u[2:, 1:-1] - u[:-2, 1:-1]) * (u[1:-1, 2:] + u[1:-1, :-2])
    return hnp.sum(hnp.sin(slope))


def test_gradient_and_hessian_are_those_of_one_process():
    v = np.random.default_rng(4).standard_normal(WHOLE.shape)
    for grid in grids():
        alone = parallel.Grid((1, 1), grid.periodic, parallel.SerialCommunicator())
        here = grid.block(WHOLE.shape)

        def loss(x, grid):
            return energy(parallel.halo_exchange(x, grid))

        def local(x, grid=grid):
            return loss(x, grid)

        def whole(x, alone=alone):
            return loss(x, alone)

        np.testing.assert_allclose(grad(local)(WHOLE[here]), grad(whole)(WHOLE)[here], atol=1e-12)
        np.testing.assert_allclose(
            hvp(local, WHOLE[here], v[here]), hvp(whole, WHOLE, v)[here], atol=1e-11
        )


def test_rim_wider_than_the_block_is_refused():
    grid = parallel.Grid((-1,), True, init().communicator)
    with pytest.raises(ShapeError, match="at least as long as the rim"):
        parallel.halo_exchange(np.ones(2), grid, 3)


@pytest.mark.parametrize("shape", [(7, 3), (-1, -1), (-1, 5), (0, -1)])
def test_grid_that_does_not_fit_the_ranks_is_refused(shape):
    with pytest.raises(ConfigError, match="as many points"):
        parallel.Grid(shape, communicator=init().communicator)
