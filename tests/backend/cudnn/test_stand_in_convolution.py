"""The stand-in for cuDNN refuses graphs of convolutions that the library would not take."""

from __future__ import annotations

import pytest

from hpcad.backend.cudnn.context import context_of

SLIDE = {"pre_padding": [1, 1], "post_padding": [1, 1], "stride": [1, 1], "dilation": [1, 1]}


@pytest.fixture
def made(xp):
    """The module, an empty graph, images and weights."""
    context = context_of(xp)
    types = context.cudnn.data_type
    graph = context.cudnn.pygraph(
        io_data_type=types.FLOAT,
        intermediate_data_type=types.FLOAT,
        compute_data_type=types.FLOAT,
        handle=context.handle,
    )
    x, w = (tensor(graph, types.FLOAT, uid, (2, 4, 5, 5)) for uid in (1, 2))
    return context.cudnn, graph, x, w


def tensor(graph, kind, uid, shape):
    _, c, h, w = shape
    return graph.tensor(dim=shape, stride=(h * w * c, 1, w * c, c), data_type=kind, uid=uid)


def test_an_operation_is_told_all_of_its_numbers(made):
    _, graph, x, w = made
    with pytest.raises(TypeError, match="conv_fprop was told"):
        graph.conv_fprop(image=x, weight=w, stride=[1, 1], padding=[1, 1])


def test_there_is_one_operation(made):
    _, graph, x, w = made
    graph.conv_fprop(image=x, weight=w, **SLIDE)
    with pytest.raises(RuntimeError, match="one operation in a graph"):
        graph.conv_wgrad(image=x, loss=w, **SLIDE)


def test_bias_and_relu_stand_behind_a_forward_convolution(made):
    module, graph, x, w = made
    bias = tensor(graph, module.data_type.FLOAT, 3, (1, 2, 1, 1))
    with pytest.raises(RuntimeError, match="behind conv_fprop"):
        graph.relu(input=x)
    y = graph.relu(input=graph.conv_fprop(image=x, weight=w, **SLIDE))
    with pytest.raises(RuntimeError, match="one bias, before ReLU"):
        graph.add(a=y, b=bias)


def test_notes_mark_plans_that_are_there(made):
    module, graph, x, w = made
    y = graph.conv_fprop(image=x, weight=w, **SLIDE)
    y.set_uid(4).set_output(True).set_dim((2, 2, 3, 3)).set_stride((18, 1, 6, 2))
    y.set_data_type(module.data_type.FLOAT)
    graph.validate()
    graph.build_operation_graph()
    notes = list(module.numerical_note)
    with pytest.raises(RuntimeError, match="notes mark the plans that are there"):
        graph.deselect_numeric_notes(notes)
    graph.create_execution_plans([module.heur_mode.A])
    graph.deselect_numeric_notes(notes)
    assert len(graph.engines) == 1


def test_a_plan_must_be_left(made, monkeypatch):
    module, graph, x, w = made
    y = graph.conv_fprop(image=x, weight=w, **SLIDE)
    y.set_uid(4).set_output(True).set_dim((2, 2, 3, 3)).set_stride((18, 1, 6, 2))
    y.set_data_type(module.data_type.FLOAT)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([module.heur_mode.A])
    graph.engines.clear()
    with pytest.raises(module.cudnnGraphNotSupportedError, match="all plans are crossed out"):
        graph.check_support()
