"""Fourier transforms: values against NumPy's, lengths and norms, derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff import Tensor, check_grads, grad, value_of
from hpcad.errors import ShapeError

rng = np.random.default_rng(31)


def real(*shape):
    return rng.standard_normal(shape)


def plane(*shape):
    return real(*shape) + 1j * real(*shape)


TAKES = {"fft": plane, "ifft": plane, "rfft": real, "irfft": plane, "hfft": plane, "ihfft": real}
NORMS = ["backward", "ortho", "forward"]


def close(found, expected):
    assert np.shape(found) == np.shape(expected)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(value_of(found), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [None, 1, 4, 5, 6, 9])
@pytest.mark.parametrize("name", TAKES)
def test_one_axis_equals_numpy_and_differentiates(name, n, norm):
    x = TAKES[name](2, 6, 3)
    options = {"n": n, "axis": 1, "norm": norm}
    close(getattr(hnp.fft, name)(x, **options), getattr(np.fft, name)(x, **options))
    check_grads(lambda a: getattr(hnp.fft, name)(a, **options), (x,), order=2)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("s", "axes"),
    [(None, None), (None, (0,)), ((3, 6), (0, 2)), ((5, 2), (2, 1)), ((4, -1), (1, 0))],
)
@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_several_axes_equal_numpy_and_differentiate(name, s, axes, norm):
    x = real(3, 4, 5) if name == "rfftn" else plane(3, 4, 5)
    options = {"s": s, "axes": axes, "norm": norm}
    close(getattr(hnp.fft, name)(x, **options), getattr(np.fft, name)(x, **options))
    check_grads(lambda a: getattr(hnp.fft, name)(a, **options), (x,), order=1)


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2"])
def test_planes(name):
    x = real(2, 4, 5) if name == "rfft2" else plane(2, 4, 5)
    close(getattr(hnp.fft, name)(x), getattr(np.fft, name)(x))


def test_an_axis_may_be_transformed_twice():
    x = plane(3, 4)
    close(hnp.fft.fftn(x, axes=(0, 0)), np.fft.fftn(x, axes=(0, 0)))


def test_real_numbers_get_real_gradients():
    x = real(6)
    weights = plane(6)
    found = grad(lambda a: hnp.sum(hnp.real(weights * hnp.fft.fft(a))))(x)
    close(found, np.fft.fft(weights).real)
    check_grads(hnp.fft.fft, (x,), order=2)
    check_grads(hnp.fft.irfft, (x,), order=2)


def test_energy_is_preserved_and_its_gradient_is_the_signal():
    """Parseval's identity, differentiated."""
    x = real(8)
    found = grad(lambda a: hnp.sum(hnp.abs(hnp.fft.fft(a, norm="ortho")) ** 2))(x)
    np.testing.assert_allclose(found, 2 * x, rtol=1e-12)


def test_single_precision_is_kept():
    x = real(6).astype(np.float32)
    assert hnp.fft.rfft(x).dtype == np.complex64
    assert hnp.fft.irfft(hnp.fft.rfft(x)).dtype == np.float32
    assert grad(lambda a: hnp.sum(hnp.abs(hnp.fft.rfft(a, 9)) ** 2))(x).dtype == np.float32


def test_integers_are_converted():
    x = np.arange(5)
    close(hnp.fft.fft(x), np.fft.fft(x))
    close(hnp.fft.rfft(x, n=8), np.fft.rfft(x, n=8))


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies_are_constant_tensors(n):
    for name in ("fftfreq", "rfftfreq"):
        found = getattr(hnp.fft, name)(n, d=0.5)
        assert isinstance(found, Tensor)
        close(found, getattr(np.fft, name)(n, 0.5))
        assert getattr(hnp.fft, name)(n, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("axes", [None, 0, (1,), (0, 1)])
def test_shifts_are_inverse_to_each_other(axes):
    x = plane(4, 5)
    close(hnp.fft.fftshift(x, axes=axes), np.fft.fftshift(x, axes=axes))
    close(hnp.fft.ifftshift(hnp.fft.fftshift(x, axes=axes), axes=axes), x)
    check_grads(lambda a: hnp.fft.fftshift(a, axes=axes), (x,), order=1)


def test_functions_of_numpy_differentiate_tensors():
    x = real(6)
    by_numpy = grad(lambda a: np.sum(np.abs(np.fft.rfft(a, 9)) ** 2))(x)
    np.testing.assert_array_equal(
        by_numpy, grad(lambda a: hnp.sum(hnp.abs(hnp.fft.rfft(a, 9)) ** 2))(x)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hnp.fft.fft(plane(3), n=0), "length 0 cannot be transformed"),
        (lambda: hnp.fft.irfft(plane(1)), "length 0 cannot be transformed"),
        (lambda: hnp.fft.rfft(plane(3)), "rfft transforms real numbers"),
        (lambda: hnp.fft.fft(plane(3), norm="other"), "norm is 'other'"),
        (lambda: hnp.fft.fftn(plane(3, 3), s=(2,), axes=(0, 1)), "1 lengths for 2 axes"),
        (lambda: hnp.fft.fftn(plane(3), s=(2, 2)), r"2 lengths for an array of shape \(3,\)"),
    ],
)
def test_errors_say_what_was_wrong(call, message):
    with pytest.raises(ShapeError, match=message):
        call()
