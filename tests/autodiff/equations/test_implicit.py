"""Functions given by an equation: derivatives by the implicit function theorem."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Parameter
from hpcad.errors import ConvergenceError, DifferentiationError, ShapeError

RNG = np.random.default_rng(0)
A = 0.3 * RNG.standard_normal((4, 4))
B = RNG.standard_normal(4)


def close(found, expected, rtol=1e-9):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-11)


def square_root(a):
    return hpcad.root(lambda x, a: x * x - a, 1.0, a)


def heron(a):
    return hpcad.fixed_point(lambda x, a: 0.5 * (x + a / x), 1.0, a)


def by_forward(f):
    return lambda x: hpcad.jvp(f, (x,), (1.0,))[1]


@pytest.mark.parametrize("f", [square_root, heron])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_every_order_and_mode(f, order):
    a = 2.0
    closed = {1: 0.5 * a**-0.5, 2: -0.25 * a**-1.5, 3: 0.375 * a**-2.5}
    close(f(a), np.sqrt(a))
    for modes in itertools.product((hpcad.grad, by_forward), repeat=order):
        d = f
        for mode in modes:
            d = mode(d)
        close(d(a), closed[order])


def layer(x, A, b):
    return hnp.tanh(hnp.matmul(A, x) + b)


def test_a_layer_of_infinite_depth():
    x = hpcad.fixed_point(layer, np.zeros(4), A, B)
    close(layer(x, A, B), x)
    D = np.diag(1 - x * x)
    J = np.linalg.solve(np.eye(4) - D @ A, D)  # dx/db

    def solved(A, b):
        return hpcad.fixed_point(layer, np.zeros(4), A, b)

    close(hpcad.jacrev(solved, 1)(A, B), J)
    close(hpcad.jacfwd(solved, 1)(A, B), J)
    close(hpcad.jacrev(solved, 0)(A, B), J[:, :, None] * x)
    H = hpcad.hessian(lambda b: (solved(A, b) ** 2).sum())(B)
    close(H, H.T)
    unrolled = np.zeros(4)

    def looped(b):
        x = unrolled
        for _ in range(120):
            x = layer(x, A, b)
        return (x**2).sum()

    close(H, hpcad.hessian(looped)(B), rtol=1e-7)
    close(hpcad.linearize(lambda b: solved(A, b), B)[1](B), J @ B)


def test_root_over_trees_agrees_with_unrolled_newton():
    def equations(t, p):
        return {"v": t["v"] * t["u"] - p["c"], "u": t["u"] ** 3 + t["v"].sum() - p["d"][0]}

    def solved(p):
        t = hpcad.root(equations, {"u": 1.0, "v": np.ones(2)}, p)
        return (t["v"] ** 2).sum() * t["u"]

    p = {"c": np.array([0.5, 0.8]), "d": (3.0, None)}
    found = hpcad.grad(solved)(p)
    for key, delta in (("c", np.array([1e-6, 0.0])), ("d", 1e-6)):
        low = {**p, key: p[key] - delta if key == "c" else (3.0 - delta, None)}
        high = {**p, key: p[key] + delta if key == "c" else (3.0 + delta, None)}
        slope = (solved(high) - solved(low)) / 2e-6
        got = found["c"][0] if key == "c" else found["d"][0]
        close(got, slope, rtol=1e-6)
    assert found["d"][1] is None


def test_parameters_get_gradients_and_what_is_not_passed_is_refused():
    p = Parameter(np.array(2.0))
    square_root(p).backward()
    close(p.grad, 0.5 / np.sqrt(2.0))
    with pytest.raises(DifferentiationError, match="from its surroundings"):
        hpcad.root(lambda x: x * x - p, 1.0)
    with pytest.raises(DifferentiationError, match="from its surroundings"):
        hpcad.grad(lambda a: hpcad.fixed_point(lambda x: 0.5 * (x + a / x), 1.0))(2.0)


def test_a_solver_of_ones_own():
    def bisect(f, x0, *, tol, maxiter):
        low, high = 0.0, 4.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if f(middle) < 0 else (low, middle)
        return np.asarray(low)

    solved = lambda a: hpcad.root(lambda x, a: x * x - a, 1.0, a, solver=bisect)  # noqa: E731
    close(hpcad.grad(solved)(2.0), 0.5 / np.sqrt(2.0))


def test_no_convergence_says_how_far_off():
    with pytest.raises(ConvergenceError, match="fixed_point stopped with residual") as caught:
        hpcad.fixed_point(lambda x, a: a * x + 1.0, 0.0, 0.9, maxiter=10)
    assert caught.value.residual > 0.1
    with pytest.raises(ConvergenceError, match="newton stopped with residual"):
        hpcad.root(lambda x, a: x * x + a, 0.9, 1.0, maxiter=8)
    with pytest.raises(ConvergenceError, match="singular"):
        hpcad.root(lambda x: x * 0.0 + 1.0, 1.0)
    with pytest.raises(ConvergenceError, match="singular"):
        hpcad.grad(lambda a: hpcad.root(lambda x, a: (x - a) ** 2, 3.0, a, solver=lambda f, x,
                   tol, maxiter: np.asarray(3.0)))(3.0)  # fmt: skip


@pytest.mark.parametrize("maxiter", [100, 2000])
def test_an_iteration_that_leaves_all_bounds_has_not_converged(maxiter):
    with pytest.raises(ConvergenceError, match="may not be a contraction"), \
            np.errstate(over="ignore", invalid="ignore"):  # fmt: skip
        hpcad.fixed_point(lambda x, a: a * x + 1.0, 1.0, 2.0, maxiter=maxiter)


def test_single_precision_stays_single():
    x = hpcad.fixed_point(layer, np.zeros(4, np.float32), A.astype(np.float32), np.float32(B))
    assert x.dtype == np.float32
    gradient = hpcad.grad(
        lambda b: hpcad.root(lambda x, b: x**3 - b, np.ones(2, np.float32), b).sum()
    )(np.full(2, 8.0, np.float32))
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, 1 / 12, rtol=1e-5)


# -- linear systems ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 90])
@pytest.mark.parametrize("dtype", [float, complex])
def test_linear_solve_against_a_dense_solve(n, dtype):
    M = np.eye(n) * 3 + 0.5 * RNG.standard_normal((n, n)) / np.sqrt(n)
    b = RNG.standard_normal(n)
    if dtype is complex:
        M = M + 0.5j * RNG.standard_normal((n, n)) / np.sqrt(n)
        b = b + 1j * RNG.standard_normal(n)

    def solved(M, b):
        return hpcad.linear_solve(lambda x, M: hnp.matmul(M, x), b, M)

    x = np.linalg.solve(M, b)
    close(solved(M, b), x)
    g = RNG.standard_normal(n).astype(dtype)
    _, pullback = hpcad.vjp(solved, M, b)
    by_M, by_b = pullback(g)
    w = np.linalg.solve(M.T, g)
    close(by_b, w)
    close(by_M, -np.outer(w, x))
    tangent = hpcad.jvp(solved, (M, b), (M, g))[1]
    close(tangent, np.linalg.solve(M, g) - x)


def test_second_order_through_linear_solve_and_trees():
    M = np.array([[2.0, 0.5], [0.1, 1.5]])

    def f(s):
        t = hpcad.linear_solve(
            lambda t, s: {"x": hnp.matmul(M, t["x"]) * s, "y": t["y"] * s + t["x"].sum()},
            {"x": np.array([1.0, 2.0]), "y": 3.0},
            s,
        )
        return t["y"] + (t["x"] ** 2).sum()

    k = np.linalg.solve(M, [1.0, 2.0])
    # x = k / s, y = (3 - sum x) / s
    close(f(2.0), (3 - k.sum() / 2) / 2 + (k**2).sum() / 4)
    second = 6 / 8 - 6 * k.sum() / 16 + 6 * (k**2).sum() / 16
    for modes in itertools.product((hpcad.grad, by_forward), repeat=2):
        close(modes[0](modes[1](f))(2.0), second)


def test_gmres_that_stagnates_raises():
    n = 80
    shift = np.roll(np.eye(n), 1, axis=0)
    with pytest.raises(ConvergenceError, match="GMRES stopped after") as caught:
        hpcad.linear_solve(lambda x: hnp.matmul(shift, x), np.eye(n)[0], maxiter=100)
    assert caught.value.iterations >= 100
    assert hpcad.linear_solve(lambda x: x * 2, np.zeros(100)).tolist() == [0.0] * 100


def test_real_unknowns_of_a_complex_system_are_refused():
    with pytest.raises(ShapeError, match="unknowns \\(x0, b\\) of complex dtype"):
        hpcad.linear_solve(lambda x: x * 1j, np.ones(2))
    close(hpcad.linear_solve(lambda x: x * 1j, np.ones(2, complex)), -1j * np.ones(2))
    with pytest.raises(ShapeError, match="of complex dtype"):
        hpcad.fixed_point(lambda x: 0.5 * x + 1j, np.ones(2))


def test_arguments_that_are_not_arrays_are_passed_on():
    def equation(x, options):
        return x ** options["power"] - options["a"] if options["sign"] == "minus" else x

    def solved(a):
        return hpcad.root(equation, 1.0, {"a": a, "power": 3, "sign": "minus", "none": None})

    close(hpcad.grad(solved)(8.0), 1 / 12)
    close(hpcad.jvp(solved, (8.0,), (1.0,))[1], 1 / 12)


def test_solvers_nest_in_one_another_and_under_remat():
    """y' = -z with z^3 + z = k y: an equation inside of a differential equation."""

    def slope(y, t, k):
        return -hpcad.root(lambda z, y, k: z**3 + z - k * y, y, y, k)

    def last(k):
        return hpcad.odeint(slope, np.array(1.0), np.array([0.0, 1.0]), k, rtol=1e-8)[-1]

    step = 1e-5
    numeric = (last(1.3 + step) - last(1.3 - step)) / (2 * step)
    close(hpcad.grad(last)(1.3), numeric, rtol=1e-7)
    close(by_forward(last)(1.3), hpcad.grad(last)(1.3))
    close(by_forward(hpcad.grad(last))(1.3), hpcad.grad(by_forward(last))(1.3))
    again = hpcad.remat(square_root)
    close(hpcad.grad(hpcad.grad(again))(2.0), -0.25 * 2.0**-1.5)


SOLVERS = {
    "root": lambda c: lambda a: hpcad.root(lambda y, a: y * y - a * c, np.ones(3), a),
    "fixed_point": lambda c: lambda a: hpcad.fixed_point(lambda y, a: y / 5 + a * c, np.ones(3), a),
    "linear_solve": lambda c: lambda a: hpcad.linear_solve(lambda y: y * c, a),
    "default": lambda c: lambda a: hpcad.root(lambda y, a, c=c: y * y - a * c, np.ones(3), a),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_an_array_around_the_equation_that_has_changed_is_an_error(name):
    c, a = np.full(3, 2.0), np.array([1.0, 2.0, 3.0])
    solver = SOLVERS[name](c)
    _, pullback = hpcad.vjp(solver, a)
    _, pushforward = hpcad.linearize(solver, a)
    pullback(np.ones(3))
    pushforward(np.ones(3))
    c[0] = 5.0
    for derivative in pullback, pushforward:
        with pytest.raises(DifferentiationError, match="changed in place"):
            derivative(np.ones(3))
