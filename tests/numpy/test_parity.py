"""Calls as users of NumPy write them: value, dtype, shape, and what kind of array comes out.

Every call is made with plain arrays, with constant tensors and with tensors on a tape, by the
function of ``hpcad.numpy`` and by NumPy's own, and must give what NumPy gives for plain arrays.
"""

from __future__ import annotations

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor, value_of

rng = np.random.default_rng(5)
REAL = rng.permutation(12).reshape(3, 4) / 4 - 1.1
ARRAYS = {
    "float64": REAL,
    "float32, other strides": np.asfortranarray(REAL.astype(np.float32))[::-1],
    "complex128": REAL + 1j * rng.standard_normal((3, 4)),
    "int64": rng.integers(-3, 9, (3, 4)),
    "int8": rng.integers(-3, 9, (3, 4)).astype(np.int8),
    "bool": REAL > 0,
    "vector": REAL.ravel()[:5],
    "empty": np.zeros((0, 3)),
    "stack": rng.standard_normal((2, 3, 4)),
}

# ``m`` is the namespace, ``x`` the array.
CALLS = """
m.sum(x) | m.sum(x, 0) | m.sum(x, -1, np.float64) | m.sum(x, axis=(0, 1), keepdims=True)
m.prod(x, 0) | m.mean(x, axis=()) | m.mean(x, -1, np.float64) | m.max(x, 0) | m.min(x, None)
m.ptp(x, axis=-1) | m.var(x, ddof=1) | m.std(x, 0) | m.std(x, axis=-1, correction=1)
m.nanvar(x, axis=-1) | m.nanstd(x, ddof=1) | m.nansum(x, 0) | m.nanmax(x, -1)
m.nanargmax(x) | m.nanargmin(x, axis=-1, keepdims=True) | m.argmax(x, 0) | m.argmin(x, axis=-1)
m.cumsum(x) | m.cumsum(x, 0) | m.cumprod(x, -1, np.float64)
m.cumulative_sum(x, axis=-1)
m.average(x, 0, None, True) | m.average(x, axis=-1, weights=np.arange(1, 5)) | m.any(x, 0)
m.all(x, axis=-1, keepdims=True) | m.count_nonzero(x, 0) | m.diff(x, 2) | m.diff(x, 1, 0)
m.trapezoid(x, None, 0.5, 0) | m.gradient(x, 0.5) | m.clip(x, 0, 1) | m.clip(x, None, 1)
m.clip(x, a_min=0, a_max=1) | m.clip(x, max=2) | m.round(x, 1) | m.around(x, decimals=1)
m.modf(x) | m.divmod(x, 2) | m.floor_divide(7, x + 20) | m.power(x, 2) | m.float_power(x, 2)
m.heaviside(x, 0.5) | m.arctan2(x, 2) | m.hypot(x, 2.0) | m.copysign(x, -1) | m.maximum(x, 0)
m.where(x > 0, x, 0) | m.where(x) | m.select([x > 0, x < 0], [x, -1 * x], 5) | m.isclose(x, 1)
m.reshape(x, (2, -1)) | m.reshape(x, -1) | m.ravel(x) | m.transpose(x) | m.transpose(x, (1, 0))
m.swapaxes(x, 0, 1) | m.moveaxis(x, 0, -1) | m.rollaxis(x, 1) | m.expand_dims(x, (0, 2))
m.squeeze(x) | m.flip(x, 0) | m.rot90(x, 3) | m.roll(x, 1) | m.roll(x, (1, 2), (0, 1))
m.repeat(x, 2) | m.repeat(x, [1, 0, 2], 0) | m.tile(x, (2, 1)) | m.broadcast_to(x, (2, *x.shape))
m.atleast_2d(x) | m.atleast_3d(x) | m.concatenate([x, x], -1) | m.concatenate((x, x), axis=None)
m.stack([x, x], 1) | m.vstack([x, x]) | m.hstack([x, x]) | m.dstack([x, x]) | m.column_stack([x, x])
m.block([[x, x], [x, x]]) | m.split(x, [1, 3]) | m.split(x, 2, -1) | m.array_split(x, 3)
m.hsplit(x, [1]) | m.append(x, 5) | m.append(x, x, 0) | m.insert(x, 1, 5) | m.delete(x, 0, -1)
m.pad(x, 1) | m.pad(x, (1, 2), 'reflect') | m.pad(x, 1, constant_values=3)
m.tril(x, 1) if x.ndim > 1 else 0
m.triu(x, k=-1) if x.ndim > 1 else 0 | m.diag(x, 1) | m.diagonal(x, 1) | m.trace(x) | m.vander(x)
m.vander(x, 3, True) | m.sort(x, 0) | m.sort(x, axis=None) | m.argsort(x, 0, stable=True)
m.take(x, [0, -1]) | m.take(x, [[0], [1]], axis=-1) | m.compress([True, False], x, 0)
m.take_along_axis(x, np.argsort(value(x), -1), -1) | m.extract(x > 0, x) | m.nonzero(x)
m.searchsorted([0.0, 1, 2], x, 'right') | m.digitize(x, [0.0, 1, 2]) | m.isin(x, [1, 2])
m.choose(np.array([0, 1]), [x, x]) | m.zeros_like(x) + x | x + m.full_like(x, 2)
m.astype(x, 'complex128') | m.result_type(x, np.float32) | m.shape(x) | m.ndim(x) | m.size(x)
m.size(x, 0) | m.iscomplexobj(x)
m.median(x) if x.size and x.dtype.kind != 'c' else 0 | m.dot(x, x.T) | m.inner(x, x)
m.outer(x, x) | m.kron(x, x) | m.tensordot(x, x, 0) | m.tensordot(x, x, ((0,), (0,)))
m.tensordot(x, x, axes=([1, 0], [1, 0])) | m.vdot(x, x) | m.vecdot(x, x, axis=0)
m.einsum('ij,kj', x, x) | m.einsum(x, [0, 1], [1, 0]) | m.matmul(x, x.T)
m.cross(x[:, :3], x[:, 1:4], axis=1) if x.shape == (3, 4) else 0
m.linalg.norm(x) | m.linalg.norm(x, 1) | m.linalg.norm(x, np.inf) | m.linalg.norm(x, 2)
m.linalg.norm(x, None, -1, True) | m.linalg.vector_norm(x, ord=np.inf) | m.linalg.qr(x, 'r') * 0
m.linalg.matrix_norm(x, ord=1) | m.linalg.outer(x[0], x[1]) | m.linalg.matmul(x, x.T)
m.linalg.svd(x, False)[1] | m.linalg.pinv(x[:2]) | m.linalg.matrix_power(x[:, :3], 3)
m.linalg.det(x[:, :3]) | m.fft.fft(x, 5) | m.fft.rfft(x, None, 0) | m.fft.ifft(x, norm='ortho')
m.fft.fft2(x, (4, 6)) | m.fft.fftn(x) | m.fft.irfft(x, n=6) | m.fft.fftshift(x, 0)
"""

