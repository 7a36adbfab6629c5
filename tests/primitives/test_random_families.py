"""Families of functions on random shapes, dtypes, memory layouts and parameters.

As in ``test_random_shapes.py``: forward mode against numerical differentiation, reverse mode
against forward mode.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import hpcad.numpy as hnp
from hpcad.numpy import fft, linalg

from .random_arrays import arrays, check, law, reduced, shapes

EXACT = [np.float64, np.complex128]


@st.composite
def along(draw, dtypes=EXACT, least=1):
    """An array, and one of its axes, counted from either end."""
    shape = draw(shapes().filter(lambda s: len(s) >= least))
    x = draw(arrays(shape, draw(st.sampled_from(dtypes))))
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


# -- along an axis ------------------------------------------------------------------------------


@law(300)
@given(st.sampled_from([hnp.cumsum, hnp.cumprod, hnp.nancumsum, hnp.nancumprod]), along())
def test_running_sums_and_products(f, case):
    x, axis = case
    check(lambda x: f(x, axis=axis), [x])


@law(200)
@given(st.sampled_from([hnp.cumulative_sum, hnp.cumulative_prod]), along())
def test_running_reductions_from_the_start(f, case):
    x, axis = case
    check(lambda x: f(x, axis=axis, include_initial=True), [x])


@law(200)
@given(along(), st.integers(0, 2))
def test_differences(case, order):
    x, axis = case
    assume(x.shape[axis] >= order)
    check(lambda x: hnp.diff(x, n=order, axis=axis), [x])


@law(300)
@given(along([np.float64]), st.booleans())
def test_sorted_and_ranked(case, descending):
    x, axis = case
    check(lambda x: hnp.sort(x, axis=axis, descending=descending), [x])
    order = hnp.argsort(x, axis=axis, descending=descending)
    check(lambda x: hnp.take_along_axis(x, order, axis=axis), [x])


@law(200)
@given(along([np.float64]), st.integers(0, 2))
def test_partitioned(case, place):
    x, axis = case
    assume(place < x.shape[axis])
    check(lambda x: hnp.partition(x, place, axis=axis), [x])


@law(300)
@given(st.sampled_from([hnp.median, hnp.nanmedian, hnp.ptp, hnp.nanmax, hnp.nanmin]), reduced())
def test_order_statistics(f, case):
    x, axis, keepdims = case
    assume(x.size)
    check(lambda x: f(x, axis=axis, keepdims=keepdims), [np.real(x)])


@law(200)
@given(reduced(), st.lists(st.floats(0.01, 0.99), max_size=2))
def test_quantiles(case, places):
    x, axis, keepdims = case
    assume(x.size)
    check(lambda x: hnp.quantile(x, np.array(places), axis, keepdims=keepdims), [np.real(x)])


# -- layout -------------------------------------------------------------------------------------


@law(300)
@given(along(), st.integers(-4, 4), st.integers(0, 3))
def test_rolled_repeated_and_tiled(case, shift, times):
    x, axis = case
    counts = np.arange(x.shape[axis]) % 3

    def f(x):
        parts = [hnp.roll(x, shift, axis), hnp.roll(x, shift), hnp.tile(x, (times, 1))]
        return *parts, hnp.repeat(x, times, axis), hnp.repeat(x, counts, axis)

    check(f, [x])


@law(300)
@given(along(), st.data())
def test_joined_and_split(case, data):
    x, axis = case
    y = data.draw(arrays(x.shape))
    cut = data.draw(st.integers(0, x.shape[axis]))
    check(lambda x, y: (hnp.concatenate([x, y, x], axis), hnp.stack([y, x], axis)), [x, y])
    check(lambda x: hnp.split(x, [cut], axis), [x])
    if x.shape[axis]:
        check(lambda x: hnp.unstack(x, axis=axis), [x])


@law(300)
@given(
    arrays(),
    st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"]),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=3),
)
def test_padded(x, mode, widths):
    assume(mode == "constant" or 0 not in x.shape)
    check(lambda x: hnp.pad(x, widths[: x.ndim] or 0, mode=mode), [x])


@law(200)
@given(along(least=2), st.integers(-3, 3), st.data())
def test_diagonals_and_triangles(case, k, data):
    x, first = case
    second = data.draw(st.integers(0, x.ndim - 1))
    assume(second != first % x.ndim)
    check(lambda x: (hnp.diagonal(x, k, first, second), hnp.trace(x, k, first, second)), [x])
    check(lambda x: (hnp.tril(x, k=k), hnp.triu(x, k=k), hnp.rot90(x, k, (first, second))), [x])


# -- transforms ---------------------------------------------------------------------------------

lengths = st.none() | st.integers(1, 5)
norms = st.sampled_from(["backward", "ortho", "forward"])


@law(400)
@given(st.sampled_from([fft.fft, fft.ifft, fft.irfft, fft.hfft]), along(), lengths, norms)
def test_fourier_transforms(f, case, n, norm):
    x, axis = case
    assume(n is not None or x.shape[axis] > 1)
    check(lambda x: f(x, n, axis, norm), [x])


@law(200)
@given(st.sampled_from([fft.rfft, fft.ihfft]), along([np.float64]), lengths, norms)
def test_fourier_transforms_of_real_numbers(f, case, n, norm):
    x, axis = case
    assume(n is not None or x.shape[axis])
    check(lambda x: f(x, n, axis, norm), [x])


@law(200)
@given(st.sampled_from([fft.fftn, fft.ifftn, fft.irfftn]), along(), st.data(), norms)
def test_fourier_transforms_of_several_axes(f, case, data, norm):
    x, _ = case
    axes = data.draw(st.permutations(range(x.ndim)))[: data.draw(st.integers(1, x.ndim))]
    sizes = [data.draw(st.integers(1, 4)) for _ in axes]
    check(lambda x: f(x, sizes, axes, norm), [x])


# -- matrices -----------------------------------------------------------------------------------


@st.composite
def matrices(draw, square=True, dtypes=EXACT):
    """Stacks of well-conditioned matrices: large diagonals, and no two singular values alike."""
    batch = draw(shapes(2))
    n = draw(st.integers(0, 3))
    m = n if square else draw(st.integers(n, n + 1))
    x = draw(arrays((*batch, m, n), draw(st.sampled_from(dtypes))))
    return 0.2 * x + np.diag(np.arange(1.0, m + 1) + 1)[:, :n]


def _hermitian(x):
    return x @ hnp.conj(hnp.matrix_transpose(x))


ON_SQUARES = {
    "det": linalg.det,
    "slogdet": linalg.slogdet,
    "inv": linalg.inv,
    "third power": lambda x: linalg.matrix_power(x, 3),
    "inverse square": lambda x: linalg.matrix_power(x, -2),
    "exponential": lambda x: linalg.expm(0.3 * x),
    "cholesky": lambda x: linalg.cholesky(_hermitian(x)),
    "eigenvalues": linalg.eigvals,
    "Hermitian eigenvalues": lambda x: linalg.eigvalsh(_hermitian(x)),
    "lu": lambda x: linalg.lu(x)[1:],
}
ON_MATRICES = {
    "qr": linalg.qr,
    "singular values": linalg.svdvals,
    "pseudo-inverse": linalg.pinv,
    "Frobenius norm": linalg.matrix_norm,
    "spectral norm": lambda x: linalg.matrix_norm(x, ord=2),
    "nuclear norm": lambda x: linalg.matrix_norm(x, ord="nuc"),
    "norm of columns": lambda x: linalg.matrix_norm(x, ord=1),
}


@pytest.mark.parametrize("name", ON_SQUARES)
@law(60)
@given(matrices())
def test_functions_of_square_matrices(name, x):
    check(ON_SQUARES[name], [x])


@pytest.mark.parametrize("name", ON_MATRICES)
@law(60)
@given(matrices(square=False))
def test_functions_of_matrices(name, x):
    assume(x.shape[-1] or name not in ("pseudo-inverse", "spectral norm"))
    check(ON_MATRICES[name], [x])


@law(200)
@given(matrices(), st.data())
def test_linear_systems_with_right_sides_that_broadcast(a, data):
    columns, n = data.draw(st.integers(0, 2)), a.shape[-1]
    batch = tuple(1 if data.draw(st.booleans()) else size for size in a.shape[:-2])
    b = data.draw(arrays((*batch, n, columns)))
    check(linalg.solve, [a, b])
    check(lambda a, b: linalg.solve_triangular(a, b, lower=True), [a, b])


@law(200)
@given(st.sampled_from([hnp.kron, hnp.outer, hnp.inner, hnp.vecdot, hnp.vdot]), along(), st.data())
def test_products(f, case, data):
    x, _ = case
    check(f, [x, data.draw(arrays(x.shape))])


@law(200)
@given(reduced(), st.sampled_from([1, 2, 3, 0.5, -1, np.inf, -np.inf]))
def test_norms_of_vectors(case, order):
    x, axis, keepdims = case
    assume(x.size)
    check(lambda x: linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=order), [x])


# -- special functions --------------------------------------------------------------------------

ON_PLANE = [hnp.erf, hnp.erfc, hnp.ndtr, hnp.log_ndtr]
# fmt: off
ON_LINE = [hnp.gamma, hnp.gammaln, hnp.digamma, hnp.expit, hnp.erfcx, hnp.softplus,
           hnp.log_sigmoid, hnp.entr, hnp.i0, hnp.i0e, hnp.i1, hnp.i1e, hnp.j0, hnp.j1, hnp.sinc,
           hnp.cbrt, hnp.exp2, hnp.log2]
# fmt: on
ON_PAIRS = [hnp.beta, hnp.betaln, hnp.xlogy, hnp.xlog1py, hnp.rel_entr, hnp.kl_div]


@law(300)
@given(st.sampled_from(ON_PLANE), arrays())
def test_special_functions_of_complex_numbers(f, x):
    check(f, [x])


@law(400)
@given(st.sampled_from(ON_PLANE + ON_LINE), arrays(dtype=np.float64))
def test_special_functions_of_real_numbers(f, x):
    check(f, [x])


@law(300)
@given(st.sampled_from(ON_PAIRS), st.data())
def test_special_functions_of_two_numbers_that_broadcast(f, data):
    shape = data.draw(shapes())
    kept = data.draw(st.integers(0, len(shape)))
    pair = [data.draw(arrays(s, np.float64)) for s in (shape, shape[kept:])]
    check(f, pair)


@law(200)
@given(st.sampled_from([hnp.logsumexp, hnp.softmax, hnp.log_softmax]), along([np.float64]))
def test_exponentials_over_an_axis(f, case):
    x, axis = case
    assume(x.shape[axis])
    check(lambda x: f(x, axis=axis), [x])
