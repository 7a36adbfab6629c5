"""The workload of a model that somebody else has published: layers in a TOML file.

``layers`` has a row ``["name", parameters, operations]`` for each layer in the order of the forward
pass, with the floating-point operations of a sample's forward pass. Or it is the path of a file of
such rows, from the description's own folder on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.errors import ConfigError
from hpcad.scaling.simulation.machine_file import read_table
from hpcad.scaling.simulation.workload import Gradient, Reduction, Work, Workload, work
from hpcad.training.job_fields import Place, bounded, build


@dataclass(frozen=True)
class Description:
    """What a description says.

    Attributes
    ----------
    batch : float
        Samples of a rank.
    layers : list of [str, float, float], or str
    step_seconds : float or None
        Of one device without others, as measured by whoever published it. None: operations over
        the machine's rate.
    backward : float
        Operations of the backward pass over those of the forward pass: two products for one.
    itemsize : int
        Bytes of a gradient's element in a message.
    bucket_bytes : list of two numbers, or None
        Of the first message and of others, at least; 0: one message for each layer. None: as
        hpcad would choose them on the machine.
    fusion : list of two numbers, or None
        Bytes of a buffer, and seconds of a cycle: messages of whatever is ready, in its place.
    gather_itemsize, scatter_itemsize : int
        Sharded: bytes of an element of parameters that are gathered, and of gradients.
    optimizer_bytes : float
        Read and written for each parameter by the update (SGD with momentum in float32: 20).
    state_bytes : float
        Of a checkpoint, for each parameter.
    sample_bytes : float
    source : list of str
        Where these numbers stand.
    """

    name: str
    batch: float = bounded(above=0)
    layers: Any = None
    step_seconds: float | None = bounded(None, above=0)
    backward: float = bounded(2.0, above=0)
    itemsize: int = bounded(4, at_least=1)
    reduction: Reduction = "overlapped"
    bucket_bytes: list[float] | None = bounded(None, at_least=0)
    fusion: list[float] | None = bounded(None, at_least=0)
    gather_itemsize: int = bounded(2, at_least=1)
    scatter_itemsize: int = bounded(4, at_least=1)
    optimizer_bytes: float = bounded(20.0, at_least=0)
    state_bytes: float = bounded(8.0, at_least=0)
    sample_bytes: float = bounded(0.0, at_least=0)
    source: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.bucket_bytes is not None and len(self.bucket_bytes) != 2:
            raise ValueError(
                "bucket_bytes must be two numbers: of the first message, and of others"
            )


def load_workload(path: Path) -> Workload:
    """Read and check the description of a workload.

    Raises
    ------
    ConfigError
        There is no such file, or it is not what it must be; with file and line.
    """
    table, place = read_table(path, "description of a workload")
    return workload_from(table, place, path.parent)


def workload_from(
    table: Mapping[str, Any], place: Place, folder: Path, path: tuple[str, ...] = ()
) -> Workload:
    """A workload from plain values; see :func:`load_workload`."""
    given = build(Description, table, path, place)
    rows = _rows(given.layers, place((*path, "layers")), folder)
    parameters = np.array([row[1] for row in rows], np.float64)
    flops = np.array([row[2] for row in rows], np.float64)
    none = np.zeros(len(rows))
    backward = given.backward * flops[::-1]
    gradients = tuple(
        Gradient(int(count) * given.itemsize, position + 1)
        for position, count in enumerate(parameters[::-1])
        if count
    )
    layer_bytes: tuple[tuple[float, float], ...] = ()
    if given.reduction == "sharded":
        layer_bytes = tuple(
            (count * given.gather_itemsize, count * given.scatter_itemsize) for count in parameters
        )
    return Workload(
        name=given.name,
        batch=given.batch,
        forward=work(list(flops), list(none)),
        backward=work(list(backward), list(none)),
        optimizer=_update(given, float(parameters.sum())),
        gradients=gradients,
        measured_seconds=given.step_seconds,
        bucket_bytes=_pair(given.bucket_bytes),
        fusion=_pair(given.fusion),
        reduction=given.reduction,
        layer_bytes=layer_bytes,
        parameters=int(parameters.sum()),
        state_bytes=given.state_bytes * float(parameters.sum()),
        sample_bytes=given.sample_bytes,
        notes=tuple(given.source),
    )


def _pair(numbers: list[float] | None) -> tuple[float, float] | None:
    return None if numbers is None else (numbers[0], numbers[1])


def _update(given: Description, parameters: float) -> Work:
    return work([2 * parameters], [given.optimizer_bytes * parameters], per_sample=False)


def _rows(layers: Any, where: str, folder: Path) -> list[tuple[str, float, float]]:
    if isinstance(layers, str):
        table, place = read_table(folder / layers, "file of layers")
        layers, where = table.get("layers"), place(("layers",))
    rows = layers if isinstance(layers, list) else []
    for row in rows:
        fits = isinstance(row, list) and len(row) == 3 and isinstance(row[0], str)
        if not fits or not all(isinstance(x, int | float) and x >= 0 for x in row[1:]):
            raise ConfigError(
                f'{where}: a layer is ["name", parameters, operations], not {row!r}; numbers are '
                "at least 0"
            )
    if not rows:
        raise ConfigError(
            f'{where}: layers must be a list of ["name", parameters, operations], or the path of '
            f"a file with such a list, not {layers!r}"
        )
    return [(str(name), float(count), float(work)) for name, count, work in rows]
