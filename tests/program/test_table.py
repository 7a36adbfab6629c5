"""Every primitive of the table, compiled, against the eager call: value, VJP, JVP, and both."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import hpcad
import hpcad.parallel
import hpcad.primitives
from hpcad.autodiff import PRIMITIVES, jvp, value_of, vjp
from hpcad.program.capture.capture import VALUE_SHAPED

_spec = importlib.util.spec_from_file_location(
    "samples_of", Path(__file__).parents[1] / "primitives" / "samples_of.py"
)
_samples = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("samples_of", _samples)
_spec.loader.exec_module(_samples)
SAMPLES = _samples.gather()
ULPS = 64  # of the largest element: kernels sum in another order, and have an exp of their own


TOGETHER = 60  # samples in one program: compilers are started seldom
REFUSED = ("gammainc", "gammaincc")  # in their first argument
# Their derivatives ask whether a matrix is singular, and take another way then.
ASKING = ("cofactors", "det", "slogdet")


def samples(condition):
    """The samples of the primitives that meet a condition, in bundles."""
    every = [
        (f"{name}-{i}", primitive, args, params)
        for name, primitive in PRIMITIVES.items()
        if condition(primitive)
        for i, (args, params) in enumerate(SAMPLES.get(name, []))
    ]
    bundles = [every[i : i + TOGETHER] for i in range(0, len(every), TOGETHER)]
    return pytest.mark.parametrize(
        "bundle", [pytest.param(b, id=f"{b[0][0]}..{b[-1][0]}") for b in bundles]
    )


fixed = samples(lambda p: p.name not in VALUE_SHAPED)
differentiable = samples(
    lambda p: p.differentiable and not p.constant and p.name not in REFUSED + ASKING
)
either = pytest.mark.parametrize("native", [True, False], ids=["C", "NumPy"])
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def flat(tree):
    leaves = hpcad.autodiff.pytree.flatten(tree)[0]
    return [np.asarray(value_of(x)) for x in leaves]


def assert_bundle(bundle, native, places_of, of):
    """Three calls: two are captured, the third is replayed."""
    calls = [
        (name, of(with_arrays(primitive, args, params, places_of(args))), places_of(args), args)
        for name, primitive, args, params in bundle
    ]
    arrays = [[args[i] for i in places] for _, _, places, args in calls]

    def everything(arrays):
        return [call(*given) for (_, call, _, _), given in zip(calls, arrays, strict=True)]

    expected = everything(arrays)
    compiled = hpcad.compile(everything, strict=True, native=native)
    for _ in range(3):
        found = compiled(arrays)
    for (name, *_), a, b in zip(calls, found, expected, strict=True):
        for x, y in zip(flat(a), flat(b), strict=True):
            assert_close(x, y, name)


def assert_close(a, b, name):
    assert (a.dtype, a.shape) == (b.dtype, b.shape), name
    if a.dtype.kind not in "fc" or not a.size:
        np.testing.assert_array_equal(a, b, name)
        return
    eps = np.finfo(b.dtype).eps
    scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0))
    np.testing.assert_allclose(a, b, rtol=ULPS * eps, atol=ULPS * eps * scale, err_msg=name)


def arrays_of(args):
    return [i for i, a in enumerate(args) if isinstance(a, np.ndarray)]


def with_arrays(primitive, args, params, places):
    def call(*arrays):
        full = list(args)
        for i, array in zip(places, arrays, strict=True):
            full[i] = array
        return primitive(*full, **params)

    return call


def smooth(args):
    return [i for i in arrays_of(args) if args[i].dtype.kind in "fc"]


@either
@fixed
def test_values(bundle, native):
    assert_bundle(bundle, native, arrays_of, lambda call: call)


@either
@differentiable
def test_vjps(bundle, native):
    def of(call):
        def pulled(*arrays):
            answer, pull = vjp(call, *arrays)
            return answer, pull(_ones(answer))

        return pulled

    assert_bundle(bundle, native, smooth, of)


@either
@differentiable
def test_jvps(bundle, native):
    def of(call):
        return lambda *arrays: jvp(call, arrays, tuple(a * 0.5 for a in arrays))

    assert_bundle(bundle, native, smooth, of)


@either
@differentiable
def test_forward_over_reverse(bundle, native):
    def of(call):
        def pulled(*arrays):
            answer, pull = vjp(call, *arrays)
            return pull(_ones(answer))

        return lambda *arrays: jvp(pulled, arrays, tuple(a * 0.5 for a in arrays))

    assert_bundle(bundle, native, smooth, of)


def _ones(answer):
    leaves, structure = hpcad.autodiff.pytree.flatten(answer)
    return structure.build([np.ones(x.shape, x.dtype) for x in leaves])


@samples(lambda p: p.name in ASKING)
def test_derivatives_that_ask_for_values_stay_eager(bundle):
    for _, primitive, args, params in bundle:
        places = smooth(args)
        call = with_arrays(primitive, args, params, places)

        def pulled(*arrays, call=call):
            answer, pull = vjp(call, *arrays)
            return pull(_ones(answer))

        def both(*arrays, pulled=pulled):
            return jvp(pulled, arrays, arrays)

        arrays = [args[i] for i in places]
        compiled = hpcad.compile(both)
        for _ in range(3):
            found = compiled(*arrays)
        for a, b in zip(flat(found), flat(both(*arrays)), strict=True):
            assert_close(a, b, primitive.name)
        assert compiled.obstacles


@samples(lambda p: p.name in VALUE_SHAPED)
def test_what_has_a_shape_that_depends_on_values_stays_eager(bundle):
    for _, primitive, args, params in bundle:
        places = arrays_of(args)
        call = with_arrays(primitive, args, params, places)
        compiled = hpcad.compile(call)
        for _ in range(3):
            found = compiled(*(args[i] for i in places))
        expected = call(*(args[i] for i in places))
        for a, b in zip(flat(found), flat(expected), strict=True):
            np.testing.assert_array_equal(a, b, primitive.name)
        assert "shape" in compiled.obstacles[0]
