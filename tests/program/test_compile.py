"""hpcad.compile: what becomes a program, what stays eager, and that both mean the same."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Parameter, Tensor
from hpcad.errors import CaptureError, ShapeError

X = np.linspace(-2.0, 3.0, 24).reshape(4, 6)
W = np.linspace(0.5, 1.5, 18).reshape(6, 3)


def thrice(compiled, *args):
    """Call until the program runs, and return what it returned."""
    compiled(*args)
    compiled(*args)
    found = compiled(*args)
    assert compiled.program is not None
    return found


def line_of(function, text):
    """The number of the line of a function that contains a text."""
    import inspect

    lines, start = inspect.getsourcelines(function)
    return next(start + i for i, line in enumerate(lines) if text in line)


# -- values ------------------------------------------------------------------------------------


def test_a_function_of_arrays_returns_what_it_returns_eagerly():
    def f(x, w):
        return hnp.tanh(x @ w) * 2.0 + hnp.exp(-(x[:, :3] ** 2))

    np.testing.assert_allclose(thrice(hpcad.compile(f, strict=True), X, W), f(X, W), rtol=4e-16)


def test_new_numbers_give_new_results():
    f = hpcad.compile(lambda x: hnp.sin(x).sum(axis=0), strict=True)
    thrice(f, X)
    np.testing.assert_allclose(f(X + 1.0), np.sin(X + 1.0).sum(axis=0), rtol=1e-14)


@pytest.mark.parametrize("transform", [hpcad.grad, hpcad.value_and_grad])
def test_transforms_inside_are_captured(transform):
    def f(x):
        return (hnp.tanh(x) * x[::-1]).sum()

    compiled = hpcad.compile(transform(f), strict=True)
    found, expected = thrice(compiled, X[0]), transform(f)(X[0])
    np.testing.assert_allclose(found[-1], expected[-1], rtol=1e-14)


def test_forward_over_reverse_is_captured():
    def f(x):
        return (hnp.exp(hnp.sin(x)) * x).sum()

    def product(x, v):
        return hpcad.hvp(f, x, v)

    v = np.cos(X[0])
    found = thrice(hpcad.compile(product, strict=True), X[0], v)
    np.testing.assert_allclose(found, product(X[0], v), rtol=1e-13)


def test_trees_of_arrays_come_in_and_go_out():
    def f(tree, *, scale):
        return {"sum": tree["a"] + tree["b"][0], "scaled": (tree["a"] * scale, None)}

    compiled = hpcad.compile(f, strict=True)
    tree = {"a": X, "b": [X * 2]}
    for _ in range(3):
        found = compiled(tree, scale=3)
    np.testing.assert_array_equal(found["sum"], 3 * X)
    np.testing.assert_array_equal(found["scaled"][0], 3 * X)
    assert found["scaled"][1] is None


def test_plain_arrays_in_give_plain_arrays_out_and_tensors_give_tensors():
    f = hpcad.compile(lambda x: x * 2, strict=True)
    assert type(thrice(f, X)) is np.ndarray
    assert isinstance(thrice(f, hpcad.autodiff.tensor(X)), Tensor)


def test_results_belong_to_the_caller():
    f = hpcad.compile(lambda x: x + 1, strict=True)
    first = thrice(f, X)
    second = f(X + 1)
    np.testing.assert_array_equal(first, X + 1)
    assert not np.shares_memory(first, second)


def test_item_assignment_is_captured():
    def f(x):
        y = hnp.zeros(6)
        for i in range(4):
            y[i] = x[i, i] * 2
        return y

    found = thrice(hpcad.compile(f, strict=True), X)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(f(X)))


def test_an_index_may_be_an_argument():
    def f(table, index):
        return hnp.take(table, index, axis=0).sum(axis=1)

    compiled = hpcad.compile(f)
    for index in (np.array([0, 3]), np.array([1, 1]), np.array([2, 0]), np.array([3, 3])):
        np.testing.assert_allclose(compiled(X, index), X[index].sum(axis=1))


def test_other_shapes_dtypes_and_settings_are_other_programs():
    def f(x, power):
        return x**power

    compiled = hpcad.compile(f, strict=True)
    for x in (X, X[:2], X.astype(np.float32)):
        for power in (2, 3):
            for _ in range(3):
                found = compiled(x, power)
            np.testing.assert_allclose(found, x**power, rtol=4 * np.finfo(x.dtype).eps)
            assert found.dtype == x.dtype


# -- parameters --------------------------------------------------------------------------------


def make_step(compiled=True):
    w = Parameter(W.copy(), "w")

    def step(x):
        loss = hnp.tanh(x @ w).sum()
        loss.backward()
        return loss

    return w, hpcad.compile(step, strict=True) if compiled else step


def test_gradients_of_parameters_land_where_they_do_eagerly():
    (w, step), (v, eager) = make_step(), make_step(False)
    for i in range(5):
        w.fresh = v.fresh = False
        np.testing.assert_allclose(float(step(X + i)), float(eager(X + i)), rtol=1e-13)
        np.testing.assert_allclose(w.grad, v.grad, rtol=1e-13, atol=1e-14)
        assert w.fresh


def test_a_gradient_that_is_fresh_is_added_to():
    (w, step), (v, eager) = make_step(), make_step(False)
    for i in range(7):
        w.fresh = v.fresh = i % 2 == 1  # every other call accumulates
        step(X)
        eager(X)
        np.testing.assert_allclose(w.grad, v.grad, rtol=1e-13, atol=1e-14)


def test_new_values_of_a_parameter_are_read():
    w, step = make_step()
    for i in range(5):
        w.fresh = False
        w.assign(W * i)
        np.testing.assert_allclose(float(step(X)), np.tanh(X @ (W * i)).sum(), rtol=1e-13)


def test_a_frozen_parameter_leads_to_another_program():
    w, _ = make_step()
    b = Parameter(np.ones(3), "b")

    @hpcad.compile
    def both(x):
        loss = (x @ w * b).sum()
        loss.backward()
        return loss

    for _ in range(3):
        w.fresh = b.fresh = False
        both(X)
    b.freeze()
    b.grad[...] = 7.0
    for _ in range(4):
        w.fresh = False
        both(X)
        np.testing.assert_array_equal(b.grad, 7.0)


# -- what stays eager --------------------------------------------------------------------------


def branching(x):
    if x.sum() > 0:  # the value is read
        return x * 2
    return x * 3


def test_a_branch_on_values_stays_eager_and_is_right(caplog):
    compiled = hpcad.compile(branching)
    for sign in (1, -1, 1, -1):
        np.testing.assert_array_equal(compiled(X * sign), branching(X * sign))
    (message,) = {r.getMessage() for r in caplog.records}
    assert f"test_compile.py:{line_of(branching, 'if x.sum')}" in message
    assert len(caplog.records) == 1  # said once
    assert compiled.obstacles


def test_a_branch_on_values_raises_under_strict():
    with pytest.raises(CaptureError, match=rf"test_compile.py:{line_of(branching, 'if x.sum')}"):
        hpcad.compile(branching, strict=True)(X)


@pytest.mark.parametrize(
    "read",
    [float, int, bool, np.asarray, lambda x: x.item(), lambda x: x.tolist(), lambda x: x.value],
)
def test_every_way_to_read_values_is_seen(read):
    def f(x):
        read(x[0, 0])
        return x

    with pytest.raises(CaptureError, match="read"):
        hpcad.compile(f, strict=True)(hpcad.autodiff.tensor(X))


def test_numbers_that_change_from_call_to_call_are_seen():
    rng = np.random.default_rng(0)

    def noisy(x):
        return x + rng.standard_normal(x.shape)

    compiled = hpcad.compile(noisy)
    results = [compiled(X) for _ in range(4)]
    assert len({r.tobytes() for r in results}) == 4
    assert "not an argument" in compiled.obstacles[0]


def test_a_counter_in_python_is_seen():
    calls = []

    def counting(x):
        calls.append(0)
        return x * len(calls)

    compiled = hpcad.compile(counting)
    for i in range(4):
        np.testing.assert_array_equal(compiled(X), X * (i + 1))
    assert "pass it as an argument" in compiled.obstacles[0]


def test_a_tensor_that_is_kept_is_seen():
    kept = []

    def keeping(x):
        kept.append(x * 2)
        return x

    compiled = hpcad.compile(keeping)
    for _ in range(4):
        compiled(X)
    assert len(kept) == 4
    np.testing.assert_array_equal(np.asarray(kept[0]), X * 2)
    assert "kept" in compiled.obstacles[0]


def test_an_error_of_the_function_is_raised_as_it_is():
    @hpcad.compile
    def wrong(x):
        return x @ x

    for _ in range(3):
        with pytest.raises(ValueError, match="matmul"):
            wrong(X)


def test_an_error_that_depends_on_values_is_raised_by_the_program():
    labels = np.array([0, 1, 2, 3])

    @hpcad.compile
    def loss(x, y):
        return hpcad.nn.cross_entropy(x, y)

    thrice(loss, X, labels)
    with pytest.raises(ShapeError, match="do not fit 6 classes"):
        loss(X, labels + 9)
    np.testing.assert_allclose(loss(X, labels), hpcad.nn.cross_entropy(X, labels))


def test_a_tensor_that_could_be_differentiated_is_not_returned_as_a_constant():
    w = Parameter(W, "w")
    forward = hpcad.compile(lambda x: (x @ w).sum())
    for _ in range(3):
        w.fresh = False
        forward(X).backward()
        np.testing.assert_allclose(w.grad, np.repeat(X.sum(0)[:, None], 3, 1))
    assert "backward()" in forward.obstacles[0]


# -- arrays of the user ------------------------------------------------------------------------


def test_an_array_of_the_user_is_read_anew():
    data = np.ones((4, 6))
    f = hpcad.compile(lambda x: x * data, strict=True)
    thrice(f, X)
    data[...] = 5.0
    np.testing.assert_array_equal(f(X), 5 * X)


def test_an_array_of_the_user_in_another_order_is_read_anew():
    data = np.ones((6, 4)).T
    f = hpcad.compile(lambda x: (x * data).reshape(24), strict=True)
    thrice(f, X)
    data[...] = 5.0
    np.testing.assert_array_equal(f(X), 5 * X.ravel())


# -- around the program ------------------------------------------------------------------------


def test_a_compiled_function_can_be_differentiated():
    f = hpcad.compile(lambda x: hnp.sin(x).sum())
    thrice(f, X)
    np.testing.assert_allclose(hpcad.grad(f)(X), np.cos(X))


def test_compiled_functions_nest():
    inner = hpcad.compile(lambda x: hnp.sin(x) * 2)
    outer = hpcad.compile(lambda x: inner(x).sum(), strict=True)
    thrice(inner, X)
    np.testing.assert_allclose(thrice(outer, X), 2 * np.sin(X).sum())


def test_a_method_can_be_compiled():
    class Model:
        scale = 3.0

        @hpcad.compile
        def __call__(self, x):
            return x * self.scale

    model = Model()
    for _ in range(3):
        np.testing.assert_array_equal(model(X), 3 * X)


def test_threads_take_turns():
    f = hpcad.compile(lambda x: hnp.tanh(x @ x.T).sum(axis=0), strict=True)
    thrice(f, X)
    found = {}

    def work(k):
        found[k] = [f(X + k) for _ in range(50)]

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for k, results in found.items():
        for result in results:
            np.testing.assert_allclose(result, np.tanh((X + k) @ (X + k).T).sum(axis=0))


def test_asking_for_a_program_too_early_says_what_to_do():
    f = hpcad.compile(lambda x: x)
    with pytest.raises(CaptureError, match="call it twice"):
        _ = f.program


def test_the_source_names_operations_shapes_and_lines():
    def f(x, w):
        return hnp.tanh(x @ w)

    compiled = hpcad.compile(f, strict=True)
    thrice(compiled, X, W)
    source = compiled.program.source
    assert "input_0 @ input_1" in source or "np.matmul(input_0, input_1" in source
    assert "float64[4,3]" in source
    assert f"test_compile.py:{line_of(f, 'hnp.tanh(x @ w)')}" in source


def test_the_report_counts_products_and_memory(tmp_path):
    f = hpcad.compile(lambda x, w: hnp.tanh(x @ w), strict=True)
    thrice(f, X, W)
    report = f.program.report()
    products = [row for row in report.kinds if "products" in row.name]
    assert products[0].flops == 2 * 4 * 6 * 3
    assert report.arena_bytes >= report.bound_bytes > 0
    folder = f.program.save(tmp_path / "program")
    assert any(path.suffix == ".py" for path in folder.iterdir())
