"""Primitives on bfloat16 and float16: values and derivatives, held to those in float32."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
import hpcad.parallel
import hpcad.primitives
from hpcad.autodiff import PRIMITIVES, value_of
from hpcad.backend.half import is_half, named
from hpcad.primitives.normalization import layer_norm
from hpcad.primitives.softmax import cross_entropy, log_softmax

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

_spec = importlib.util.spec_from_file_location(
    "samples_of", Path(__file__).parent / "samples_of.py"
)
samples_of = sys.modules.get("samples_of") or importlib.util.module_from_spec(_spec)
if "samples_of" not in sys.modules:
    sys.modules["samples_of"] = samples_of
    _spec.loader.exec_module(samples_of)
SAMPLES, as_tuple = samples_of.gather(), samples_of.as_tuple

HALVES = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # the largest relative error of a rounding
# Factorisations, which LAPACK has no half precision for; and messages, which MPI has none for.
# fmt: off
WIDER = {
    "inv", "solve", "solve_triangular", "pinv", "det", "cofactors", "slogdet", "eigh", "eigvalsh",
    "eig", "eigvals", "cholesky", "lu", "qr", "expm", "svd", "svdvals", "matrix_rank",
    "unwrap", "ldexp", "hfft",
    "allreduce_sum", "reduce_sum", "bcast", "allgather", "reduce_scatter_sum", "scan_sum",
    "allreduce_max", "allreduce_min", "allreduce_prod", "alike",
}
# fmt: on
SINGLE = {"cross_entropy"}  # whose answer is float32: losses are averaged
ULPS = 16  # roundings, relative to the largest number of an array
MORE = {"log_ndtr": 64}  # whose derivative is the exponential of a large number


def _with_reals(name):
    """The samples of a primitive that have real floating-point arrays, and no complex ones."""
    for args, params in SAMPLES[name]:
        kinds = [a.dtype.kind for a in args if isinstance(a, np.ndarray | np.generic)]
        if "f" in kinds and "c" not in kinds:
            yield args, params


NAMES = [name for name in PRIMITIVES if name not in WIDER and any(_with_reals(name))]


def _halved(x, half):
    real = isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "f"
    return np.asarray(x, half) if real else x


def _widened(x):
    return np.asarray(x, np.float32) if hasattr(x, "dtype") and is_half(x.dtype) else x


def _close(found, expected, half, ulps=ULPS):
    found, expected = np.asarray(value_of(found)), np.asarray(value_of(expected))
    if expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(found, expected)
        return
    assert expected.dtype != np.float32 or found.dtype in (half, np.float32)
    finite = np.isfinite(expected)
    scale = np.abs(expected[finite]).max(initial=0)
    atol = ulps * HALVES[half.name] * float(scale)
    np.testing.assert_allclose(
        found.astype(expected.dtype)[finite], expected[finite], rtol=0, atol=atol
    )


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_are_those_of_single_precision(name, half):
    half, primitive = named(half), PRIMITIVES[name]
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        for args, params in _with_reals(name):
            given = tuple(_halved(a, half) for a in args)
            ours = samples_of.Sample(primitive, given, params)
            single = samples_of.Sample(primitive, tuple(map(_widened, given)), params)
            ours.floating = single.floating
            for found, expected in zip(
                as_tuple(primitive(*given, **params)),
                as_tuple(primitive(*single.args, **params)),
                strict=True,
            ):
                _close(found, expected, half)
                if value_of(expected).dtype == np.float32 and name not in SINGLE:
                    assert value_of(found).dtype == half
            if primitive.differentiable and not primitive.constant:
                _check_derivatives(primitive, ours, single, half, rng)


def _check_derivatives(primitive, ours, single, half, rng):
    if primitive.has_jvp:
        tangents = tuple(_halved(rng.standard_normal(np.shape(x)), half) for x in ours.points)
        _, found = hpcad.jvp(ours, ours.points, tangents)
        _, expected = hpcad.jvp(single, single.points, tuple(map(_widened, tangents)))
        for pair in zip(as_tuple(found), as_tuple(expected), strict=True):
            _close(*pair, half, MORE.get(primitive.name, ULPS))
    if primitive.has_vjp:
        answer, pull = hpcad.vjp(ours, *ours.points)
        alike, expected_pull = hpcad.vjp(single, *single.points)
        seeds = [
            np.asarray(rng.standard_normal(np.shape(x)), value_of(x).dtype)
            for x in as_tuple(answer)
        ]
        wide = [
            _widened(s).astype(value_of(x).dtype)
            for s, x in zip(seeds, as_tuple(alike), strict=True)
        ]
        several = isinstance(answer, tuple)
        found = pull(tuple(seeds) if several else seeds[0])
        expected = expected_pull(tuple(wide) if several else wide[0])
        for one, other in zip(found, expected, strict=True):
            assert value_of(one).dtype == half
            _close(one, other, half, MORE.get(primitive.name, ULPS))


@pytest.mark.parametrize("half", HALVES)
def test_sums_count_beyond_what_a_half_can(half):
    """Added up in half precision, ones end at 256 (bfloat16) or 2048 (float16)."""
    ones = np.ones((3, 10000), named(half))
    expected = np.array(10000, named(half))
    for total in (hnp.sum(ones, axis=1), hnp.cumsum(ones, axis=1)[:, -1], hnp.sum(ones.T, axis=0)):
        np.testing.assert_array_equal(total, np.full(3, expected))
    assert float(hnp.mean(ones)) == 1.0
    assert float(hnp.var(ones)) == 0.0
    assert hnp.sum(ones).dtype == named(half)


@pytest.mark.parametrize("half", HALVES)
def test_derivatives_go_back_through_conversions_to_the_type_of_the_argument(half):
    half = named(half)
    x = np.linspace(0.5, 1.5, 7, dtype=np.float32)

    def f(x):
        return hnp.sum(hnp.astype(hnp.astype(x, half) * 3, np.float32) ** 2)

    rounded = x.astype(half).astype(np.float32) * 3
    gradient = hpcad.grad(f)(x)
    assert gradient.dtype == np.float32
    rtol = 3 * HALVES[half.name]
    np.testing.assert_allclose(gradient, 6 * rounded, rtol=rtol)
    assert hpcad.grad(f)(x.astype(half)).dtype == half
    _, tangent = hpcad.jvp(lambda x: hnp.astype(x, half), (x,), (np.ones_like(x),))
    assert tangent.dtype == half
    _, tangent = hpcad.jvp(
        lambda x: hnp.astype(x, np.float32), (x.astype(half),), (np.ones_like(x, half),)
    )
    assert tangent.dtype == np.float32


@pytest.mark.parametrize("half", HALVES)
def test_numbers_take_the_type_of_the_arrays(half):
    """Of tensors; NumPy itself makes float32 of a plain array of bfloat16 and a number."""
    x = hpcad.Tensor(np.linspace(-2, 2, 9).astype(named(half)))
    for y in (x * 0.3, 0.3 * x, x + 1, x / 3.0, x**2, abs(x) ** 0.5, -x, abs(x) + True):
        assert y.dtype == named(half)
    for y in (hnp.where(x > 0, x, 0.1), hnp.maximum(x, 0.1), hnp.clip(x, -1, 1.5)):
        assert y.dtype == named(half)
    assert (x * np.ones(9, np.float32)).dtype == np.float32


@pytest.mark.parametrize("half", HALVES)
def test_losses_and_norms_are_computed_in_single_precision(half):
    half, rng = named(half), np.random.default_rng(1)
    x = rng.normal(size=(6, 300)).astype(half)
    labels = rng.integers(0, 300, 6)
    loss = cross_entropy(x, labels)
    assert loss.dtype == np.float32
    np.testing.assert_array_equal(loss, cross_entropy(x.astype(np.float32), labels))
    scale, shift = rng.normal(size=(2, 300)).astype(half)
    found = layer_norm(x, scale, shift)
    single = layer_norm(*(a.astype(np.float32) for a in (x, scale, shift)))
    np.testing.assert_array_equal(found, single.astype(half))
    mixed = layer_norm(x, scale.astype(np.float32), shift.astype(np.float32))
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(log_softmax(x), log_softmax(x.astype(np.float32)).astype(half))


@pytest.mark.parametrize("half", HALVES)
def test_numerical_differentiation_takes_half_precision(half):
    x = np.linspace(-1, 1, 5).astype(named(half))
    hpcad.check_grads(lambda x: hnp.tanh(x) * x, (x,))
