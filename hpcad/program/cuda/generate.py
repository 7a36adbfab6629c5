"""Fused kernels as CUDA C++.

Compiled for sm_80 and sm_90 by every run of the tests, and run by them in an emulation on the CPU
that checks places, sums and conversions (``tests/program/cuda``). Not yet run on a GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hpcad.backend.native.compiler import HEADERS
from hpcad.program.cuda.finish import finish
from hpcad.program.cuda.flat import flat_variants
from hpcad.program.cuda.graph import Graph
from hpcad.program.cuda.lanes import Lanes, widest
from hpcad.program.cuda.normal import normalise, reduces
from hpcad.program.cuda.parts import CudaKernel, Launch, Variant, ceil_div
from hpcad.program.cuda.rows import Deal, deal
from hpcad.program.cuda.team import TeamText
from hpcad.program.kernels.ir import Kernel
from hpcad.program.kernels.scalars import ITEMSIZE


def generate(kernel: Kernel, name: str) -> CudaKernel:
    """The kernel as CUDA C++.

    Parameters
    ----------
    kernel : Kernel
    name : str
        Begins the names of its functions; an identifier.

    Raises
    ------
    ValueError
        A node is not in the table of scalars, for which one can ask beforehand
        (:func:`hpcad.program.kernels.scalars.fusable`).
    """
    graph = Graph(normalise(kernel))
    if _each_alone(graph):
        return CudaKernel(name, kernel, flat_variants(graph, name), scratch=0)
    variants, scratch = _team_variants(graph, name)
    return CudaKernel(name, kernel, variants, scratch)


def _each_alone(graph: Graph) -> bool:
    """Whether no element has to do with another: neither sums, nor numbers of a row."""
    kernel = graph.kernel
    ones = kernel.extents[-1] == 1
    rows = [kernel.operands[store.operand].strides[-1] == 0 and not ones for store in kernel.stores]
    return not (reduces(kernel) or any(rows) or any(store.reduce for store in kernel.stores))


def _team_variants(graph: Graph, name: str) -> tuple[tuple[Variant, ...], int]:
    """The kernel with vectors, if it has any, and the kernel for addresses that forbid them.

    Returns
    -------
    variants : tuple of Variant
    scratch : int
        Bytes, the same for all.
    """
    width = widest(graph, any_length=False)
    plan = deal(graph, width)
    plans = [plan] if width == 1 else [plan, deal(graph, 1, plan.team)]
    scratch = max(p.scratch for p in plans)
    return tuple(_variant(graph, name, p, scratch > 0) for p in plans), scratch


def _variant(graph: Graph, name: str, plan: Deal, scratch: bool) -> Variant:
    lanes, entry = Lanes(graph, plan.width), f"{name}_v{plan.width}"
    alignment = tuple(
        ITEMSIZE[o.dtype] * (plan.width if i in lanes.vectors else 1)
        for i, o in enumerate(graph.kernel.operands)
    )
    launches, sources = [], []
    if plan.teams > 0:
        blocks = ceil_div(plan.teams, plan.block // plan.team)
        launches.append(Launch(entry, (blocks, 1), plan.block))
        sources.append(TeamText(graph, plan, lanes).write(entry, scratch))
    second = finish(graph, plan, f"{entry}_finish", scratch)
    if second is not None:
        launches.append(second[0])
        sources.append(second[1])
    return Variant(alignment, tuple(launches), "\n".join(sources))


def translation_unit(units: Iterable[Any]) -> str:
    """One source of several kernels, or hand-written routines, which need no other file."""
    return "\n".join([prelude(), *(unit.source for unit in units)])


@functools.cache
def prelude() -> str:
    """What all kernels stand on: mathematical functions, vectors of elements, reductions."""
    here = Path(__file__).parent
    text = (here / "prelude.cuh").read_text()
    for header in (HEADERS / "half.h", here.parent / "kernels" / "scalars.h"):
        text = text.replace(f'#include "{header.name}"\n', _for_devices(header))
    return text


def _for_devices(header: Path) -> str:
    """The functions of a C header as functions of the device; NVRTC has no headers of C."""
    lines = header.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("#include <")]
    return "\n".join(kept).replace("static inline", "HP_INLINE") + "\n"
