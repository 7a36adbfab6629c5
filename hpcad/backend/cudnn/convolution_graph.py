"""Convolutions as graphs of cuDNN: tensors, the operation, and what follows it."""

from __future__ import annotations

from typing import Any

from hpcad.backend.cudnn.convolution_problem import UID, ConvolutionProblem

_TYPES = {"float32": "FLOAT", "bfloat16": "BFLOAT16", "float16": "HALF"}


def convolution_graph(cudnn: Any, problem: ConvolutionProblem, **where: Any) -> Any:
    """The graph of a problem.

    Parameters
    ----------
    cudnn : module
    where
        ``handle``; or ``sm_version`` (90) or ``device_property``, with which a graph is checked
        where there is no GPU.
    """
    graph = cudnn.pygraph(
        io_data_type=_type(cudnn, problem.dtype),
        intermediate_data_type=cudnn.data_type.FLOAT,
        compute_data_type=cudnn.data_type.FLOAT,
        **where,
    )
    given = [_tensor(cudnn, graph, problem, name) for name in problem.given]
    slide = {
        "pre_padding": list(problem.padding),
        "post_padding": list(problem.padding),
        "stride": list(problem.stride),
        "dilation": [1, 1],
        "name": "convolution",
    }
    if problem.way == "forward":
        found = graph.conv_fprop(image=given[0], weight=given[1], **slide)
        if problem.bias:
            found = graph.add(a=found, b=given[2], name="bias")
        if problem.relu:
            found = graph.relu(input=found, name="relu")
    elif problem.way == "input":
        found = graph.conv_dgrad(loss=given[0], filter=given[1], **slide)
    else:
        found = graph.conv_wgrad(image=given[0], loss=given[1], **slide)
    shape, steps = problem.layout(problem.found)
    found.set_uid(UID[problem.found]).set_output(True).set_name(problem.found)
    found.set_dim(shape).set_stride(steps).set_data_type(_type(cudnn, problem.answer))
    return graph


def _tensor(cudnn: Any, graph: Any, problem: ConvolutionProblem, name: str) -> Any:
    shape, steps = problem.layout(name)
    kind = _type(cudnn, problem.type_of(name))
    return graph.tensor(dim=shape, stride=steps, data_type=kind, uid=UID[name], name=name)


def _type(cudnn: Any, dtype: str) -> Any:
    return getattr(cudnn.data_type, _TYPES[dtype])
