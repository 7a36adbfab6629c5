"""Products with all layouts, types and epilogues have the numbers that NumPy finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from device import TYPES, expected, host, put, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.enums import EPILOGUES, numpy_type
from hpcad.backend.cublaslt.layout import NAMES

ENDS = sorted({*EPILOGUES, "bgrad_a", "bgrad_b"} - {"BGRADA", "BGRADB"})
KIND = {name: EPILOGUES[NAMES.get(name, name)] for name in ENDS}


def run(xp, case):
    """Bind and call; the differences to what is expected, or None."""
    m, n, k, batch, types, end, alpha, beta, layouts, seed = case
    rng = np.random.default_rng(seed)
    small, result = map(numpy_type, types)
    draw = lambda dtype, *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    a, b = draw(small, *batch[0], m, k), draw(small, *batch[1], k, n)
    full = np.broadcast_shapes(*batch)
    c = draw(result, *full, m, n)
    bias = draw(result, m if end == "bgrad_a" else n) if KIND[end].bias else None
    aux = draw(result, *full, m, n) if KIND[end].aux else None
    wanted = expected(end, a, b, c, alpha, beta, bias, aux)
    if beta == 0:
        c = np.full_like(c, np.nan)  # is not read
    arrays = [put(xp, x, *layout) for x, layout in zip((a, b, c), layouts, strict=False)]
    given_bias = None if bias is None else xp.asarray(bias)
    lying = (layouts[2][0], -(m if layouts[2][0] else n) % 8, 0)
    given_aux = None if aux is None else put(xp, aux, *lying)
    call = bind_product(
        xp, *arrays, alpha=alpha, beta=beta, epilogue=end, bias=given_bias, aux=given_aux
    )
    if call is None:
        return None
    call()
    found = [None if x is None else host(xp, x) for x in (arrays[2], given_bias, given_aux)]
    return wanted, found, tolerance(types[1]) * (1 + k)


def check(xp, case):
    outcome = run(xp, case)
    if outcome is None:
        return False
    wanted, found, near = outcome
    for want, have in zip(wanted, found, strict=True):
        if want is not None:
            np.testing.assert_allclose(have.astype(np.float64), want, rtol=near, atol=near)
    return True


size = st.sampled_from([1, 2, 3, 5, 8, 16, 17])
layout = st.tuples(st.booleans(), st.sampled_from([0, 1, 3, 8]), st.sampled_from([0, 1, 8]))
batches = st.sampled_from([
    ((), ()), ((3,), (3,)), ((3,), ()), ((), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)),
    ((2, 3), ()), ((1,), (1,)), ((4, 2, 3), (2, 3)),
])  # fmt: skip


case = st.tuples(
    size, size, size, batches, st.sampled_from(TYPES), st.sampled_from(ENDS),
    st.sampled_from([1.0, 0.5]), st.sampled_from([0.0, 1.0, -0.5]),
    st.tuples(layout, layout, layout), st.integers(0, 99),
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(case)
def test_every_product_that_is_bound_is_right(xp, case):
    check(xp, case)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(case)
def test_many_products_that_are_bound_are_right(xp, case):
    check(xp, case)


@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize(("a", "b", "c"), list(itertools.product([False, True], repeat=3)))
def test_no_layout_of_matrices_needs_a_copy(xp, types, a, b, c):
    layouts = [(x, 8, 0) for x in (a, b, c)]
    assert check(xp, (5, 7, 6, ((), ()), types, "", 2.0, 1.0, layouts, 0))
    assert check(xp, (5, 7, 6, ((3,), (3,)), types, "", 2.0, 1.0, layouts, 0))


@pytest.mark.parametrize("end", ENDS)
def test_every_epilogue_is_bound_beside_rows(xp, end):
    layouts = [(False, 0, 0)] * 3
    assert check(xp, (5, 16, 6, ((), ()), ("float32", "float32"), end, 1.0, 1.0, layouts, 0))


@pytest.mark.parametrize("end", ["relu", "gelu", "gelu_aux", "dgelu"])
def test_epilogues_without_a_vector_are_bound_beside_columns(xp, end):
    layouts = [(False, 0, 0), (False, 0, 0), (True, 0, 0)]
    assert check(xp, (16, 5, 6, ((2,), (2,)), ("float32", "float32"), end, 1.0, 1.0, layouts, 0))
