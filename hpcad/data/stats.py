"""Statistics of a dataset from its bytes: moments, gaps, and a histogram of every field.

Two passes: the range of the numbers, then how they are spread over it. The ranks take the shards in
turn; what each shard gives is merged in the order of the shards, so the result does not depend on
the number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.data.dataset import Dataset
from hpcad.data.manifest.contents import FieldSpec
from hpcad.data.packing.parallel import together
from hpcad.data.packing.progress import Progress
from hpcad.data.shards.opening import open_shard
from hpcad.data.sources.source import CHUNK_BYTES
from hpcad.data.statistics import Statistics
from hpcad.errors import DataError
from hpcad.parallel import Communicator

BINS = 16
_WIDTH = 40  # characters of the longest bar
_CHANNELS_SHOWN = 3


@dataclass
class FieldSurvey:
    """What is known of the numbers of one field.

    Attributes
    ----------
    spec : FieldSpec
    moments : dict
        ``count``, ``mean``, ``std``, ``min``, ``max`` of the finite numbers, as in a manifest.
    nan, infinite : int
        Numbers that are not finite.
    edges : ndarray of float64, shape (bins + 1,)
        Borders of the histogram, from the least to the greatest finite number.
    counts : ndarray of int64, shape (bins,)
        Finite numbers in each bin, the last with both borders.
    """

    spec: FieldSpec
    moments: dict[str, Any]
    nan: int
    infinite: int
    edges: np.ndarray
    counts: np.ndarray


def survey(
    dataset: Dataset, communicator: Communicator, *, bins: int = BINS, progress: Progress
) -> dict[str, FieldSurvey]:
    """Look at all numbers of a dataset; collective.

    Returns
    -------
    dict of str to FieldSurvey
        By field, the same on every rank.

    Raises
    ------
    DataError
        On every rank: a shard is missing or damaged.
    """
    if bins < 1:
        raise DataError(f"a histogram needs at least 1 bin, not {bins}")
    fields = dataset.manifest.fields
    progress.begin(
        f"{dataset.directory}", 2 * len(dataset), f"{dataset.manifest.kind} in two passes"
    )
    first = _over_shards(
        dataset, communicator, progress, 0, lambda arrays: _moments(arrays, fields)
    )
    merged = {name: Statistics(spec.shape, spec.dtype) for name, spec in fields.items()}
    for found in first:
        for name, spec in fields.items():
            state = found[name]["state"]
            merged[name].merge(Statistics.restored(spec.shape, spec.dtype, state))
    moments = {name: each.to_json() for name, each in merged.items()}
    edges = {name: _edges(moments[name], bins) for name in fields}
    second = _over_shards(
        dataset, communicator, progress, len(dataset), lambda arrays: _counts(arrays, edges)
    )
    progress.end()
    return {
        name: FieldSurvey(
            spec,
            moments[name],
            sum(found[name]["nan"] for found in first),
            sum(found[name]["infinite"] for found in first),
            edges[name],
            np.array([found[name] for found in second]).sum(axis=0, dtype=np.int64),
        )
        for name, spec in fields.items()
    }


def table(found: dict[str, FieldSurvey]) -> str:
    """Everything as text, for a terminal."""
    lines = []
    for name, field in found.items():
        lines += [f"field {name}: {field.spec}"]
        numbers = int(np.sum(field.moments["count"])) + field.nan + field.infinite
        lines += [f"  numbers {numbers:,}, of these NaN {field.nan:,}, infinite {field.infinite:,}"]
        parts = [f"{key} {_shown(field.moments[key])}" for key in ("mean", "std", "min", "max")]
        lines += ["  " + ", ".join(parts)]
        most = max(int(field.counts.max()), 1)
        for low, high, count in zip(
            field.edges[:-1], field.edges[1:], field.counts.tolist(), strict=True
        ):
            bar = "#" * -(-count * _WIDTH // most)
            lines += [f"  {low:>12.5g} to {high:>12.5g} |{bar:<{_WIDTH}}| {count:,}"]
    return "\n".join(lines)


def draw(found: dict[str, FieldSurvey], path: Path) -> None:
    """The histograms as a picture; needs matplotlib.

    Raises
    ------
    DataError
        matplotlib is absent, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DataError(
            "a picture needs matplotlib, which is not installed: pip install 'hpcad[plots]'"
        ) from error
    figure = Figure(figsize=(6, 2.4 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(len(found)))
    for axis, (name, field) in zip(axes, found.items(), strict=True):
        axis.stairs(field.counts, field.edges, fill=True)
        axis.set_title(f"{name}: {field.spec}", fontsize="medium")
        axis.set_ylabel("numbers")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: this picture cannot be written ({error})") from error


def _over_shards(
    dataset: Dataset, communicator: Communicator, progress: Progress, before: int, look: Any
) -> list[Any]:
    """What `look` gives for the arrays of each shard, in their order, on every rank."""
    shards = dataset.manifest.shards
    found: list[Any] = []
    for first in range(0, len(shards), communicator.size):
        mine = first + communicator.rank

        def work(index: int = mine) -> Any:
            if index >= len(shards):
                return None
            return look(open_shard(dataset.directory, shards[index], verify=False))

        given = communicator.gather_json(together(communicator, work, dataset.directory), "stats")
        found += [each for each in given if each is not None]
        before += sum(shard.count for shard in shards[first : len(found)])
        progress.update(before)
    return found


def _moments(arrays: dict[str, Any], fields: dict[str, FieldSpec]) -> dict[str, Any]:
    found = {}
    for name, spec in fields.items():
        statistics, nan, infinite = Statistics(spec.shape, spec.dtype), 0, 0
        for piece in _pieces(arrays[name]):
            statistics.update(piece)
            if spec.dtype.kind == "f":
                nan += int(np.isnan(piece).sum())
                infinite += int(np.isinf(piece).sum())
        found[name] = {"state": statistics.state(), "nan": nan, "infinite": infinite}
    return found


def _counts(arrays: dict[str, Any], edges: dict[str, np.ndarray]) -> dict[str, Any]:
    found = {}
    for name, borders in edges.items():
        counts = np.zeros(len(borders) - 1, np.int64)
        for piece in _pieces(arrays[name]):
            numbers = piece.astype(np.float64).reshape(-1)
            finite = numbers[np.isfinite(numbers)]
            # Halves, because the range itself may be beyond float64.
            low, high = borders[0] / 2, borders[-1] / 2
            bins = (finite / 2 - low) / (high - low) * len(counts)
            bins = np.clip(bins.astype(np.int64), 0, len(counts) - 1)
            counts += np.bincount(bins, minlength=len(counts))
        found[name] = counts.tolist()
    return found


def _edges(moments: dict[str, Any], bins: int) -> np.ndarray:
    ends = []
    for key, pick in (("min", min), ("max", max)):
        numbers = moments[key] if isinstance(moments[key], list) else [moments[key]]
        known = [number for number in numbers if number is not None]
        ends.append(float(pick(known)) if known else 0.0)
    low, high = ends
    if low == high:  # one value: a bar in the middle
        margin = max(1.0, abs(low)) / 2
        low, high = low - margin, high + margin
    return 2 * np.linspace(low / 2, high / 2, bins + 1)


def _pieces(array: Any) -> Iterator[np.ndarray]:
    """All rows of a stored array, some at a time."""
    row_bytes = max(int(np.prod(array.shape[1:])) * array.dtype.itemsize, 1)
    step = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, array.shape[0], step):
        rows = np.arange(start, min(start + step, array.shape[0]))
        piece = np.empty((len(rows), *array.shape[1:]), array.dtype)
        array.read(rows, piece)
        yield piece


def _shown(value: Any) -> str:
    numbers = value if isinstance(value, list) else [value]
    text = " ".join("none" if x is None else f"{x:.6g}" for x in numbers[:_CHANNELS_SHOWN])
    return text + (" ..." if len(numbers) > _CHANNELS_SHOWN else "")
