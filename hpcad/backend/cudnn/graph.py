"""Problems as graphs of cuDNN: tensors, the operation, and the plan that runs it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from hpcad.backend.cudnn.context import Context
from hpcad.backend.cudnn.problem import FOUND_BACK, GIVEN_BACK, UID, Problem
from hpcad.backend.cudnn.search import VARIABLE
from hpcad.errors import DeviceError

log = logging.getLogger(__name__)

# Bytes of workspace. To add without atomics, the way back may want the matrix of all scores.
MOST = 1 << 30


@dataclass(frozen=True)
class Plan:
    """What runs a problem.

    Attributes
    ----------
    graph : object
        With ``execute``.
    workspace : int
        Bytes that it needs.
    """

    context: Context
    problem: Problem
    graph: Any
    workspace: int


def plan_of(context: Context, problem: Problem) -> Plan | None:
    """The plan for a problem, made once; None where cuDNN has none that hpcad takes.

    Raises
    ------
    DeviceError
        cuDNN found the graph wrong.
    """
    with context.lock:
        if problem not in context.plans:
            context.plans[problem] = _made(context, problem)
        return context.plans[problem]


def graph_of(cudnn: Any, problem: Problem, **where: Any) -> Any:
    """The graph of a problem.

    Parameters
    ----------
    cudnn : module
    where
        ``handle``; or ``sm_version`` (90), with which a graph is checked where there is no GPU.
    """
    types = cudnn.data_type
    kind = types.BFLOAT16 if problem.dtype == "bfloat16" else types.HALF
    graph = cudnn.pygraph(
        io_data_type=kind,
        intermediate_data_type=types.FLOAT,
        compute_data_type=types.FLOAT,
        **where,
    )
    steps = dict(problem.steps)

    def tensor(name: str) -> Any:
        return graph.tensor(
            dim=problem.shape(name), stride=steps[name], data_type=kind, uid=UID[name], name=name
        )

    def answer(made: Any, name: str, shape: Any, stride: Any, dtype: Any) -> None:
        made.set_uid(UID[name]).set_output(True).set_name(name)
        made.set_dim(shape).set_stride(stride).set_data_type(dtype)

    options = {"attn_scale": problem.scale, "use_causal_mask": problem.causal}
    shape, stride = problem.log_sums
    if not problem.backward:
        q, k, v = (tensor(name) for name in "qkv")
        out, sums = graph.sdpa(q=q, k=k, v=v, generate_stats=True, name="attention", **options)
        answer(out, "out", problem.shape("out"), steps["out"], kind)
        answer(sums, "log_sums", shape, stride, types.FLOAT)
        return graph
    q, k, v, out, g = (tensor(name) for name in GIVEN_BACK)
    sums = graph.tensor(
        dim=shape, stride=stride, data_type=types.FLOAT, uid=UID["log_sums"], name="log_sums"
    )
    found = graph.sdpa_backward(
        q=q, k=k, v=v, o=out, dO=g, stats=sums,
        use_deterministic_algorithm=True, name="attention_back", **options,
    )  # fmt: skip
    for made, name in zip(found, FOUND_BACK, strict=True):
        answer(made, name, problem.shape(name), steps[name], kind)
    return graph


def _made(context: Context, problem: Problem) -> Plan | None:
    cudnn = context.cudnn
    refused = cudnn.cudnnGraphNotSupportedError
    try:
        graph = graph_of(cudnn, problem, handle=context.handle)
        graph.validate()
        graph.build_operation_graph()
    except refused as error:
        _tell(problem, error)
        return None
    except RuntimeError as error:
        raise DeviceError(
            f"cuDNN takes {problem} for wrong ({error}); this is a defect of hpcad, please report "
            f"it, and unset {VARIABLE} meanwhile"
        ) from error
    try:
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.deselect_workspace_greater_than(MOST)
        graph.check_support()
        graph.build_plans()
        needed = graph.get_workspace_size()
    except (refused, RuntimeError) as error:
        _tell(problem, error)
        return None
    if needed > MOST:
        _tell(problem, f"it needs {needed} bytes of workspace")
        return None
    return Plan(context, problem, graph, needed)


def _tell(problem: Problem, why: Any) -> None:
    log.warning("cuDNN has no plan for %s, so hpcad's kernels compute it: %s", problem, why)
