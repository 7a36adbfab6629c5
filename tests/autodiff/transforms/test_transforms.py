"""The transforms against closed forms, over pytrees, argument numbers and modes."""

from __future__ import annotations

import dataclasses
import sys
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Parameter, Tensor
from hpcad.errors import DifferentiationError, ShapeError

Pair = namedtuple("Pair", "left right")
A = np.array([[1.0, 2.0, 0.5], [0.3, -1.0, 2.0]])
X = np.array([0.4, -0.7, 1.1])


@dataclasses.dataclass(frozen=True)
class Point:
    x: object
    y: object


def affine(x):
    return hnp.matmul(A, x)


def close(found, expected, rtol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-14)


# -- gradients ----------------------------------------------------------------------------


def test_gradient_of_a_tree_is_a_tree_of_the_same_containers():
    def f(tree):
        return (tree["a"][0] * tree["a"][1].left).sum() + tree["b"].x * tree["b"].y

    one, two = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    found = hpcad.grad(f)({"a": [one, Pair(two, None)], "b": Point(5.0, 6.0)})
    assert list(found) == ["a", "b"]
    close(found["a"][0], two)
    assert type(found["a"][1]) is Pair
    close(found["a"][1].left, one)
    assert found["a"][1].right is None
    assert found["b"] == Point(6.0, 5.0)


def test_negative_and_several_argnums():
    def f(x, y, z):
        return x * y * z

    assert hpcad.grad(f, -1)(2.0, 3.0, 5.0) == 6.0
    assert hpcad.grad(f, (0, -1))(2.0, 3.0, 5.0) == (15.0, 6.0)
    assert hpcad.grad(f, [1])(2.0, 3.0, 5.0) == (10.0,)
    assert hpcad.grad(f, np.int64(1))(2.0, 3.0, 5.0) == 10.0
    with pytest.raises(DifferentiationError, match="names an argument twice"):
        hpcad.grad(f, (0, -3))(2.0, 3.0, 5.0)
    with pytest.raises(DifferentiationError, match="argument 3, but the function was called with"):
        hpcad.grad(f, 3)(2.0, 3.0, 5.0)


def test_keyword_arguments_are_passed_through():
    def f(x, *, power, names=()):
        assert names == ["anything"]
        return (x**power).sum()

    close(hpcad.grad(f)(X, power=3, names=["anything"]), 3 * X**2)
    close(hpcad.jacobian(f)(X, power=3, names=["anything"]), 3 * X**2)


def test_auxiliary_results_leave_as_values():
    def f(x):
        y = hnp.sin(x)
        return y.sum(), {"y": y, "name": "sine", "twice": (y * 2,)}

    gradient, aux = hpcad.grad_and_aux(f)(X)
    close(gradient, np.cos(X))
    assert type(aux["y"]) is np.ndarray
    close(aux["twice"][0], 2 * np.sin(X))
    assert aux["name"] == "sine"
    (value, _), _ = hpcad.value_and_grad(f, has_aux=True)(X)
    close(value, np.sin(X).sum())
    assert hpcad.grad(f, has_aux=True)(X)[1]["name"] == "sine"
    assert hpcad.jacobian(f, has_aux=True)(X)[1]["name"] == "sine"
    close(hpcad.hessian(f, has_aux=True)(X)[0], np.diag(-np.sin(X)))
    close(hpcad.hessian(f, has_aux=True)(X)[1]["y"], np.sin(X))
    for transform in (hpcad.vjp, hpcad.linearize):
        close(transform(f, X, has_aux=True)[2]["y"], np.sin(X))
    close(hpcad.jvp(f, (X,), (X,), has_aux=True)[2]["y"], np.sin(X))
    with pytest.raises(DifferentiationError, match="must return a pair"):
        hpcad.grad(affine, has_aux=True)(X)


