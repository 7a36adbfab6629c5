"""What each pass makes of a program, seen in the steps that are left."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Parameter, nn
from hpcad.backend.native.compiler import find_compiler
from hpcad.primitives.product import linear

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")
X = np.linspace(-2.0, 3.0, 48).reshape(8, 6)
W = np.linspace(0.5, 1.5, 24).reshape(6, 4)


def program(function, *args, **options):
    compiled = hpcad.compile(function, strict=True, **options)
    for _ in range(3):
        compiled(*args)
    return compiled.program


def names(found):
    return [i.name for i in found.program.instructions]


def kinds(found):
    return [step.kind for step in found.steps]


# -- simplification ----------------------------------------------------------------------------


def test_what_nobody_needs_is_dropped():
    def f(x):
        _ = hnp.exp(x) * 3
        return x + 1

    assert names(program(f, X, native=False)) == ["add"]


def test_what_is_computed_twice_is_computed_once():
    def f(x):
        return hnp.exp(x) * 2 + hnp.exp(x) * 3

    assert names(program(f, X, native=False)).count("exp") == 1


def test_numbers_of_another_type_or_sign_are_not_the_same():
    def f(x):
        return x * 0.0, x * -0.0, x**2, x**2.0

    found = program(f, X, native=False)
    assert names(found).count("multiply") == 2
    assert names(found).count("power") == 2


def test_constants_are_folded():
    table = np.arange(6.0)

    def f(x):
        return x * (hnp.sin(hpcad.autodiff.tensor(table.copy())) + 1)

    assert names(program(f, X, native=False)) == ["multiply"]


def test_identities_of_ieee_numbers_are_used_and_others_are_not():
    def f(x):
        return x * 1 - 0.0, hnp.negative(hnp.negative(x)), x / 1, x + 0.0

    assert names(program(f, X, native=False)) == ["add"]
    compiled = hpcad.compile(f, native=False)
    for _ in range(3):
        *_, last = compiled(np.array([-0.0]))
    assert not np.signbit(last)


def test_views_cost_nothing():
    def f(x):
        return hnp.transpose(hnp.reshape(x, (4, 12)))[2:, None] + 1

    found = program(f, X, native=False)
    assert len(found.steps) == 1


# -- products ----------------------------------------------------------------------------------


def test_transposes_are_flags_of_products():
    found = program(lambda x, w: x.T @ hnp.ones((8, 3)) + (w.T @ x.T).T.sum(), X, W[:, :4])
    assert not any("transpose" in step.name for step in found.steps)


@needs_compiler
def test_a_gradient_is_written_by_the_product_that_makes_it():
    w = Parameter(W, "w")

    def step(x):
        loss = (x @ w).sum()
        loss.backward()
        return loss

    compiled = hpcad.compile(step, strict=True)
    for _ in range(4):
        w.fresh = False
        compiled(X)
    assert not any("grad_w" in step.text for step in compiled.program.steps)
    (place,) = (
        compiled.program.array(i.out)
        for i in compiled.program.program.instructions
        if i.name == "matmul" and i.out.shape == w.shape
    )
    assert np.shares_memory(place, w.grad)


@needs_compiler
def test_products_of_all_times_are_one_product():
    u = Parameter(np.eye(16) * 0.5, "u")

    def step(x):
        h = hnp.zeros((4, 16))
        for t in range(6):
            h = hnp.tanh(x[:4, t : t + 1] + linear(h, u))
        loss = h.sum()
        loss.backward()
        return loss

    compiled = hpcad.compile(step, strict=True)
    eager = None
    for _ in range(4):
        u.fresh = False
        step(X)
        eager = u.grad.copy()
        u.fresh = False
        compiled(X)
    np.testing.assert_allclose(u.grad, eager, rtol=1e-12)
    of_gradient = [i for i in compiled.program.program.instructions
                   if i.name == "matmul" and i.out.shape == (16, 16)]  # fmt: skip
    assert len(of_gradient) <= 2


@needs_compiler
def test_a_sum_of_products_is_added_in_place():
    def f(x, w):
        return x @ w + (x * 2) @ w + (x * 3) @ w

    found = program(f, X, W)
    assert [s.name for s in found.steps if s.kind == "product"] == [
        "matmul", "matmul_add", "matmul_add",
    ]  # fmt: skip


# -- fusion ------------------------------------------------------------------------------------


@needs_compiler
def test_a_chain_is_one_kernel():
    found = program(lambda x: hnp.tanh(hnp.exp(x) * 2 + 1) / (x * x + 1), X)
    assert kinds(found) == ["kernel"]


@needs_compiler
@pytest.mark.parametrize(
    "function",
    [
        hpcad.primitives.softmax.softmax,
        hpcad.primitives.softmax.log_softmax,
        lambda x: hpcad.primitives.normalization.layer_norm(x, np.ones(6), np.zeros(6)),
        lambda x: hnp.sqrt((x * x).sum(-1, keepdims=True)) + x,
    ],
    ids=["softmax", "log_softmax", "layer_norm", "norm"],
)
def test_row_reductions_and_what_uses_them_are_one_kernel(function):
    assert kinds(program(function, X)) == ["kernel"]


@needs_compiler
def test_layer_norm_backwards_is_one_kernel_with_its_sums():
    layer = nn.LayerNorm(6)
    layer.initialize(0, np.float64)

    def step(x, g):
        loss = (layer(x) * g).sum()
        loss.backward()

    compiled = hpcad.compile(step, strict=True)
    for _ in range(4):
        for p in layer.parameters():
            p.fresh = False
        compiled(X, X + 1)
    assert kinds(compiled.program).count("kernel") == 1


@needs_compiler
def test_transposed_and_sliced_parts_are_read_where_they_lie():
    def f(x):
        left, right = x[:, :3], x[:, 3:]
        return (hnp.exp(left) * right).T + 1

    assert kinds(program(f, X)) == ["kernel"]


@needs_compiler
def test_parts_of_a_concatenation_are_written_to_their_places():
    def f(x, w):
        return hnp.concatenate([x @ w, x @ w * 2, hnp.exp(x)], axis=1)

    found = program(f, X, W)
    assert kinds(found).count("product") == 1
    assert "concatenate" not in [s.name for s in found.steps]


# -- recomputation -----------------------------------------------------------------------------


@needs_compiler
def test_a_cheap_value_is_computed_again_instead_of_kept():
    a, b = (Parameter(np.full((64, 64), 0.1), n) for n in "ab")

    def step(x):
        h = x
        for _ in range(8):
            h = hpcad.primitives.activations.gelu(h @ a) @ b
        loss = h.sum()
        loss.backward()
        return loss

    x = np.linspace(-1, 1, 512 * 64).reshape(512, 64)
    compiled = hpcad.compile(step, strict=True)
    for _ in range(4):
        a.fresh = b.fresh = False
        compiled(x)
    found = a.grad.copy()
    a.fresh = b.fresh = False
    step(x)
    np.testing.assert_allclose(found, a.grad, rtol=1e-11)
    array = x.nbytes
    # Eight pre-activations and seven inputs of products are kept, but no activations.
    assert compiled.program.arena_bytes < 22 * array


# -- patterns ----------------------------------------------------------------------------------


@needs_compiler
def test_convolution_pooling_and_relu_are_one_routine():
    layer = nn.Conv2d(3, 4, 3, padding=1)
    layer.initialize(0, np.float32)
    x = np.linspace(-1, 1, 2 * 8 * 8 * 3, dtype=np.float32).reshape(2, 8, 8, 3)

    def step(x):
        loss = nn.relu(nn.max_pool2d(layer(x))).sum()
        loss.backward()
        return loss

    compiled = hpcad.compile(step, strict=True)
    for _ in range(4):
        layer.weight.fresh = layer.bias.fresh = False
        loss = compiled(x)
    found = layer.weight.grad.copy(), layer.bias.grad.copy()
    layer.weight.fresh = layer.bias.fresh = False
    expected = step(x)
    np.testing.assert_allclose(float(loss), float(expected), rtol=1e-5)
    np.testing.assert_allclose(found[0], layer.weight.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], layer.bias.grad, rtol=1e-5)
    routines = [s.name for s in compiled.program.steps if s.kind == "routine"]
    assert routines == ["conv_pool", "conv_weight_pooled"]
