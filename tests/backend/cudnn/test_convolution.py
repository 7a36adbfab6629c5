"""Convolutions that are bound to cuDNN compute what the primitives do, on the stand-in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpcad.backend import counted_flops
from hpcad.backend.cudnn import bind_convolution, convolution_problem
from hpcad.backend.cudnn.context import context_of
from hpcad.backend.strict import StrictDeviceError
from hpcad.errors import DeviceError, ShapeError

from .convolutions import SLIDES, WAYS, Case, problem

TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def computed(xp, problem):
    case = Case(xp, problem)
    case.bound()()
    return case


@pytest.mark.parametrize("slide", SLIDES)
@pytest.mark.parametrize("way", WAYS)
def test_numbers_are_those_of_the_primitives(xp, way, slide):
    computed(xp, problem(way, **SLIDES[slide])).check(TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("way", WAYS)
def test_numbers_of_half_types(xp, way, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    computed(xp, problem(way, dtype, images=(2, 6, 5, 8))).check(TOLERANCE[dtype])


@pytest.mark.parametrize("images", [(1, 7, 8, 4), (3, 7, 8, 1), (2, 3, 9, 3)])
@pytest.mark.parametrize("way", WAYS)
def test_axes_may_be_short(xp, way, images):
    computed(xp, problem(way, images=images, filters=1)).check(TOLERANCE["float32"])


@pytest.mark.parametrize("more", [{"bias": True}, {"relu": True}, {"bias": True, "relu": True}])
def test_bias_and_relu_follow(xp, more):
    computed(xp, problem(**more, **SLIDES["strided"])).check(TOLERANCE["float32"])


def test_a_plan_is_made_once_for_a_problem(xp):
    first, again, other = (Case(xp, problem(filters=n)) for n in (6, 6, 7))
    assert first.plan() is again.plan()
    assert first.plan() is not other.plan()
    assert len(context_of(xp).cudnn.graphs) == 2


def test_without_being_asked_for_there_is_no_plan(xp, monkeypatch):
    monkeypatch.setenv("HPCAD_CUDNN", "0")
    assert Case(xp, problem()).plan() is None


# -- which engines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_same_numbers_give_the_same_bits(xp, monkeypatch, way):
    def twice():
        case = Case(xp, problem(way))
        call, found = case.bound(), []
        for _ in range(2):
            call()
            found.append(case.found())
        return np.array_equal(*found)

    assert twice()
    context_of(xp).plans.clear()
    monkeypatch.setattr(convolution_problem.ConvolutionProblem, "refused", ())
    assert not twice()  # the first engine of the stand-in is one that is not deterministic


def test_float32_is_rounded_only_where_tf32_is_allowed(xp):
    exact, fast = (computed(xp, problem(tf32=allowed)) for allowed in (False, True))
    exact.check(1e-6)
    with pytest.raises(AssertionError):
        fast.check(1e-5)
    fast.check(2e-3)


def test_a_gradient_of_halves_is_rounded_where_no_engine_keeps_it(xp, caplog):
    wide = Case(xp, problem("weight", "float16", images=(2, 6, 5, 8), answer="float32"))
    assert wide.plan().problem.answer == "float16"
    assert wide.plan() is Case(xp, dataclasses.replace(wide.problem, answer="float16")).plan()
    assert not caplog.records
    wide.bound()()
    wide.check(TOLERANCE["float16"])


def test_without_a_plan_the_caller_is_told_why(xp, monkeypatch, caplog):
    monkeypatch.setattr(convolution_problem, "MOST", 100)
    assert Case(xp, problem()).bound() is None
    assert "no plan for ConvolutionProblem(way='forward'" in caplog.text


def test_weights_that_lie_otherwise_have_no_plan(xp, monkeypatch, caplog):
    real = convolution_problem.ConvolutionProblem.layout

    def turned(self, name):
        shape, steps = real(self, name)
        return (shape, (1, 6, 3 * 4 * 6, 4 * 6)) if name == "w" else (shape, steps)

    monkeypatch.setattr(convolution_problem.ConvolutionProblem, "layout", turned)
    assert Case(xp, problem()).bound() is None
    assert "weight of (6, 4, 3, 3) lies by" in caplog.text
    assert "features are not the last" in caplog.text


def test_shapes_that_do_not_fit_are_a_defect(xp, monkeypatch):
    real = convolution_problem.ConvolutionProblem.layout

    def longer(self, name):
        (n, k, h, w), _ = real(self, name)
        h += name == "y"
        return (n, k, h, w), (h * w * k, 1, w * k, k)

    monkeypatch.setattr(convolution_problem.ConvolutionProblem, "layout", longer)
    with pytest.raises(DeviceError, match=r"make \(3, 6, 5, 6\).*defect of hpcad.*HPCAD_CUDNN"):
        Case(xp, problem()).bound()


# -- what is refused -------------------------------------------------------------------------------

WRONG = {
    "way": ({"way": "sideways"}, DeviceError, r"goes forward, input, weight; not 'sideways'"),
    "type": ({"dtype": "float64"}, DeviceError, "float32, bfloat16, float16; not of float64"),
    "answer": ({"answer": "float16"}, DeviceError, r"\(forward\) finds float32; not float16"),
    "answer of halves": (
        {"way": "weight", "dtype": "float16", "answer": "bfloat16"},
        DeviceError,
        "finds float16 or float32; not bfloat16",
    ),
    "bias": ({"way": "input", "bias": True}, DeviceError, "not a gradient"),
    "relu": ({"way": "weight", "relu": True}, DeviceError, "not a gradient"),
    "kernel": ({"kernel": (8, 3)}, ShapeError, "7 x 8 with padding .* smaller than .* 8 x 3"),
    "stride": ({"stride": (0, 1)}, ShapeError, r"stride \(0, 1\)"),
    "padding": ({"padding": (-1, 0)}, ShapeError, r"padding \(-1, 0\)"),
    "images": ({"images": (0, 7, 8, 4)}, ShapeError, r"images \(0, 7, 8, 4\)"),
    "filters": ({"filters": 0}, ShapeError, "0 filters"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_convolution_is_refused(name):
    given, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        problem(**given)


def test_addresses_are_named_and_aligned(xp):
    case = Case(xp, problem())
    case.bound()
    plan, places = case.plan(), {n: a.data.ptr for n, a in case.arrays.items()}
    with pytest.raises(DeviceError, match=r"addresses of w, x, y; got those of w, x"):
        bind_convolution(plan, {"x": places["x"], "w": places["w"]})
    with pytest.raises(DeviceError, match="multiples of 16 bytes, but w lies at"):
        bind_convolution(plan, {**places, "w": places["w"] + 4})


def test_names_say_which_tensor_is_which(xp):
    case = Case(xp, problem("weight", images=(2, 5, 5, 6), filters=6, kernel=(1, 1)))
    case.bound()
    case.arrays["x"], case.arrays["g"] = case.arrays["g"], case.arrays["x"]
    plan, places = case.plan(), {n: a.data.ptr for n, a in case.arrays.items()}
    bind_convolution(plan, {**places, "x": places["g"], "g": places["x"]})()
    with pytest.raises(AssertionError):
        case.check(1e-5)
    bind_convolution(plan, places)()
    case.check(1e-5)


# -- streams and graphs ----------------------------------------------------------------------------


def test_it_can_be_captured_after_a_first_call(xp):
    case, stream = Case(xp, problem("weight")), xp.cuda.Stream()
    call = case.bound()
    with stream:
        call()
        before = xp.COUNTS.copy()
        stream.begin_capture()
        call()
        captured = stream.end_capture()
        assert xp.COUNTS.allocations == before.allocations
        assert xp.COUNTS.synchronisations == before.synchronisations
        case.arrays["x"][...] = case.arrays["x"] * 0.5
        case.arrays["dw"][...] = np.nan
        captured.launch(stream)
        stream.synchronize()
    case.check(1e-5)


def test_the_first_call_cannot_be_captured(xp):
    call, stream = Case(xp, problem()).bound(), xp.cuda.Stream()
    with stream:
        stream.begin_capture()
        with pytest.raises(DeviceError, match="cuDNN was called for the first time"):
            call()
        stream.end_capture()


def test_memory_that_was_freed_is_refused(xp):
    case = Case(xp, problem())
    call = case.bound()
    call()
    del case.arrays["w"]
    with pytest.raises(StrictDeviceError, match="cudnn conv_fprop"):
        call()


def test_flops_are_counted_as_of_products(xp):
    call = Case(xp, problem()).bound()
    with counted_flops() as count:
        call.count()
    assert count.total == call.flops == 2 * (3 * 5 * 6) * 6 * (9 * 4)