def test_elementwise_grad_is_the_derivative_of_each_element():
    close(hpcad.elementwise_grad(hnp.tanh)(X), 1 - np.tanh(X) ** 2)
    second = hpcad.elementwise_grad(hpcad.elementwise_grad(hnp.tanh))
    close(second(X), -2 * np.tanh(X) * (1 - np.tanh(X) ** 2))
    by_both = hpcad.elementwise_grad(lambda x, y: x * y, (0, 1))(X, 2.0)
    close(by_both[0], np.full(3, 2.0))
    close(by_both[1], X.sum())


def test_complex_gradients_are_not_conjugated():
    assert hpcad.grad(lambda z: abs(z) ** 2)(1 + 2j) == 2 - 4j
    assert hpcad.grad(lambda z: z**2, holomorphic=True)(1 + 2j) == 2 + 4j
    assert hpcad.elementwise_grad(lambda z: z * z, holomorphic=True)(1j) == 2j
    for transform in (hpcad.grad, hpcad.elementwise_grad):
        with pytest.raises(DifferentiationError, match="holomorphic=True"):
            transform(lambda z: z**2)(1 + 2j)


@pytest.mark.parametrize("transform", [hpcad.vjp, hpcad.linearize])
def test_constant_tensors_are_taken_and_plain_arrays_come_back(transform):
    value, linear = transform(lambda x: x * 2.0, hpcad.tensor(X))
    assert type(value) is np.ndarray
    found = linear(hpcad.tensor(X))
    assert type(found[0] if isinstance(found, tuple) else found) is np.ndarray


def test_gradient_with_respect_to_a_parameter_is_recorded_for_backward():
    p = Parameter(np.array(3.0))
    slope = hpcad.grad(lambda x: x**3)(p)
    assert isinstance(slope, Tensor)
    slope.backward()
    assert p.grad == 18.0


# -- errors that name the place -----------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "where"),
    [
        ({"w": [1.0, 2.0, "three"]}, r"args\[1\]\['w'\]\[2\] is a str"),
        (Point(1.0, Pair(object(), 2.0)), r"args\[1\]\.y\.left is a object"),
        ([np.arange(3)], r"args\[1\]\[0\], whose dtype is int64"),
        ((True,), r"args\[1\]\[0\] is a bool"),
    ],
)
def test_a_leaf_that_cannot_be_differentiated_is_named_by_its_path(tree, where):
    with pytest.raises(DifferentiationError, match=where):
        hpcad.grad(lambda x, t: x, argnums=(0, 1))(1.0, tree)
    with pytest.raises(DifferentiationError, match=where):
        hpcad.jvp(lambda x, t: x, (1.0, tree), (1.0, tree))


def test_tangents_and_cotangents_are_checked_by_structure_and_shape():
    with pytest.raises(DifferentiationError, match=r"tangents has structure.*primals has"):
        hpcad.jvp(lambda t: t["a"], ({"a": 1.0},), ({"b": 1.0},))
    with pytest.raises(DifferentiationError, match=r"write \(x,\)"):
        hpcad.jvp(affine, X, X)
    with pytest.raises(ShapeError, match=r"tangent has shape \(2,\)"):
        hpcad.jvp(affine, (X,), (np.ones(2),))
    _, pullback = hpcad.vjp(lambda x: {"y": x}, X)
    with pytest.raises(DifferentiationError, match="cotangent has structure list"):
        pullback([X])
    _, pushforward = hpcad.linearize(affine, X)
    with pytest.raises(DifferentiationError, match="tuple of tangents"):
        pushforward(X, X)


def test_order_of_keys_does_not_matter():
    def f(t):
        return {"u": t["a"] * 2.0, "v": t["b"] * 3.0}

    primal = {"a": np.ones(1), "b": np.ones(2)}
    direction = {"b": np.full(2, 7.0), "a": np.full(1, 5.0)}
    _, tangent = hpcad.jvp(f, (primal,), (direction,))
    assert (tangent["u"][0], tangent["v"][0]) == (10.0, 21.0)
    _, pullback = hpcad.vjp(f, primal)
    (found,) = pullback({"v": np.ones(2), "u": np.full(1, 4.0)})
    assert list(found) == ["a", "b"]
    assert (found["a"][0], found["b"][0]) == (8.0, 3.0)
    found = hpcad.hvp(lambda t: (t["a"] ** 3).sum() + (t["b"] ** 2).sum(), primal, direction)
    assert (found["a"][0], found["b"][0]) == (30.0, 14.0)


