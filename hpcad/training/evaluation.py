"""Metrics over a whole dataset, divided over the ranks; full batches run as a program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hpcad.autodiff import no_grad
from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of
from hpcad.data import Dataset
from hpcad.data.batch import local_part
from hpcad.errors import ConfigError
from hpcad.parallel import World
from hpcad.program.capture.signature import of_call
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options
from hpcad.training.checks import check_metrics

BATCH = 256  # samples

Evaluate = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
_log = logging.getLogger("hpcad")


class Evaluation:
    """The metrics of a model, over one dataset after another.

    Batches of ``batch`` samples run as a program, which computes no gradient, reads parameters and
    running averages as they are at each run, and is made once, ahead of the first batch. The last,
    smaller batch of a rank runs eagerly; so does everything where the metrics cannot be captured,
    because they take values out of tensors, and one line says so. Sums that lie on a device stay
    there until the dataset is through.

    Parameters
    ----------
    model : Module
    function : callable
        ``function(model, batch)`` returns sums over the batch by name, among them ``count``,
        by which the totals are divided. As a program it is called for the first two batches only.
    prepare : callable
        From the arrays of a batch to those that ``function`` gets.
    world : World
    batch : int
        Samples that a rank computes at a time; bounds the memory.
    compile : bool
        False: every batch runs eagerly.
    """

    def __init__(
        self,
        model: Any,
        function: Evaluate,
        prepare: Callable[[dict[str, np.ndarray]], dict[str, Any]],
        world: World,
        *,
        batch: int = BATCH,
        compile: bool = True,
    ) -> None:
        self.model, self.function, self.prepare = model, function, prepare
        self.world, self.batch = world, batch
        self._compiled: Compiled | None = None
        self._looked_at = False  # whether the fields of batches can be told apart
        if compile:
            self._compiled = Compiled(self.sums, Options(ahead=True, log=world.is_root))

    @property
    def program_bytes(self) -> int:
        """Memory that the program holds for its values; 0 where there is none."""
        program = None if self._compiled is None else self._compiled.known
        return 0 if program is None else program.arena_bytes

    def __call__(self, dataset: Dataset) -> dict[str, float]:
        """Return the mean of each metric over the dataset, the same on every rank; collective."""
        first, last = local_part(len(dataset), self.world.rank, self.world.size)
        totals = Totals()
        with no_grad():
            for start in range(first, last, self.batch):
                ids = np.arange(start, min(start + self.batch, last))
                fields = self.prepare(dataset.read(ids))
                totals.add(self._function(len(ids), fields)(fields))
        read = totals.read()
        self._check_device()
        return _means(read, self.world)

    def _check_device(self) -> None:
        """Raise where a program has met labels or indices that mean nothing."""
        program = None if self._compiled is None else self._compiled.known
        faults = None if program is None else getattr(program.target, "faults", None)
        if faults is not None:
            faults.check(wait=True)

    def sums(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The sums over one batch."""
        found = self.function(self.model, fields)
        check_metrics(found)
        return dict(found)

    def _function(self, samples: int, fields: Mapping[str, Any]) -> Callable[..., dict[str, Any]]:
        """What evaluates the batch: the program, or the eager function."""
        if self._compiled is None or samples < self.batch:
            return self.sums
        if not self._looked_at:
            self._looked_at = True
            try:
                of_call((fields,), {})
            except ConfigError as error:
                if self.world.is_root:
                    _log.warning("%s stays eager: %s", self.sums.__qualname__, error)
                self._compiled = None
        return self._compiled or self.sums


# What is said where it cannot be compiled: "the evaluation stays eager: ..."
Evaluation.sums.__qualname__ = "the evaluation"


class Totals:
    """Sums of sums by name. What lies on a device is added there, and read once."""

    def __init__(self) -> None:
        self._host: dict[str, float] = {}
        self._device: dict[str, Any] = {}

    def add(self, found: Mapping[str, Any]) -> None:
        """Count in the sums of a batch."""
        for name, value in found.items():
            array = value_of(value)
            if hasattr(array, "dtype") and not isinstance(array, np.ndarray | np.generic):
                array = array.astype(np.float64).reshape(())
                known = self._device.get(name)
                self._device[name] = array if known is None else known + array
            else:
                self._host[name] = self._host.get(name, 0.0) + float(array)

    def read(self) -> dict[str, float]:
        """The totals; waits for the device, once."""
        totals = dict(self._host)
        if self._device:
            backend = backend_of(next(iter(self._device.values())))
            together = backend.to_host(backend.xp.stack(list(self._device.values())))
            for name, value in zip(self._device, together.tolist(), strict=True):
                totals[name] = totals.get(name, 0.0) + value
        return totals


def _means(totals: dict[str, float], world: World) -> dict[str, float]:
    # A rank without samples knows no names; everybody uses the union.
    names = sorted({name for part in world.communicator.gather_json(totals) for name in part})
    sums = np.array([totals.get(name, 0.0) for name in names])
    world.communicator.allreduce(sums, "sum", "evaluation")
    by_name = dict(zip(names, sums.tolist(), strict=True))
    count = by_name.pop("count")
    return {name: value / count for name, value in by_name.items()}
