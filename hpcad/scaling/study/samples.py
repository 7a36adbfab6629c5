"""The raw samples of one run: every rank, every step, every phase.

Averages can be made of samples and samples of nothing, so a study keeps these (HDF5, one file for
each run), and every number of a report is computed from them.

A step begins on all ranks when all have passed a barrier, and ends on each rank when it is done
there: on a device, when the device is. Its time is the maximum over ranks of these durations, so
no clock of one rank is compared with that of another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.study.point import Point

Array = np.ndarray[Any, Any]
FORMAT = "hpcad scaling samples 1"


@dataclass(eq=False)
class Samples:
    """What was measured in one run.

    Attributes
    ----------
    point : Point
    repeat : int
        From 0.
    seconds : array of float64, shape (ranks, steps)
        From the common start of a step to its end on the rank, the first steps included.
    phases : dict of str to array of float64, shape (ranks, steps)
        Where these seconds went; names as in :mod:`hpcad.training.phases`. Without "other", which
        is what they lack.
    communication : array of float64, shape (ranks, steps)
        Seconds in which a reduction of gradients was under way. What is more than the phase
        "exposed communication" was hidden behind the backward pass.
    losses : array of float64, shape (ranks, steps)
        Each rank's share of the mean loss of the global batch: their sum over ranks is the loss.
    warmup : int
        The first so many steps are not timed (they compile, and fill caches).
    facts : dict
        As JSON can hold it; see :data:`FACTS`.
    """

    point: Point
    repeat: int
    seconds: Array
    phases: dict[str, Array]
    communication: Array
    losses: Array
    warmup: int
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.seconds.shape
        if len(shape) != 2 or shape[0] != self.point.ranks:
            raise DataError(
                f"{self.name}: seconds has the shape {shape}; expected (ranks, steps) with "
                f"{self.point.ranks} ranks"
            )
        arrays = {**self.phases, "communication": self.communication, "losses": self.losses}
        for name, array in arrays.items():
            if array.shape != shape:
                raise DataError(f"{self.name}: {name} has the shape {array.shape}, not {shape}")
        if not 0 <= self.warmup < shape[1]:
            raise DataError(
                f"{self.name}: {self.warmup} steps of warm-up leave none of {shape[1]} to be timed"
            )

    @property
    def name(self) -> str:
        return f"{self.point.name}-r{self.repeat}"

    @property
    def timed(self) -> slice:
        """The steps after the warm-up."""
        return slice(self.warmup, None)

    @property
    def step_seconds(self) -> Array:
        """Time of each timed step: the maximum over its ranks."""
        return np.asarray(self.seconds[:, self.timed].max(axis=0))

    @property
    def loss(self) -> Array:
        """Loss of every step over the global batch, warm-up included."""
        return np.asarray(self.losses.sum(axis=0))


#: What `Samples.facts` holds, at least; by key.
FACTS: Mapping[str, str] = {
    "hosts": "host name of every rank",
    "nodes": "number of hosts",
    "cores": "cores that the ranks may use together, on one host",
    "threads": "threads of a rank",
    "oversubscribed": "whether the ranks of a host have more threads than it has cores",
    "device": "what computed: cpu, gpu, strict",
    "parameters": "number of parameters of the model",
    "gradient_bytes": "bytes that each rank brings to the reductions of a step",
    "buckets": "bytes of each bucket, in the order in which they are reduced",
    "flops": "floating-point operations of a step, of all ranks together; null: not counted",
    "peak_flops": "of one rank, by its own GEMM while all ranks compute; per second",
    "memory_bandwidth": "of one rank, by a triad while all ranks compute; bytes per second",
    "digests": "hash of the parameters at the end, of every rank",
    "clock": "the clock and its resolution in seconds",
    "began": "UTC, ISO 8601",
    "dataset": "hash of the training data",
    "seed": "of the job",
    "environment": "versions, git hash, variables; a dict",
}


def write_samples(path: Path, samples: Samples) -> None:
    """Write a run's samples; after a crash the file is there whole, or not at all.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(temporary, "w") as file:
            file.attrs["format"] = FORMAT
            file.attrs["point"] = json.dumps(samples.point.to_dict())
            file.attrs["facts"] = json.dumps(samples.facts)
            file.attrs["repeat"], file.attrs["warmup"] = samples.repeat, samples.warmup
            for name in ("seconds", "communication", "losses"):
                file[name] = getattr(samples, name)
            group = file.create_group("phases", track_order=True)
            for name, array in samples.phases.items():
                group[name] = array
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}; make room there") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_samples(path: Path) -> Samples:
    """Read a run's samples.

    Raises
    ------
    DataError
        The file cannot be read, or is none of ours.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise DataError(f"{path} holds no samples of a scaling study ({FORMAT!r})")
            return Samples(
                point=Point.from_dict(json.loads(file.attrs["point"])),
                repeat=int(file.attrs["repeat"]),
                seconds=file["seconds"][()],
                phases={name: array[()] for name, array in file["phases"].items()},
                communication=file["communication"][()],
                losses=file["losses"][()],
                warmup=int(file.attrs["warmup"]),
                facts=json.loads(file.attrs["facts"]),
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"cannot read {path}: {error}; remove it, and run the study again"
        ) from error