def test_ordered_dictionaries_and_lists_of_numbers_are_trees():
    found = hpcad.grad(lambda t: t["x"] * t["y"])(OrderedDict(x=2.0, y=3.0))
    assert found == OrderedDict(x=3.0, y=2.0)
    assert type(found) is OrderedDict
    assert hpcad.grad(lambda t: t[0] * t[1])([2.0, 5.0]) == [5.0, 2.0]


# -- Jacobians ----------------------------------------------------------------------------

ALL = [hpcad.jacobian, hpcad.jacfwd, hpcad.jacrev]


@pytest.mark.parametrize("transform", ALL)
def test_jacobian_of_a_linear_map_is_its_matrix(transform):
    close(transform(affine)(X), A)
    close(transform(lambda x: hnp.matmul(A.T, x))(np.ones(2)), A.T)
    assert transform(lambda x: x.reshape(3, 1))(X).shape == (3, 1, 3)
    assert transform(lambda x: x * x)(2.0) == 4.0


@pytest.mark.parametrize("transform", ALL)
def test_jacobian_of_trees_is_a_tree_of_trees(transform):
    def f(t, y):
        return [t["a"] * y, (t["b"] * t["b"]).sum(), np.ones(2)]

    a, b, y = np.array([1.0, 2.0]), np.array([[3.0, 4.0, 5.0]]), np.array(2.0)
    found = transform(f, (0, 1))({"a": a, "b": b}, y)
    close(found[0][0]["a"], 2 * np.eye(2))
    close(found[0][0]["b"], np.zeros((2, 1, 3)))
    close(found[0][1], a)
    close(found[1][0]["b"], 2 * b)
    close(found[1][1], 0.0)
    close(found[2][0]["b"], np.zeros((2, 1, 3)))
    assert found[2][1].shape == (2,)
    assert set(transform(f)({"a": a, "b": b}, y)[0]) == {"a", "b"}


@pytest.mark.parametrize("transform", ALL)
def test_jacobian_of_empty_arrays_and_of_single_precision(transform):
    assert transform(lambda x: x * 2)(np.ones((0,))).shape == (0, 0)
    assert transform(lambda x: x[:0])(X).shape == (0, 3)
    assert transform(affine)(X.astype(np.float32)).dtype in (np.float32, np.float64)


def test_jacobian_takes_the_cheaper_mode(monkeypatch):
    module = sys.modules["hpcad.autodiff.transforms.jacobian"]
    taken = []
    for name in ("rows", "columns"):
        way = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda linear, name=name, way=way: taken.append(name) or way(linear)
        )
    hpcad.jacobian(lambda x: (x * x).sum())(X)
    hpcad.jacobian(lambda x: x * X)(np.array(2.0))
    assert taken == ["rows", "columns"]


def test_jacobians_of_complex_functions():
    z = np.array([1 + 2j, 0.5j])
    for transform in ALL:
        close(transform(lambda z: z * z, holomorphic=True)(z), np.diag(2 * z))
        with pytest.raises(DifferentiationError, match="holomorphic"):
            transform(lambda z: z * z)(z)
        with pytest.raises(DifferentiationError, match="functions of complex arrays"):
            transform(lambda x: x * 1j, holomorphic=True)(X)
    for transform in (hpcad.jacobian, hpcad.jacrev):  # df/dx - i df/dy
        close(transform(lambda z: abs(z) ** 2)(z), np.diag(2 * z.conj()))
    for transform in (hpcad.jacobian, hpcad.jacfwd):
        close(transform(lambda x: x * x * 1j)(X), np.diag(2j * X))
    with pytest.raises(DifferentiationError, match="use jacobian or jacfwd"):
        hpcad.jacrev(lambda x: x * 1j)(X)


