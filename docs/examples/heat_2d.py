"""Where was the heat? A 2-D heat equation, cut into blocks, differentiated through its messages."""

import numpy as np

import hpcad
import hpcad.numpy as hnp
from hpcad import parallel

N, STEPS, RATE = 48, 30, 0.2  # points each way, time steps, diffusivity * dt / dx^2

world = hpcad.init()  # one process, or one rank of mpirun or srun
grid = parallel.Grid((2 if world.size % 2 == 0 else 1, -1), periodic=True)
here = grid.block((N, N))  # this rank's part of a global array


def step(u):
    wide = parallel.halo_exchange(u, grid)  # with one row of each neighbour
    around = wide[2:, 1:-1] + wide[:-2, 1:-1] + wide[1:-1, 2:] + wide[1:-1, :-2]
    return u + RATE * (around - 4 * u)


def simulate(u):
    for _ in range(STEPS):
        u = step(u)
    return u


y, x = np.meshgrid(np.arange(N), np.arange(N), indexing="ij")
truth = np.exp(-((x - 15) ** 2 + (y - 20) ** 2) / 40) + np.exp(
    -((x - 32) ** 2 + (y - 30) ** 2) / 60
)
observed = simulate(truth[here])


def misfit(u):
    """This rank's share; the objective is the sum over ranks."""
    return 0.5 * hnp.sum((simulate(u) - observed) ** 2)


def over_ranks(share):
    return float(parallel.allreduce(share))


# The adjoint: how the objective depends on every number of the initial state, in one run back.
u = np.zeros_like(observed)
descend = hpcad.compile(hpcad.value_and_grad(misfit))
for k in range(25):
    share, gradient = descend(u)
    loss = over_ranks(share)
    if world.is_root and k % 8 == 0:
        print(f"iteration {k:2d}  loss {loss:.6f}")
    u = u - gradient

# The tangent: how it changes along one direction, beside the run forward. They must agree.
v = np.random.default_rng(0).standard_normal((N, N))[here]
tangent = over_ranks(hpcad.jvp(misfit, (u,), (v,))[1])
adjoint = over_ranks(np.sum(hpcad.grad(misfit)(u) * v))
curvature = over_ranks(np.sum(hpcad.hvp(misfit, u, v) * v))
if world.is_root:
    print(f"along v: tangent {tangent:.9f}, adjoint {adjoint:.9f}, curvature {curvature:.6f}")
