"""Plans of cuDNN: which of its engines runs a problem, made once and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from hpcad.backend.cudnn.context import Context
from hpcad.backend.cudnn.search import VARIABLE
from hpcad.errors import DeviceError

log = logging.getLogger(__name__)


class Problem(Protocol):
    """What is to be computed: hashable, with the same graph wherever it is equal.

    Attributes
    ----------
    refused : tuple of str
        Names of numerical notes: engines that carry one of them are not taken.
    most : int
        Bytes of workspace.
    """

    @property
    def refused(self) -> tuple[str, ...]: ...
    @property
    def most(self) -> int: ...
    @property
    def flops(self) -> int: ...


Draw = Callable[..., Any]  # draw(cudnn, problem, handle=...): the graph of a problem


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
    problem: Any
    graph: Any
    workspace: int


class BoundCall:
    """A plan with the addresses of its tensors; called without arguments.

    The first call on a stream allocates, so that it must not be captured; later ones only enqueue.

    Attributes
    ----------
    plan : Plan
    flops : int
    """

    def __init__(self, plan: Plan, pointers: dict[int, int]) -> None:
        self.plan, self.flops = plan, plan.problem.flops
        self._pointers = pointers
        self._lanes: dict[int, tuple[Any, Any]] = {}  # memory that a graph works in stays alive

    def __call__(self) -> None:
        stream = self.plan.context.xp.cuda.get_current_stream()
        lane = self._lanes.get(stream.ptr)
        if lane is None:
            lane = self._lanes[stream.ptr] = self.plan.context.lane(stream, self.plan.workspace)
        handle, memory = lane
        self.plan.graph.execute(self._pointers, memory.data.ptr, handle=handle)


def plan_of(context: Context, problem: Problem, draw: Draw, quiet: bool = False) -> Plan | None:
    """The plan for a problem, made once; None where cuDNN has none that hpcad takes.

    Parameters
    ----------
    draw : callable
        ``draw(cudnn, problem, handle=...)``, the graph.
    quiet : bool
        No warning where there is no plan: the caller asks for another one.

    Raises
    ------
    DeviceError
        cuDNN found the graph wrong.
    """
    with context.lock:
        if problem not in context.plans:
            context.plans[problem] = _made(context, problem, draw, quiet)
        return context.plans[problem]


def _made(context: Context, problem: Problem, draw: Draw, quiet: bool) -> Plan | None:
    cudnn = context.cudnn
    refused = cudnn.cudnnGraphNotSupportedError
    try:
        graph = draw(cudnn, problem, handle=context.handle)
        graph.validate()
        graph.build_operation_graph()
    except refused as error:
        _tell(problem, error, quiet)
        return None
    except RuntimeError as error:
        raise DeviceError(
            f"cuDNN takes {problem} for wrong ({error}); this is a defect of hpcad, please report "
            f"it, and unset {VARIABLE} meanwhile"
        ) from error
    try:
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        choose(cudnn, graph, problem)
        graph.check_support()
        graph.build_plans()
        needed = graph.get_workspace_size()
    except (refused, RuntimeError) as error:
        _tell(problem, error, quiet)
        return None
    if needed > problem.most:
        _tell(problem, f"it needs {needed} bytes of workspace", quiet)
        return None
    return Plan(context, problem, graph, needed)


def choose(cudnn: Any, graph: Any, problem: Problem) -> None:
    """Cross out what is not taken; of what is left, the first that can be built is the plan."""
    if problem.refused:  # marks plans that are there, so after they were made
        notes = [getattr(cudnn.numerical_note, name) for name in problem.refused]
        graph.deselect_numeric_notes(notes)
    graph.deselect_workspace_greater_than(problem.most)


def _tell(problem: Problem, why: Any, quiet: bool) -> None:
    level = logging.DEBUG if quiet else logging.WARNING
    log.log(level, "cuDNN has no plan for %s, so hpcad's kernels compute it: %s", problem, why)
