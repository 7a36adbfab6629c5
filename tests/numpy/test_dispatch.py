"""NumPy's own functions and methods on tensors reach hpcad.numpy, or fail by name."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import Parameter, Tensor, grad, jvp
from hpcad.autodiff import check_grads
from hpcad.errors import ShapeError

A = np.array([[2.0, 0.5, 0.1], [0.3, 3.0, 0.2], [0.4, 0.6, 4.0]])
B = np.array([[1.0, -2.0, 0.5], [0.7, 0.1, -0.3]])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sin(x) * np.exp(x),
        lambda x: np.add(B, x),
        lambda x: B * x,
        lambda x: np.concatenate([x, x * 2], 1),
        lambda x: np.stack([x, B], axis=-1),
        lambda x: np.sum(x * x, axis=0, keepdims=True),
        lambda x: np.sum(x, 1),
        lambda x: np.mean(x, axis=(0, 1)),
        lambda x: np.linalg.solve(A, x.T),
        lambda x: np.transpose(x, (1, 0)),
        lambda x: np.reshape(x, (3, 2)),
        lambda x: np.add.reduce(x * x),
        lambda x: np.add.reduce(x, axis=1, keepdims=True),
        lambda x: np.multiply.reduce(x, axis=None),
        lambda x: np.maximum.reduce(x, 1),
        lambda x: np.add.accumulate(x, axis=1),
        lambda x: np.maximum.accumulate(x, axis=1),
        lambda x: np.hypot.reduce(x, axis=1, keepdims=True),
        lambda x: np.subtract.reduce(x),
        lambda x: np.logaddexp.reduce(x, axis=1),
        lambda x: np.multiply.outer(x, x),
        lambda x: np.subtract.outer(B, x[0]),
        lambda x: np.where(B > 0, x, B),
        lambda x: np.clip(x, -1.0, 0.6),
        lambda x: np.take(x, [0, 2, 2], axis=1),
        lambda x: np.take_along_axis(x, np.array([[0, 0, 1]]), 0),
        lambda x: np.var(x, 1, ddof=1),
        lambda x: np.diag(x[0], 1),
        lambda x: np.tril(x, k=-1),
        lambda x: np.matmul(x, A) @ A,
        lambda x: np.real(np.fft.fft(x, axis=-1)),
        lambda x: np.select([B > 0.6, B > 0], [x, x * x], 3.0),
        lambda x: np.choose(np.array([[0, 1, 1], [1, 0, 0]]), [x, x * x]),
    ],
)
def test_numpy_functions_differentiate_and_agree_with_numpy(f):
    x = np.array([[0.3, -1.2, 0.8], [0.5, 0.7, -0.4]])
    np.testing.assert_allclose(jvp(f, (x,), (x,))[0], f(x), rtol=1e-13)
    check_grads(f, (x,), order=1)


@pytest.mark.parametrize(
    "method",
    [
        lambda x: x.sum(0),
        lambda x: x.mean(axis=1, keepdims=True),
        lambda x: x.std(),
        lambda x: x.prod(1),
        lambda x: x.reshape(3, -1),
        lambda x: x.reshape((3, 2)).ravel(),
        lambda x: x.flatten(),
        lambda x: x.T @ x,
        lambda x: x.swapaxes(0, 1),
        lambda x: x[:, None].squeeze(1),
        lambda x: x.clip(0.0, 0.6),
        lambda x: x.cumsum(axis=1),
        lambda x: x.cumprod(0),
        lambda x: x.repeat(2, axis=0),
        lambda x: x.take([1, 1], 1),
        lambda x: x.dot(A),
        lambda x: x.astype(complex).real,
        lambda x: (x * 1j).imag + x.conj(),
        lambda x: x.max(1) - x.min(),
        lambda x: x.diagonal(),
        lambda x: x.compress([True, False, True], axis=1),
        lambda x: abs(-x) + (+x),
        lambda x: x // 0.37 + x % 0.37,
    ],
)
def test_methods_agree_with_those_of_arrays(method):
    x = np.array([[0.3, -1.2, 0.8], [0.5, 0.7, -0.45]])
    np.testing.assert_allclose(jvp(method, (x,), (x,))[0], method(x), rtol=1e-13)
    check_grads(method, (x,), order=1)


def test_methods_without_a_derivative():
    x = hnp.asarray([[3.0, 1.0], [2.0, 0.0]])
    assert x.argmax().item() == 0
    assert x.argmin(1).tolist() == [1, 1]
    assert x.argsort(axis=1).tolist() == [[1, 0], [1, 0]]
    assert x.any().item()
    assert not x.all().item()
    assert [i.tolist() for i in x.nonzero()] == [[0, 0, 1], [0, 1, 0]]
    assert x.round().tolist() == x.tolist()
    x.sort(axis=0)
    assert x.tolist() == [[2.0, 0.0], [3.0, 1.0]]


def test_integer_operators():
    n = hnp.asarray([6, 3])
    assert [(n & 2).tolist(), (1 | n).tolist(), (n ^ n).tolist()] == [[2, 2], [7, 3], [0, 0]]
    assert [(n << 1).tolist(), (n >> 1).tolist(), (~n).tolist()] == [[12, 6], [3, 1], [-7, -4]]
    assert [x.tolist() for x in divmod(n, 4)] == [[1, 0], [2, 3]]
    assert [x.tolist() for x in divmod(7, n)] == [[1, 2], [1, 1]]
    assert (2**n).tolist() == [64, 8]


def test_what_has_no_rule_fails_by_name():
    t = Parameter(np.ones((2, 2)))
    with pytest.raises(TypeError, match=r"numpy\.busday_count does not know tensors"):
        np.busday_count(t, t)
    with pytest.raises(TypeError, match=r"numpy\.spacing has no derivative rule"):
        np.spacing(t)
    with pytest.raises(TypeError, match=r"numpy\.add with out= has no derivative rule"):
        np.add(t, 1.0, out=np.ones((2, 2)))
    with pytest.raises(TypeError, match=r"numpy\.add with where="):
        np.add(t, 1.0, where=np.ones((2, 2), bool))
    with pytest.raises(TypeError, match=r"numpy\.sum with out="):
        np.sum(t, axis=0, out=np.ones(2))
    with pytest.raises(TypeError, match=r"numpy\.add\.at has no derivative rule"):
        np.add.at(np.ones(3), [0], t[0])
    with pytest.raises(TypeError, match=r"numpy\.add\.reduceat has no"):
        np.add.reduceat(t, [0, 1])
    with pytest.raises(TypeError, match=r"subtract\.reduce of a tensor takes one axis"):
        np.subtract.reduce(t, axis=None)
    with pytest.raises(ShapeError, match="empty axis 0"):
        np.subtract.reduce(t[:0])
    with pytest.raises(TypeError, match=r"numpy\.copyto"):
        np.copyto(np.ones((2, 2)), t)


def test_put_along_axis_of_numpy_changes_the_tensor():
    def f(v):
        x = hnp.zeros((2, 3))
        np.put_along_axis(x, np.array([[1], [2]]), v, axis=1)
        return (x * np.arange(6.0).reshape(2, 3)).sum()

    np.testing.assert_array_equal(grad(f)(np.ones((2, 1))), [[1.0], [5.0]])


def test_questions_about_tensors():
    t = hnp.ones((2, 3), dtype=np.float32)
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2, 3), 2, 6)
    assert np.result_type(t, 1.0) == np.float32
    assert np.isrealobj(t)
    assert isinstance(np.ones((2, 3)) * t, Tensor)
    assert isinstance(np.float32(2) * t, Tensor)
    np.testing.assert_array_equal(np.asarray(t), np.ones((2, 3)))


def test_methods_that_change_the_tensor_differentiate():
    def f(x):
        y = x * 1.0
        y.partition(1)
        first, last = y[0], y[2]
        y.fill(last)
        return first + np.sum(y)

    np.testing.assert_array_equal(grad(f)(np.array([3.0, 1.0, 2.0])), [3.0, 1.0, 0.0])


def test_elements_are_found_by_value():
    x = hnp.asarray(B)
    assert 0.7 in x
    assert 0.8 not in x
    assert (hnp.asarray(2.0) in x) is False


def test_reductions_and_accumulations_of_nothing():
    empty = hnp.zeros((0, 3))
    assert np.maximum.accumulate(empty).shape == (0, 3)
    assert np.linalg.norm(empty, np.inf) == np.linalg.norm(empty, 2) == 0.0
    with pytest.raises(ValueError, match="nothing but nan"):
        np.nanargmax(hnp.asarray([np.nan, np.nan]))
