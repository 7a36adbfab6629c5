"""A convolution's job for the C routine, complete but for the addresses of the operands."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.backend.native.convolution import structs
from hpcad.backend.native.convolution.geometry import Phase, Units, Window

ALIGNMENT = 64  # bytes; of every part of the scratch space


@dataclass(frozen=True)
class Machine:
    """What plans depend on beside shapes: numbers per vector, bytes per number, threads."""

    lanes: int
    itemsize: int
    workers: int

    def vectors(self, channels: int) -> int:
        """Vectors that hold so many channels."""
        return -(-channels // self.lanes)

    def padded(self, channels: int) -> int:
        """The channels with those that fill the last vector."""
        return self.vectors(channels) * self.lanes


@dataclass(frozen=True)
class Problem:
    """Images to images: what a convolution and its adjoint in the images have in common.

    Attributes
    ----------
    images : int
    source, result : tuple (rows, columns, channels)
        Before pooling.
    pooled, plain : bool
        The result is pooled; the source is read as it is.
    machine : Machine
    """

    images: int
    source: tuple[int, int, int]
    result: tuple[int, int, int]
    machine: Machine
    pooled: bool = False
    plain: bool = True


@dataclass
class Layout:
    """Places of aligned parts, one behind the other, in numbers of ``itemsize`` bytes."""

    itemsize: int
    end: int = 0

    def part(self, count: int) -> int:
        """Where ``count`` numbers start."""
        start, unit = self.end, ALIGNMENT // self.itemsize
        self.end += -(-count // unit) * unit
        return start


@dataclass(frozen=True)
class Plan:
    """A job without addresses.

    Attributes
    ----------
    job : ctypes.Structure
    scratch : int
        Bytes.
    parts : dict
        Pointer field of the job -> byte in the scratch space.
    keep : tuple
        What holds memory whose address is in the job.
    """

    job: Any
    scratch: int
    parts: dict[str, int]
    keep: tuple[Any, ...] = field(repr=False)

    def fresh(self, scratch: int) -> Any:
        """A copy of the job, its scratch space at that address, to be given the operands."""
        job = type(self.job).from_buffer_copy(self.job)
        for name, at in self.parts.items():
            setattr(job, name, scratch + at)
        job.keep = self.keep
        return job


def images_plan(
    problem: Problem, units: Units, block: structs.Block, packed: int, layout: Layout,
    keep: tuple[Any, ...], **scheme: Any,
) -> Plan:  # fmt: skip
    """The plan of a job from images to images.

    Parameters
    ----------
    packed : int
        Numbers that the packed weight takes.
    layout : Layout
        Of one worker's space.
    scheme : structures and numbers
        The fields that differ between schemes.
    """
    machine, (rows, columns, channels) = problem.machine, problem.result
    step = units.rows if units.bands > 1 else 0
    job = structs.ImagesJob(
        source=structs.Source(None, None, None, problem.images, *problem.source),
        block=block,
        units=units_structure(units),
        result=structs.Result(None, None, None, 0, rows, columns, channels, step),
        workers=machine.workers,
        space_step=layout.end,
        **scheme,
    )
    whole = Layout(machine.itemsize)
    parts = {"packed": whole.part(packed), "space": whole.part(machine.workers * layout.end)}
    size = machine.itemsize
    return Plan(job, whole.end * size, {name: at * size for name, at in parts.items()}, keep)


def units_structure(units: Units) -> structs.Units:
    """The structure of C."""
    return structs.Units(units.images, units.bands, units.count)


def block_structure(
    rows: Window, columns: Window, row_step: int, pitch: int, in_place: bool = False
) -> structs.Block:
    """The structure of C."""
    return structs.Block(
        in_place, rows.start, columns.start, row_step, rows.size, columns.size, pitch
    )


def block_numbers(units: Units, block: structs.Block) -> int:
    """Numbers that a block takes in the scratch space."""
    return 0 if block.in_place else units.images * block.rows * block.columns * block.pitch


def phase_structure(phase: Phase, packed: int = 0) -> structs.Phase:
    """The structure of C; whoever holds it keeps ``phase``."""
    tables = (phase.origin, phase.place, phase.factor, phase.weight)
    return structs.Phase(
        phase.pixels, phase.last_pixels, len(phase.factor), *map(address, tables), packed
    )


def address(table: np.ndarray | ctypes.Array) -> int:
    """Of the first element."""
    return table.ctypes.data if isinstance(table, np.ndarray) else ctypes.addressof(table)
