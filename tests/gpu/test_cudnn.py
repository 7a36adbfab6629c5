"""Attention by cuDNN on a device equals NumPy and hpcad's own kernels; for when there is a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.backend.cudnn import bind_attention, bind_attention_back, context, search
from hpcad.errors import DeviceError
from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.attention import Attention

from ..backend.cudnn.cases import Case

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)
try:
    search.require_cudnn()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

pytestmark = pytest.mark.gpu

TOLERANCE = {"float16": 1e-2, "bfloat16": 6e-2}
SIZES = {
    "small": {"queries": 8, "keys": 8, "dim": 16},
    "heads of 64": {"queries": 512, "keys": 512, "dim": 64},
    "no multiple": {"queries": 200, "keys": 200, "dim": 128},
}
FOUND = ("out", "log_sums", "dq", "dk", "dv")


@pytest.fixture
def xp(monkeypatch):
    """CuPy, with cuDNN asked for."""
    monkeypatch.setenv("HPCAD_CUDNN", "1")
    monkeypatch.setattr(context, "_contexts", {})
    return cupy


def bound(case):
    forward = bind_attention(case.xp, *case.forward, causal=case.causal)
    back = bind_attention_back(case.xp, *case.back, causal=case.causal)
    assert forward is not None
    assert back is not None
    return forward, back


def answers(case):
    return {name: cupy.asnumpy(getattr(case, name)).astype(np.float32) for name in FOUND}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("sizes", SIZES)
def test_it_equals_numpy(xp, dtype, causal, sizes):
    case = Case(xp, dtype, causal, **SIZES[sizes])
    for call in bound(case):
        call()
    case.check(TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [True, False])
def test_it_equals_the_kernels(xp, dtype, causal):
    """The logarithms, too: either's way back may follow the other's way forward."""
    case = Case(xp, dtype, causal, **SIZES["heads of 64"])
    batch, heads, queries, _, dim = case.sizes
    spec = Attention.packed(dtype, batch, queries, heads, dim, causal)
    for call in bound(case):
        call()
    by_cudnn = answers(case)
    forward, back = load([spec.forward(), spec.backward()], xp)
    forward.bind([x.data.ptr for x in case.forward])()
    back.bind([x.data.ptr for x in case.back])()
    for name, array in answers(case).items():
        tolerance = TOLERANCE[dtype] if name != "log_sums" else 1e-3
        np.testing.assert_allclose(by_cudnn[name], array, atol=tolerance, rtol=tolerance)


def test_the_same_numbers_give_the_same_bits(xp):
    case = Case(xp, **SIZES["heads of 64"])
    calls, runs = bound(case), []
    for _ in range(3):
        for call in calls:
            call()
        runs.append(answers(case))
    for run in runs[1:]:
        for name in FOUND:
            np.testing.assert_array_equal(run[name], runs[0][name])


def test_it_can_be_captured(xp):
    case, stream = Case(xp, **SIZES["no multiple"]), xp.cuda.Stream(non_blocking=True)
    calls = bound(case)
    xp.cuda.Device().synchronize()
    with stream:
        for call in calls:
            call()
        stream.begin_capture()
        for call in calls:
            call()
        graph = stream.end_capture()
        case.q[...] = case.q * 0.5
        for name in FOUND:
            getattr(case, name)[...] = 0
        graph.launch(stream)
        stream.synchronize()
    case.check(TOLERANCE["float16"])
