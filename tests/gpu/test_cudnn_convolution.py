"""Convolutions by cuDNN on a device equal the primitives; for when there is a GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from hpcad.backend.cudnn import context, search
from hpcad.errors import DeviceError

from ..backend.cudnn.convolutions import SLIDES, WAYS, Case, problem

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)
try:
    search.require_cudnn()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

pytestmark = pytest.mark.gpu

_path = Path(__file__).parents[1] / "program" / "device" / "test_training.py"
_spec = importlib.util.spec_from_file_location("device_training", _path)
training = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(training)

TOLERANCE = {"float32": 2e-5, "float16": 5e-3, "bfloat16": 3e-2}
SIZES = {
    "digits": {"images": (8, 28, 28, 1), "filters": 32, "padding": (1, 1)},
    "wide": {"images": (8, 14, 14, 64), "filters": 64, "padding": (1, 1)},
    "strided": {"images": (8, 14, 14, 64), "filters": 128, "stride": (2, 2), "padding": (1, 1)},
    "colours": {"images": (4, 32, 32, 3), "filters": 16, "kernel": (5, 5), "padding": (2, 2)},
}


@pytest.fixture
def xp(monkeypatch):
    """CuPy, with cuDNN asked for."""
    monkeypatch.setenv("HPCAD_CUDNN", "1")
    monkeypatch.setattr(context, "_contexts", {})
    return cupy


def bound(case):
    call = case.bound()
    assert call is not None
    return call


@pytest.mark.parametrize("slide", SLIDES)
@pytest.mark.parametrize("way", WAYS)
def test_it_equals_the_primitives(xp, way, slide):
    case = Case(xp, problem(way, **SLIDES[slide]))
    bound(case)()
    case.check(TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_sizes_of_networks(xp, way, size, dtype):
    more = {"bias": True, "relu": True} if way == "forward" else {}
    case = Case(xp, problem(way, dtype, **SIZES[size], **more))
    bound(case)()
    case.check(TOLERANCE[dtype])


def test_tf32_rounds_and_is_off_unless_allowed(xp):
    case = Case(xp, problem(tf32=True, **SIZES["wide"]))
    bound(case)()
    case.check(5e-3)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("way", WAYS)
def test_the_same_numbers_give_the_same_bits(xp, way, dtype):
    case = Case(xp, problem(way, dtype, **SIZES["strided"]))
    call, runs = bound(case), []
    for _ in range(5):
        case.arrays[case.problem.found].fill(0)
        call()
        runs.append(case.found())
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])


@pytest.mark.parametrize("way", WAYS)
def test_it_can_be_captured(xp, way):
    case, stream = Case(xp, problem(way, **SIZES["wide"])), xp.cuda.Stream(non_blocking=True)
    call = bound(case)
    xp.cuda.Device().synchronize()
    with stream:
        call()
        stream.begin_capture()
        call()
        graph = stream.end_capture()
        first = case.arrays[case.problem.given[0]]
        first[...] = first * 0.5
        case.arrays[case.problem.found].fill(0)
        graph.launch(stream)
        stream.synchronize()
    case.check(TOLERANCE["float32"])


@pytest.mark.usefixtures("xp")
@pytest.mark.parametrize("precision", TOLERANCE)
def test_losses_of_the_network_are_those_of_the_host(precision):
    tolerance = {"float32": 2e-4, "bfloat16": 1e-2, "float16": 2e-3}[precision]
    found, host = (training.Run("cnn", device, precision) for device in ("gpu", "cpu"))
    np.testing.assert_allclose(found.losses(), host.losses(), rtol=tolerance)
    comments = [step.comment for step in found.compiled.program.steps]
    assert sum("by cuDNN" in comment for comment in comments) == 5
    assert found.compiled.program._call.graphs == 1
