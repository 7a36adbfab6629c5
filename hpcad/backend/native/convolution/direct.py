"""Plans of the direct scheme, for every kernel, stride and padding."""

from __future__ import annotations

import ctypes

from hpcad.backend.native.convolution import plan, structs
from hpcad.backend.native.convolution.geometry import (
    Memory,
    Pair,
    Phase,
    Units,
    Window,
    adjoint_phases,
    adjoint_window,
    cut,
    forward_phase,
    window,
)
from hpcad.backend.native.convolution.plan import Layout, Plan, Problem

UNIT = 512 << 10  # bytes of images per unit, which then stay in a second-level cache


def forward(problem: Problem, kernel: Pair, stride: Pair, padding: Pair) -> Plan:
    """A convolution."""
    (h, w, c), (oh, ow, k) = problem.source, problem.result
    whole = 2 if problem.pooled else 1
    units = _cut(problem, oh // whole * whole, whole, h * w * c)
    block, source = _image_block(units, problem.source, ow, kernel, stride, padding)
    phase = forward_phase(units, source, Memory(oh, ow, k), kernel, stride, problem.pooled)
    return _plan(problem, units, block, [phase], channel_step=1)


def adjoint(problem: Problem, kernel: Pair, stride: Pair, padding: Pair) -> Plan:
    """A convolution's adjoint in its images; the source is the gradient of its result."""
    (oh, ow, k), (h, w, c) = problem.source, problem.result
    units = _cut(problem, h, stride[0], oh * ow * k)
    rows = adjoint_window(units.rows, kernel[0], stride[0], padding[0])
    columns = adjoint_window(w, kernel[1], stride[1], padding[1])
    reach = adjoint_window(h, kernel[0], stride[0], padding[0])
    in_place = problem.plain and _inside(reach, oh) and _inside(columns, ow)
    block = plan.block_structure(rows, columns, units.rows // stride[0], k, in_place)
    source = Memory(oh, ow, k) if in_place else Memory(rows.size, columns.size, k)
    phases = adjoint_phases(
        units, source, (rows.start, columns.start), Memory(h, w, c), kernel, stride, padding
    )
    return _plan(problem, units, block, phases, channel_step=k)


def weight(problem: Problem, kernel: Pair, stride: Pair, padding: Pair) -> Plan:
    """A convolution's adjoint in its weight; the "result" is read, ``plain`` or not."""
    (h, w, c), (oh, ow, k) = problem.source, problem.result
    machine = problem.machine
    units = _cut(problem, oh, 1, h * w * c + oh * ow * k)
    image, source = _image_block(units, problem.source, ow, kernel, stride, padding)
    pitch = machine.padded(k)
    gradient = plan.block_structure(
        Window(0, units.rows), Window(0, ow), units.rows, pitch, problem.plain and pitch == k
    )
    phase = forward_phase(units, source, Memory(oh, ow, k), kernel, stride, pooled=False)
    return weight_plan(
        problem, units, (image, gradient), Layout(machine.itemsize), len(phase.factor),
        (phase,), phase=plan.phase_structure(phase),
    )  # fmt: skip


def weight_plan(
    problem: Problem, units: Units, blocks: tuple[structs.Block, structs.Block], layout: Layout,
    rows: int, keep: tuple[object, ...], **scheme: object,
) -> Plan:  # fmt: skip
    """The plan of a job from images to the gradient of a weight.

    Parameters
    ----------
    layout : Layout
        Of one worker's space, with what the scheme needs in it.
    rows : int
        Of the sums that each worker makes.
    """
    machine, channels = problem.machine, problem.result[2]
    width = machine.padded(channels)
    image_at = layout.part(plan.block_numbers(units, blocks[0]))
    job = structs.WeightJob(
        image=structs.Source(None, None, None, problem.images, *problem.source),
        gradient=structs.Source(None, None, None, problem.images, *problem.result),
        image_block=blocks[0], gradient_block=blocks[1], units=plan.units_structure(units),
        rows=rows, channels=channels, vectors=width // machine.lanes, workers=machine.workers,
        images=image_at, gradients=layout.part(plan.block_numbers(units, blocks[1])),
        sums=layout.part(rows * width), bias_sums=layout.part(width),
        **scheme,
    )  # fmt: skip
    job.space_step = layout.end
    whole = Layout(1)
    parts = {
        "space": whole.part(layout.end * machine.workers * machine.itemsize),
        "taken_part": whole.part(machine.workers),
    }
    return Plan(job, whole.end, parts, keep)


def _cut(problem: Problem, rows: int, multiple: int, numbers: int) -> Units:
    machine = problem.machine
    size = numbers * machine.itemsize
    return cut(problem.images, rows, multiple, size, UNIT, machine.workers)


def _image_block(
    units: Units, image: tuple[int, int, int], out_columns: int, kernel: Pair, stride: Pair,
    padding: Pair,
) -> tuple[structs.Block, Memory]:  # fmt: skip
    """What the outputs of a unit read, and how it lies in memory."""
    h, w, c = image
    rows = window(units.rows, kernel[0], stride[0], padding[0])
    columns = window(out_columns, kernel[1], stride[1], padding[1])
    in_place = padding == (0, 0)
    block = plan.block_structure(rows, columns, units.rows * stride[0], c, in_place)
    return block, Memory(h, w, c) if in_place else Memory(rows.size, columns.size, c)


def _inside(reach: Window, size: int) -> bool:
    return reach.start == 0 and reach.size <= size


def _plan(
    problem: Problem, units: Units, block: structs.Block, phases: list[Phase], channel_step: int
) -> Plan:
    machine, channels = problem.machine, problem.result[2]
    structures, packed = [], 0
    for phase in phases:
        structures.append(plan.phase_structure(phase, packed))
        packed += len(phase.factor) * machine.padded(channels)
    table = (structs.Phase * len(structures))(*structures)
    layout = Layout(machine.itemsize)
    layout.part(plan.block_numbers(units, block))
    return plan.images_plan(
        problem, units, block, packed, layout, (table, phases),
        weight=structs.Weight(None, channel_step, channels, machine.vectors(channels)),
        phases=ctypes.addressof(table), phase_count=len(structures),
    )  # fmt: skip