METHODS = """
x.sum(0) | x.sum((0, 1)) | x.mean(-1, np.float64) | x.std(ddof=1) | x.var(0) | x.min(0)
x.max(-1, keepdims=True) | x.argmin(0) | x.cumsum(0) | x.cumprod() | x.clip(0, 1)
x.clip(min=0) | x.round(1) | x.conj()
x.reshape(2, -1) | x.reshape((2, -1)) | x.reshape(-1) | x.ravel() | x.flatten() | x.transpose(1, 0)
x.transpose((1, 0)) | x.T | x.swapaxes(0, 1) | x.squeeze() | x.repeat(2, 0) | x.take([0], 0)
x.compress([True, False], 0) | x.diagonal(1) | x.dot(x.T) | x.astype('complex64') | x.real | x.imag
x.argsort(kind='stable') | x.nonzero() | x.any(0) | x.all(axis=-1) | x.itemsize | x.nbytes | x.ndim
1 in x | 77 in x | x + 1 | 2.5 - x | x // 2 | 7 % (x + 20) | x ** 3 | -x | abs(x) | x @ x.T | x[0]
x[::-1] | x[x > 0] | x[:, None] | x[[0, 1]] | np.float32(2) * x | np.ones(4) * x | [1, 2, 3] @ x
x + [1] | divmod(x, 2) | x == 1 | len(x) | np.add.reduce(x, axis=None) | np.subtract.outer(x, x)
np.maximum.accumulate(x) | np.multiply.reduce(x)
"""


def calls(text):
    return [call.strip() for line in text.strip().splitlines() for call in line.split(" | ")]


def evaluated(call, names):
    return eval(call, names)  # noqa: S307  (the calls above)


def flat(answer):
    return (
        [v for part in answer for v in flat(part)] if isinstance(answer, tuple | list) else [answer]
    )


def assert_same(found, expected, tensors):
    found, expected = flat(found), flat(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        if not isinstance(b, np.ndarray | np.generic):
            assert value_of(a) == b
            continue
        assert isinstance(a, Tensor) == tensors
        a = value_of(a)
        assert a.dtype == b.dtype
        assert np.shape(a) == b.shape
        exact = b.dtype.kind not in "fc"
        tolerance = 0 if exact else 100 * float(np.finfo(b.dtype).eps)
        scale = np.max(np.abs(b), initial=0) if b.dtype.kind in "fc" else 0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("tracked", [False, True], ids=["constant", "tracked"])
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_calls_give_what_numpy_gives(kind, tracked):
    x = ARRAYS[kind]
    if tracked and x.dtype.kind not in "fc":
        return
    differing = []
    for call in calls(CALLS) + calls(METHODS):
        try:
            expected = evaluated(call, {"m": np, "np": np, "x": x, "value": np.asarray})
        except (TypeError, ValueError, IndexError, np.exceptions.ComplexWarning):
            continue  # not a call for such an array
        with Tape() as tape:
            tensor = tape.input(x) if tracked else Tensor(x)
            given = [(hnp, tensor, True), (np, tensor, True)]
            if not tracked and "m." in call:
                given.append((hnp, x, False))
            for m, argument, tensors in given:
                try:
                    found = evaluated(call, {"m": m, "np": np, "x": argument, "value": value_of})
                    assert_same(found, expected, tensors or "_like" in call)
                except Exception as error:  # noqa: BLE001  (all differences are wanted)
                    differing.append(f"{call} by {m.__name__}: {type(error).__name__}: {error}")
    assert differing == []
