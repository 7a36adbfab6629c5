"""The stand-in for cuDNN refuses what would go wrong on a GPU."""

from __future__ import annotations

import pytest

from hpcad.backend.cudnn import bind_attention
from hpcad.backend.cudnn.attention_problem import UID
from hpcad.backend.cudnn.context import context_of
from hpcad.backend.strict import StrictDeviceError

from .cases import Case


@pytest.fixture
def made(xp):
    """A call that was prepared, and what it is executed with."""
    call = bind_attention(xp, *(case := Case(xp)).forward, causal=True)
    call()
    handle, memory = call.plan.context.lane(xp.cuda.get_current_stream(), 0)
    return case, call.plan.graph, call._pointers, memory.data.ptr, handle


def test_numbers_of_tensors_must_be_those_of_the_graph(made):
    _, graph, places, memory, handle = made
    less = {uid: place for uid, place in places.items() if uid != UID["log_sums"]}
    with pytest.raises(RuntimeError, match="was given tensors"):
        graph.execute(less, memory, handle=handle)


def test_addresses_are_plain_and_aligned(made):
    case, graph, places, memory, handle = made
    with pytest.raises(TypeError, match="plain addresses"):
        graph.execute({**places, UID["q"]: case.q}, memory, handle=handle)
    with pytest.raises(RuntimeError, match="multiple of 16"):
        graph.execute({**places, UID["q"]: places[UID["q"]] + 2}, memory, handle=handle)


def test_a_workspace_must_be_there_and_be_long_enough(xp, made):
    _, graph, places, _, handle = made
    short = xp.empty(graph.get_workspace_size() // 2, "uint8")
    with pytest.raises(StrictDeviceError, match="cudnn sdpa"):
        graph.execute(places, short.data.ptr, handle=handle)


def test_a_handle_belongs_to_its_stream(xp, made):
    _, graph, places, memory, handle = made
    with xp.cuda.Stream(), pytest.raises(RuntimeError, match="another stream"):
        graph.execute(places, memory, handle=handle)


def test_handles_are_neither_made_nor_bound_while_a_stream_is_captured(xp, made):
    module, stream = context_of(xp).cudnn, xp.cuda.Stream()
    handle = module.create_handle()
    for wrong in (module.create_handle, lambda: module.set_stream(handle, stream.ptr)):
        with stream:
            stream.begin_capture()
            with pytest.raises(StrictDeviceError, match="cudnn"):
                wrong()
            stream.end_capture()


def test_a_graph_is_made_in_order(made):
    _, graph, *_ = made
    with pytest.raises(RuntimeError, match="cannot be"):
        graph.validate()
    with pytest.raises(RuntimeError, match="after its graph"):
        graph.ports["q"].set_uid(7)
