"""The stand-in notices, or computes wrong numbers for, what a GPU would get wrong."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.binding import CublasLtError
from hpcad.backend.cublaslt.context import context_of
from hpcad.backend.cublaslt.enums import Reduction, Status
from hpcad.backend.cublaslt.layout import Arrangement, Offsets, arrange, meta
from hpcad.backend.cublaslt.plan import Plan
from hpcad.backend.cublaslt.product import BoundProduct
from hpcad.errors import DeviceError

from .arrays import host


@pytest.fixture
def arrays(xp):
    rng = np.random.default_rng(0)
    shapes = ((3, 8, 16), (3, 16, 24), (3, 8, 24))
    return [xp.asarray(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]


def told(xp, arrays, **changes):
    """The product with some numbers of its description changed."""
    a, b, c = arrays
    right = arrange(*map(meta, arrays)).problem
    plan = Plan(context_of(xp), replace(right, **changes))
    pointers = (b.data.ptr, a.data.ptr, c.data.ptr, 0, 0)
    return BoundProduct(plan, Arrangement(plan.problem, True, (Offsets(),)), pointers, (1.0, 0.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"lda": 25}, {"ldb": 17}, {"ldd": 25}, {"stride_a": 0}, {"stride_b": 0},
        {"stride_d": 191}, {"batch": 2}, {"rows": 23}, {"columns": 7}, {"depth": 15},
        {"epilogue": "relu"}, {"epilogue": "gelu"}, {"compute": "tf32"},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_description_gives_wrong_numbers(xp, arrays, wrong):
    a, b, c = (host(xp, x) for x in arrays)
    big = [xp.zeros(4096, np.float32) for _ in arrays]  # room for strides that are too long
    views = []
    for memory, x in zip(big, (a, b, c), strict=True):
        memory[: x.size] = xp.asarray(x.reshape(-1))
        views.append(memory[: x.size].reshape(x.shape))
    told(xp, views)()
    np.testing.assert_allclose(host(xp, views[2]), a @ b, rtol=1e-5, atol=1e-5)
    views[2][...] = xp.asarray(np.zeros_like(c))
    told(xp, views, **wrong)()
    assert np.abs(host(xp, views[2]) - a @ b).max() > 1e-4


def status_of(xp, arrays, **changes):
    with pytest.raises(CublasLtError) as caught:
        told(xp, arrays, **changes)
    return caught.value.status


def test_a_leading_dimension_shorter_than_a_column_is_invalid(xp, arrays):
    assert status_of(xp, arrays, lda=23) == Status.INVALID_VALUE


def test_an_epilogue_that_is_called_invalid_is_left_to_the_caller(xp, arrays, caplog):
    problem = replace(arrange(*map(meta, arrays)).problem, epilogue="gelu_aux", aux_ld=20)
    assert Plan(context_of(xp), problem).candidates == ()
    assert "INVALID_VALUE" in caplog.text
    assert "done in other ways" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [{"type_d": "float16"}, {"type_a": "float16"}, {"compute": "float64"}, {"epilogue": "BGRADA"}],
    ids=str,
)
def test_what_does_not_exist_has_no_algorithm(xp, arrays, changes):
    right = arrange(*map(meta, arrays)).problem
    assert Plan(context_of(xp), replace(right, **changes)).candidates == ()


def test_an_address_less_aligned_than_promised_is_noticed(xp, arrays):
    a, b, c = arrays
    problem = arrange(*map(meta, arrays)).problem
    plan = Plan(context_of(xp), replace(problem, batch=1))
    call = BoundProduct(
        plan, Arrangement(problem, True, (Offsets(),)),
        (b.data.ptr + 4, a.data.ptr, c.data.ptr, 0, 0), (1.0, 0.0),
    )  # fmt: skip
    with pytest.raises(CublasLtError, match="INVALID_VALUE"):
        call()


def test_a_result_in_an_operand_is_noticed(xp):
    both, other = xp.zeros((8, 8), np.float32), xp.zeros((8, 8), np.float32)
    for a, b in ((both, other), (other, both.T)):
        with pytest.raises(DeviceError, match="the result lies in an operand"):
            bind_product(xp, a, b, both)()
    packed = xp.zeros((8, 3, 8), np.float32)
    bind_product(xp, packed[:, 0], packed[:, 1], packed[:, 2])()  # beside each other


def test_sums_that_are_added_where_they_stand_are_not_proposed(xp, arrays):
    plan = bind_product(xp, *arrays).plan
    numbers = [int.from_bytes(c.data[8:16], "little") for c in plan.candidates]
    assert numbers == [2, 3, 4]
    assert not Reduction.IN_PLACE & Reduction.COMPUTE_TYPE


def test_an_algorithm_that_needs_more_workspace_than_there_is_is_noticed(xp, arrays):
    call = bind_product(xp, *arrays)
    plan = Plan(call.plan.context, call.plan.problem)
    plan.use(next(c for c in plan.candidates if c.workspace))
    numbers = ctypes.c_float(1), ctypes.c_float(0)
    a, b, c = (x.data.ptr for x in arrays)
    factors = [ctypes.addressof(number) for number in numbers]
    context = plan.context
    before, context.workspace_bytes = context.workspace_bytes, 16
    stream = xp.cuda.get_current_stream()
    try:
        with pytest.raises(CublasLtError, match="INVALID_VALUE"):
            plan.enqueue(plan.with_addresses().value, *factors, b, a, c,
                         context.workspace(stream), stream.ptr)  # fmt: skip
    finally:
        context.workspace_bytes = before


def test_bytes_that_are_no_algorithm_are_refused(xp, arrays):
    plan = bind_product(xp, *arrays).plan
    assert plan.checked(b"x" * 64) is None
    assert plan.checked(b"short") is None
    assert plan.checked(plan.candidates[1].data) == plan.candidates[1]


def test_all_algorithms_find_the_product_but_round_differently(xp):
    rng = np.random.default_rng(0)
    shapes = ((16, 512), (512, 16), (16, 16))
    a, b, c = (xp.asarray(rng.standard_normal(s).astype(np.float32)) for s in shapes)
    call = bind_product(xp, a, b, c)
    first, found = call.plan.algorithm, {}
    for algorithm in call.plan.candidates:
        call.plan.use(algorithm)
        call()
        found[algorithm] = host(xp, c).copy()
    call.plan.use(first)
    wanted = host(xp, a).astype(np.float64) @ host(xp, b)
    for values in found.values():
        np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=1e-4)
    assert len({values.tobytes() for values in found.values()}) > 1
