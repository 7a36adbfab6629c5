"""Convolutions by cuDNN for compiled steps: everything is settled before the call."""

from __future__ import annotations

import dataclasses
from typing import Any

from hpcad.backend import flops
from hpcad.backend.cudnn.context import context_of
from hpcad.backend.cudnn.convolution_graph import convolution_graph
from hpcad.backend.cudnn.convolution_problem import HALVES, UID, ConvolutionProblem
from hpcad.backend.cudnn.plan import BoundCall, Plan, plan_of
from hpcad.errors import DeviceError

PIECE = 16  # bytes: addresses are multiples of it


class BoundConvolution(BoundCall):
    """A convolution on arrays at known places; see :func:`bind_convolution`."""

    def count(self) -> None:
        """Tell those who count floating-point operations (:mod:`hpcad.backend.flops`)."""
        flops.count_gemm(*self.plan.problem.product)


def plan_convolution(xp: Any, problem: ConvolutionProblem) -> Plan | None:
    """The plan of a convolution, made once for each problem. Not yet run on a GPU.

    Making one takes a while. The engines are deterministic: those that cuDNN marks with the
    numerical note ``NONDETERMINISTIC`` are crossed out, and from float32 those, too, that round
    operands, unless tf32 is allowed.

    Weight gradients of half types that are asked for in float32 may come in the half type: for an
    H100, cuDNN 9.24 names no engine that writes another type than it reads.
    ``plan.problem.answer`` says which it is.

    Parameters
    ----------
    xp : module
        ``cupy``, or the strict device.
    problem : ConvolutionProblem

    Returns
    -------
    Plan or None
        None where cuDNN is not asked for, or has no plan within 256 MiB of workspace.

    Raises
    ------
    DeviceError
        cuDNN is asked for (``HPCAD_CUDNN=1``) and is not there.
    """
    context = context_of(xp)
    if context is None:
        return None
    shorter = problem.dtype in HALVES and problem.answer == "float32"
    plan = plan_of(context, problem, convolution_graph, quiet=shorter)
    if plan is None and shorter:
        problem = dataclasses.replace(problem, answer=problem.dtype)
        plan = plan_of(context, problem, convolution_graph)
    return plan


def bind_convolution(plan: Plan, places: dict[str, int]) -> BoundConvolution:
    """Prepare a convolution at addresses.

    Parameters
    ----------
    plan : Plan
    places : dict
        Name of a tensor (``plan.problem.given`` and ``found``) -> device address, a multiple of 16.

    Raises
    ------
    DeviceError
        Other tensors than the problem has, or an address that is no such multiple.
    """
    names = {*plan.problem.given, plan.problem.found}
    if set(places) != names:
        raise DeviceError(
            f"a convolution ({plan.problem.way}) takes the addresses of "
            f"{', '.join(sorted(names))}; got those of {', '.join(sorted(places)) or 'nothing'}"
        )
    for name, place in places.items():
        if place % PIECE:
            raise DeviceError(
                f"cuDNN takes arrays at multiples of {PIECE} bytes, but {name} lies at {place:#x}"
            )
    return BoundConvolution(plan, {UID[name]: int(place) for name, place in places.items()})