def test_hessian_is_forward_over_reverse_and_symmetric():
    def f(x, y):
        return (hnp.exp(x) * hnp.sin(y)).sum() + x[0] * x[1] * y[0]

    y = np.array([0.1, 0.2])
    x = np.array([0.3, 0.4])
    close(hpcad.hessian(f)(x, y), np.diag(np.exp(x) * np.sin(y)) + y[0] * np.eye(2)[::-1])
    (xx, xy), (yx, yy) = hpcad.hessian(f, (0, 1))(x, y)
    close(xy, yx.T)
    close(yy, np.diag(-np.exp(x) * np.sin(y)))
    close(xx, hpcad.jacrev(hpcad.jacrev(f))(x, y))
    close(xx, hpcad.jacfwd(hpcad.jacfwd(f))(x, y))
    close(xx, hpcad.jacrev(hpcad.jacfwd(f))(x, y))


def test_hessian_of_trees_has_blocks_for_each_pair():
    found = hpcad.hessian(lambda t: (t["a"] * t["b"]).sum())({"a": np.ones(2), "b": np.ones(2)})
    close(found["a"]["b"], np.eye(2))
    close(found["a"]["a"], np.zeros((2, 2)))


def test_third_derivatives_of_an_array_function():
    x = np.array([0.3, -0.5])
    third = hpcad.jacobian(hpcad.hessian(lambda x: x[0] ** 2 * hnp.sin(x[1])))(x)
    assert third.shape == (2, 2, 2)
    close(third[0, 0], [0.0, 2 * np.cos(x[1])])
    close(third[1, 1], [-2 * x[0] * np.sin(x[1]), -(x[0] ** 2) * np.cos(x[1])])
    close(third, np.transpose(third, (2, 0, 1)))


# -- products -----------------------------------------------------------------------------


def quartic(x):
    return (hnp.matmul(A, x) ** 4).sum() + hnp.exp(x[0] * x[2])


def test_hessian_products_agree_with_the_hessian():
    v = np.array([1.0, -2.0, 0.5])
    H = hpcad.hessian(quartic)(X)
    close(H, H.T)
    close(hpcad.hvp(quartic, X, v), H @ v)
    close(hpcad.vhp(quartic, X, v), v @ H)
    close(hpcad.laplacian(quartic)(X), np.trace(H))


def test_products_take_trees():
    tree, v = {"a": X, "b": (2.0,)}, {"a": X * X, "b": (3.0,)}

    def f(t):
        return (t["a"] ** 3).sum() * t["b"][0]

    for product in (hpcad.hvp, hpcad.vhp):
        found = product(f, tree, v)
        close(found["a"], 12 * X**3 + 9 * X**2)
        close(found["b"][0], (3 * X**4).sum())
    close(hpcad.directional(f, tree, v), (3 * X**4).sum() * 2 + 3 * (X**3).sum())
    close(hpcad.laplacian(f)(tree), (6 * X).sum() * 2)


def test_gauss_newton_product_drops_the_curvature_of_the_model():
    v = np.array([1.0, -2.0, 0.5])
    target = np.array([1.0, 2.0])

    def model(x):
        return hnp.tanh(hnp.matmul(A, x))

    def loss(z):
        return ((z - target) ** 4).sum()

    J = hpcad.jacobian(model)(X)
    H = hpcad.hessian(loss)(model(X))
    close(hpcad.ggnvp(model, loss, X, v), J.T @ H @ J @ v)
    found = hpcad.ggnvp(lambda t: [t["x"] * 2], lambda z: (z[0] ** 2).sum(), {"x": X}, {"x": v})
    close(found["x"], 8 * v)


