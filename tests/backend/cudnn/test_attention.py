"""Attention that is bound to cuDNN computes what NumPy does, on the stand-in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpcad.backend.cudnn import attention, bind_attention, bind_attention_back
from hpcad.backend.cudnn import attention_problem as problem
from hpcad.backend.cudnn.context import context_of
from hpcad.backend.strict import StrictDeviceError
from hpcad.errors import DeviceError

from .cases import Case

TOLERANCE = {"float16": 4e-3, "bfloat16": 4e-2}


def bound(case):
    """Forward and back."""
    forward = bind_attention(case.xp, *case.forward, causal=case.causal)
    return forward, bind_attention_back(case.xp, *case.back, causal=case.causal)


def graphs(xp):
    return context_of(xp).cudnn.graphs


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_numbers_are_those_of_numpy(xp, dtype, causal, packed):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    case = Case(xp, dtype, causal, packed)
    for call in bound(case):
        call()
    case.check(TOLERANCE[dtype])


@pytest.mark.parametrize(
    "sizes", [{"keys": 24}, {"batch": 1}, {"heads": 1}, {"batch": 1, "heads": 1}, {"dim": 128}]
)
def test_sizes_may_differ(xp, sizes):
    case = Case(xp, causal=False, packed=False, **sizes)
    for call in bound(case):
        call()
    case.check(TOLERANCE["float16"])


def test_the_way_back_is_deterministic_and_a_plan_is_made_once(xp):
    cases = [Case(xp), Case(xp)]
    calls = [bound(case) for case in cases]
    assert [g.options.get("use_deterministic_algorithm") for g in graphs(xp)] == [None, True]
    for forward, back in calls:
        forward()
        back()
    for case in cases:
        case.check(TOLERANCE["float16"])


def _no_mask(p):
    return dataclasses.replace(p, causal=False)


def _other_rows(p):
    (_, (batch, head, _, one)), *rest = p.steps
    return dataclasses.replace(p, steps=(("q", (batch, head, 16, one)), *rest))


@pytest.mark.parametrize("change", [_no_mask, _other_rows])
def test_what_a_graph_says_is_what_is_computed(xp, monkeypatch, change):
    case, real = Case(xp), attention.graph_of
    monkeypatch.setattr(attention, "graph_of", lambda m, p, **w: real(m, change(p), **w))
    for call in bound(case):
        call()
    with pytest.raises(AssertionError, match="out"):
        case.check(TOLERANCE["float16"])


def test_numbers_say_which_tensor_is_which(xp):
    case = Case(xp)
    for call in bound(case):
        places, (k, v) = call._pointers, (problem.UID["k"], problem.UID["v"])
        places[k], places[v] = places[v], places[k]
        call()
    with pytest.raises(AssertionError, match="out"):
        case.check(TOLERANCE["float16"])


def test_a_wrong_scale_shows(xp, monkeypatch):
    monkeypatch.setattr(problem.AttentionProblem, "scale", 1.0)
    case = Case(xp)
    for call in bound(case):
        call()
    with pytest.raises(AssertionError, match="out"):
        case.check(TOLERANCE["float16"])


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float32"},
        {"dim": 12},
        {"dim": 136},
        {"keys": 24, "packed": False},
    ],
    ids=["float32", "dim 12", "dim 136", "causal with more keys"],
)
def test_what_cudnn_does_not_take_is_left_to_the_kernels(xp, options):
    assert bound(Case(xp, **options)) == (None, None)
    assert not graphs(xp)


def test_rows_must_be_pieces_of_memory_of_their_own(xp):
    case = Case(xp)
    spread = xp.zeros((2, 3, 8, 32), np.float16)[..., ::2]
    same = xp.lib.stride_tricks.as_strided(case.g, case.g.shape, (0, 0, 0, 2))
    shifted = xp.empty(2 * 3 * 8 * 16 + 1, np.float16)[1:].reshape(2, 3, 8, 16)
    for other in (spread, same, shifted):
        given = [*case.back]
        given[4] = other
        assert bind_attention_back(xp, *given, causal=True) is None


def test_without_a_plan_the_kernels_do_it(xp, monkeypatch, caplog):
    one = Case(xp, causal=False, packed=False, queries=1, keys=1)
    assert bound(one) == (None, None)
    assert "one query and one key" in caplog.text
    monkeypatch.setattr(problem, "MOST", 600)
    forward, back = bound(Case(xp))
    assert forward is not None
    assert back is None  # it wants the matrix of scores


def test_a_defect_is_said_to_be_one(xp, monkeypatch):
    monkeypatch.setitem(problem.UID, "k", problem.UID["q"])
    with pytest.raises(DeviceError, match=r"defect of hpcad.*HPCAD_CUDNN"):
        bound(Case(xp))


def test_it_can_be_captured_after_a_first_call(xp):
    case, stream = Case(xp), xp.cuda.Stream()
    calls = bound(case)
    with stream:
        for call in calls:
            call()
        for found in (case.out, case.log_sums, case.dq, case.dk, case.dv):
            found[...] = np.nan
        before = xp.COUNTS.copy()
        stream.begin_capture()
        for call in calls:
            call()
        captured = stream.end_capture()
        assert xp.COUNTS.allocations == before.allocations
        case.q[...] = case.q * 0.5
        captured.launch(stream)
        stream.synchronize()
    case.check(TOLERANCE["float16"])


def test_the_first_call_cannot_be_captured(xp):
    forward, _ = bound(Case(xp))
    stream = xp.cuda.Stream()
    with stream:
        stream.begin_capture()
        with pytest.raises(DeviceError, match="call it once before"):
            forward()
        stream.end_capture()


def test_streams_have_handles_and_workspaces_of_their_own(xp):
    cases = Case(xp), Case(xp)
    streams = [xp.cuda.Stream(non_blocking=True) for _ in cases]
    calls = [bound(case)[0] for case in cases]
    xp.cuda.get_current_stream().synchronize()
    for stream, call in zip(streams, calls, strict=True):
        with stream:
            call()  # on one workspace, the second would have to wait for the first
    for stream, case in zip(streams, cases, strict=True):
        stream.synchronize()
        np.testing.assert_allclose(xp.asnumpy(case.out), case.expected()["out"], atol=4e-3)


def test_a_workspace_that_was_outgrown_stays(xp):
    small, large = Case(xp), Case(xp, queries=32, keys=32)
    calls = bound(small)
    for call in calls:
        call()
    for call in bound(large):
        call()
    for call in calls:  # where a freed one would be refused
        call()
    small.check(TOLERANCE["float16"])
    large.check(TOLERANCE["float16"])


def test_memory_that_was_freed_is_refused(xp):
    case = Case(xp)
    forward, _ = bound(case)
    forward()
    del case.log_sums
    with pytest.raises(StrictDeviceError, match="cudnn sdpa"):
        forward()
