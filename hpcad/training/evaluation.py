"""Metrics over a whole dataset, divided over the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hpcad.autodiff import no_grad
from hpcad.data import Dataset
from hpcad.data.batch import local_part
from hpcad.parallel import World
from hpcad.training.checks import check_metrics

BATCH = 256  # samples

Evaluate = Callable[[Any, Mapping[str, Any]], Mapping[str, float]]


def evaluate(
    model: Any,
    dataset: Dataset,
    prepare: Callable[[dict[str, np.ndarray]], dict[str, Any]],
    world: World,
    function: Evaluate,
    batch: int = BATCH,
) -> dict[str, float]:
    """Return the mean of each metric over the dataset; collective.

    Parameters
    ----------
    function : callable
        ``function(model, batch)`` returns sums over the batch by name, among them ``count``,
        by which the totals are divided.
    batch : int
        Samples that a rank computes at a time.

    Returns
    -------
    dict of str to float
        The same on every rank.
    """
    first, last = local_part(len(dataset), world.rank, world.size)
    totals: dict[str, float] = {}
    with no_grad():
        for start in range(first, last, batch):
            fields = prepare(dataset.read(np.arange(start, min(start + batch, last))))
            found = function(model, fields)
            check_metrics(found)
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + float(value)
    return _means(totals, world)


def _means(totals: dict[str, float], world: World) -> dict[str, float]:
    # A rank without samples knows no names; everybody uses the union.
    names = sorted({name for part in world.communicator.gather_json(totals) for name in part})
    sums = np.array([totals.get(name, 0.0) for name in names])
    world.communicator.allreduce(sums, "sum", "evaluation")
    by_name = dict(zip(names, sums.tolist(), strict=True))
    count = by_name.pop("count")
    return {name: value / count for name, value in by_name.items()}