def test_laplacian_of_a_field_has_the_shape_of_the_field():
    def field(x, y, k):
        return hnp.stack([hnp.sin(k * x) * y**2, x * y, x**3])

    found = hpcad.laplacian(field, (0, 1))(0.3, 0.7, 2.0)
    s = np.sin(0.6)
    close(found, [-4 * s * 0.49 + 2 * s, 0.0, 1.8])
    close(hpcad.grad(hpcad.laplacian(lambda x: x**4))(2.0), 48.0)


def test_everything_works_on_functions_that_ignore_their_argument():
    def constant(x):
        return 3.0

    assert hpcad.jacobian(constant)(X).shape == (3,)
    close(hpcad.hessian(constant)(X), np.zeros((3, 3)))
    close(hpcad.hvp(constant, X, X), np.zeros(3))
    close(hpcad.laplacian(constant)(X), 0.0)
    close(hpcad.directional(constant, X, X), 0.0)
    value, pushforward = hpcad.linearize(constant, X)
    assert (value, pushforward(X)) == (3.0, 0.0)
    close(hpcad.elementwise_grad(lambda x: np.ones(3))(X), np.zeros(3))


# -- what goes in and comes out, and stays as it is ----------------------------------------


def test_results_must_be_arrays_and_numbers():
    for transform in (hpcad.grad, hpcad.jacobian, hpcad.hessian):
        with pytest.raises(DifferentiationError, match=r"returned a str \(value\['name'\]\)"):
            transform(lambda x: {"x": x, "name": "y"})(1.0)
    with pytest.raises(DifferentiationError, match="returned a str"):
        hpcad.jvp(lambda x: "y", (1.0,), (1.0,))


def test_holomorphic_needs_complex_numbers_on_both_sides():
    with pytest.raises(DifferentiationError, match=r"\.astype\(complex\)"):
        hpcad.grad(lambda x: x * 1j, holomorphic=True)(1.0)
    with pytest.raises(DifferentiationError, match=r"\.astype\(complex\)"):
        hpcad.grad(abs, holomorphic=True)(1j)


def test_a_changed_array_is_noticed_by_pushforward_and_pullback():
    for transform in (hpcad.vjp, hpcad.linearize):
        x, k = X.copy(), np.ones(3)
        _, linear = transform(lambda x, k=k: x * x * k, x)
        linear(V3)
        k[0] = 2.0
        with pytest.raises(DifferentiationError, match="changed in place"):
            linear(V3)


V3 = np.array([1.0, 2.0, 3.0])


def test_arguments_stay_as_they_are():
    def f(t):
        t["w"][0] = t["w"][1] * 3.0
        t["new"] = 1.0
        return (t["w"] ** 2).sum()

    x = {"w": X.copy()}
    close(hpcad.grad(f)(x)["w"], [0.0, 2 * 10 * X[1], 2 * X[2]])
    close(hpcad.jvp(f, (x,), (x,))[1], 20 * X[1] ** 2 + 2 * X[2] ** 2)
    assert list(x) == ["w"]
    np.testing.assert_array_equal(x["w"], X)


def test_results_can_be_changed_without_changing_one_another():
    _, pullback = hpcad.vjp(lambda x, y: x + y, X, X)
    w = np.ones(3)
    a, b = pullback(w)
    a += 1.0
    np.testing.assert_array_equal(b, np.ones(3))
    np.testing.assert_array_equal(w, np.ones(3))


def test_complex_directions_of_real_numbers_are_refused():
    imaginary = 1j * np.ones(3)
    _, pullback = hpcad.vjp(lambda x: x * 2.0, np.ones(3))
    _, pushforward = hpcad.linearize(lambda x: x * 2.0, np.ones(3))
    for call in (
        lambda: hpcad.jvp(lambda x: x * 2.0, (np.ones(3),), (imaginary,)),
        lambda: pushforward(imaginary),
        lambda: pullback(imaginary),
        lambda: (Parameter(np.ones(3)) * 2.0).backward(imaginary),
    ):
        with pytest.raises(DifferentiationError, match=r"dtype complex128.*real part"):
            call()
