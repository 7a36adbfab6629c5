"""Creation functions: constants, except where a tracked tensor goes in."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import Parameter, Tensor, grad, jvp
from hpcad.autodiff import check_grads
from hpcad.autodiff.tensor import CONSTANT
from hpcad.errors import ConfigError, ShapeError


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (hnp.arange(2, 9, 3), np.arange(2, 9, 3)),
        (hnp.arange(3.0, dtype=np.float32), np.arange(3.0, dtype=np.float32)),
        (hnp.zeros((2, 3)), np.zeros((2, 3))),
        (hnp.ones(2, dtype=int), np.ones(2, int)),
        (hnp.full((2,), 3), np.full((2,), 3)),
        (hnp.full_like(np.ones(2, np.float32), 3), np.full(2, 3, np.float32)),
        (hnp.zeros_like(np.ones((2, 1), complex)), np.zeros((2, 1), complex)),
        (hnp.ones_like([1, 2]), np.ones(2, int)),
        (hnp.eye(2, 3, k=1), np.eye(2, 3, 1)),
        (hnp.eye(2, k=10**30), np.zeros((2, 2))),
        (hnp.identity(3), np.identity(3)),
        (hnp.linspace(0, 1, 5), np.linspace(0, 1, 5)),
        (hnp.linspace(0, 1, 5, endpoint=False), np.linspace(0, 1, 5, endpoint=False)),
        (hnp.logspace(0, 2, 3), np.logspace(0, 2, 3)),
        (hnp.geomspace(1, 8, 4), np.geomspace(1, 8, 4)),
        (hnp.tri(2, 3, k=1), np.tri(2, 3, 1)),
        (hnp.array([[1, 2.5]], ndmin=3), np.array([[1, 2.5]], ndmin=3)),
        (hnp.diag(np.ones(2), -1), np.diag(np.ones(2), -1)),
        (hnp.diag(np.arange(12).reshape(3, 4), 2), np.diag(np.arange(12).reshape(3, 4), 2)),
        (hnp.diag(np.arange(12).reshape(3, 4), 9), np.diag(np.arange(12).reshape(3, 4), 9)),
        (hnp.diagflat([[1, 2], [3, 4]]), np.diagflat([[1, 2], [3, 4]])),
        (hnp.empty((2, 0)), np.empty((2, 0))),
        (hnp.empty_like(np.ones((0, 2), np.int8)), np.empty((0, 2), np.int8)),
    ],
)
def test_values_and_dtypes_are_those_of_numpy(ours, theirs):
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype


def test_what_is_created_is_a_constant_tensor():
    for x in (hnp.zeros(2), hnp.arange(3), hnp.asarray([1.0]), hnp.eye(2), hnp.full(2, 1.0)):
        assert isinstance(x, Tensor)
        assert x.level == CONSTANT


@pytest.mark.parametrize(
    "f",
    [
        lambda x: hnp.asarray([[x[0], 2.0], [3, x[1] * x[0]]]),
        lambda x: hnp.asarray([x, hnp.ones(3)], dtype=complex),
        lambda x: hnp.array(x, copy=True) * x,
        lambda x: hnp.asarray(x, dtype=complex),
        lambda x: hnp.full((2, 3), x),
        lambda x: hnp.full_like(np.ones((2, 3)), x[0]),
        lambda x: hnp.linspace(x[0], x[1], 5),
        lambda x: hnp.linspace(x[:2], 4.0, 3, endpoint=False),
        lambda x: hnp.geomspace(x[0], x[1], 4),
        lambda x: hnp.logspace(x[0], 2.0, 3),
        lambda x: hnp.logspace(0.0, 2.0, 3, base=x[1]),
        lambda x: hnp.tril(hnp.diag(x) + x, k=-1),
        lambda x: hnp.triu(x * x[:, None]),
        lambda x: hnp.diag(x, 2),
        lambda x: hnp.diag(x * x[:2, None], 1),
        lambda x: hnp.diagflat(x[None], -1),
        lambda x: hnp.meshgrid(x, x[:2] * 2)[0] * hnp.meshgrid(x, x[:2] * 2)[1],
        lambda x: hnp.meshgrid(x, x, x, indexing="ij")[2],
        lambda x: hnp.copy(x) * 2,
    ],
)
def test_creation_from_tracked_tensors_differentiates(f):
    check_grads(f, (np.array([0.5, 1.5, 2.0]),), order=2)


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid_has_the_values_of_numpy(indexing):
    vectors = [np.arange(2), np.arange(3.0), np.arange(4)]
    for n in range(4):
        for ours, theirs in zip(
            hnp.meshgrid(*vectors[:n], indexing=indexing),
            np.meshgrid(*vectors[:n], indexing=indexing),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_asarray_shares_memory_unless_told_to_copy():
    array = np.ones(3)
    assert np.shares_memory(hnp.asarray(array).numpy(), array)
    assert not np.shares_memory(hnp.asarray(array, copy=True).numpy(), array)
    assert not np.shares_memory(hnp.array(array).numpy(), array)
    x = hnp.asarray(array)
    assert hnp.asarray(x) is x
    assert hnp.asarray(x, copy=True) is not x
    with pytest.raises(ValueError, match="copy=False"):
        hnp.asarray(x, dtype=np.float32, copy=False)
    with pytest.raises(ValueError, match="copy=False"):
        hnp.asarray([1.0], copy=False)


def test_a_copy_of_a_parameter_is_tracked_and_keeps_its_values():
    p = Parameter(np.ones(2))
    x = hnp.copy(p)
    p.assign(np.zeros(2))
    assert x.tolist() == [1.0, 1.0]
    (hnp.copy(p) * 3.0).sum().backward()
    np.testing.assert_array_equal(p.grad, [3.0, 3.0])


def test_dtypes_that_are_no_numbers_are_refused():
    for x in (["a"], [None], object(), np.array(["2020-01-01"], "M8[D]")):
        with pytest.raises(TypeError, match="numbers and booleans"):
            hnp.asarray(x)


def test_wrong_arguments_are_named():
    with pytest.raises(ShapeError, match="tril needs matrices"):
        hnp.tril(np.ones(3))
    with pytest.raises(ShapeError, match="diag needs"):
        hnp.diag(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="'xy' or 'ij'"):
        hnp.meshgrid(np.ones(2), indexing="yx")
    with pytest.raises(ShapeError, match="meshgrid needs vectors"):
        hnp.meshgrid(np.ones((2, 2)))
    with pytest.raises(ConfigError, match="unknown device"):
        hnp.zeros(2, device="tpu")
    with pytest.raises(TypeError, match="arange cannot depend"):
        grad(lambda x: hnp.arange(x).sum())(3.0)


def test_devices():
    x = hnp.zeros(2, device="cpu")
    assert x.device == "cpu"
    assert x.to_device("cpu") is x
    assert hnp.ones(2, device=x.device).device == "cpu"
    with pytest.raises(ValueError, match="stream"):
        x.to_device("cpu", stream=1)


def test_tangents_of_stacked_elements():
    f = lambda x: hnp.asarray([x, x * x, 1.0])  # noqa: E731
    np.testing.assert_array_equal(jvp(f, (3.0,), (1.0,))[1], [1.0, 6.0, 0.0])
