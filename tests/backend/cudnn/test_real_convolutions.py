"""Graphs of convolutions as the package nvidia-cudnn-frontend takes them; checked, and not run.

For an H100 that is only described, the library looks for plans, too, and builds some.
"""

from __future__ import annotations

import json

import pytest

from hpcad.backend.cudnn import plan
from hpcad.backend.cudnn.convolution_graph import convolution_graph
from hpcad.backend.cudnn.convolution_problem import UID

from .convolutions import SLIDES, WAYS, problem
from .described_h100 import described

cudnn = pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
try:
    cudnn.backend_version()
except RuntimeError:
    pytest.skip("the library of cuDNN is not installed", allow_module_level=True)

DTYPES = ("float32", "float16", "bfloat16")
NAMES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
BEHIND = {"alone": {}, "bias": {"bias": True}, "both": {"bias": True, "relu": True}}


def understood(problem):
    """What cuDNN says the graph is."""
    graph = convolution_graph(cudnn, problem, sm_version=90)
    graph.validate()
    said = json.loads(str(graph))
    graph.build_operation_graph()
    tensors = said["tensors"]
    tensors = tensors.values() if isinstance(tensors, dict) else tensors
    return {t["uid"]: t for t in tensors}, said["nodes"]


def check(problem):
    tensors, nodes = understood(problem)
    for name in (*problem.given, problem.found):
        tensor, (shape, steps) = tensors[UID[name]], problem.layout(name)
        assert (tensor["dim"], tensor["stride"]) == (list(shape), list(steps))
        assert tensor["data_type"] == NAMES[problem.type_of(name)]
        assert not tensor["is_virtual"]
    (node,) = [n for n in nodes if n["tag"].startswith("CONV")]
    assert node["math_mode"] == "CROSS_CORRELATION"
    assert node["pre_padding"] == node["post_padding"] == list(problem.padding)
    assert (node["stride"], node["dilation"]) == (list(problem.stride), [1, 1])
    assert {n["compute_data_type"] for n in nodes} == {"FLOAT"}
    return nodes


@pytest.mark.parametrize("slide", SLIDES)
@pytest.mark.parametrize("way", WAYS)
def test_cudnn_takes_every_slide(way, slide):
    check(problem(way, **SLIDES[slide]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("behind", BEHIND)
def test_bias_and_relu_are_behind_the_convolution(behind, dtype):
    nodes = check(problem("forward", dtype, **BEHIND[behind]))
    modes = ["ADD", "RELU_FWD"][: len(BEHIND[behind])]
    assert [n.get("mode") for n in nodes if n["tag"] == "POINTWISE"] == modes


def built(problem):
    """For every plan of a described H100, whether it could be built after the choice."""
    graph = convolution_graph(cudnn, problem, device_property=described(cudnn))
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    plan.choose(cudnn, graph, problem)
    return [_builds(graph, number) for number in range(graph.get_execution_plan_count())]


def _builds(graph, number):
    try:
        graph.build_plan_at_index(number)
    except cudnn.cudnnGraphNotSupportedError:
        return False
    return True


SIZES = {
    "digits": {"images": (8, 28, 28, 1), "filters": 32, "padding": (1, 1)},
    "wide": {"images": (8, 14, 14, 64), "filters": 64, "padding": (1, 1)},
    "strided": {"images": (8, 14, 14, 64), "filters": 128, "stride": (2, 2), "padding": (1, 1)},
    "colours": {"images": (4, 32, 32, 3), "filters": 16, "kernel": (5, 5), "padding": (2, 2)},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_there_are_plans_for_a_described_h100(way, dtype, size):
    more = {"bias": True, "relu": True} if way == "forward" else {}
    assert any(built(problem(way, dtype, **SIZES[size], **more)))


def test_choices_cross_plans_out(monkeypatch):
    asked = problem("weight", **SIZES["wide"])
    exact, fast = built(asked), built(problem("weight", tf32=True, **SIZES["wide"]))
    monkeypatch.setattr(type(asked), "refused", ())
    every = built(problem("weight", **SIZES["wide"]))
    assert sum(exact) < sum(fast) < sum(every)


def test_a_graph_that_does_not_fit_is_refused(monkeypatch):
    asked = problem()
    monkeypatch.setattr(type(asked), "layout", _longer(type(asked).layout))
    with pytest.raises(RuntimeError):
        understood(asked)


def _longer(layout):
    def said(self, name):
        (n, k, h, w), _ = layout(self, name)
        h += name == "y"
        return (n, k, h, w), (h * w * k, 1, w * k, k)

    return said
