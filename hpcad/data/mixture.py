"""Mixtures: samples of several datasets in fixed proportions, each in an order of its own.

Which dataset the next sample comes from is a function of its position: a pattern of
:data:`PATTERN` places, in which every dataset has its share and is spread as evenly as can be, is
repeated for ever. So the number of samples that each dataset has given before any position is
known in O(1), and with it the epoch and the position in that dataset's own order. The state of a
mixture is the same one integer, the cursor, at any number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcad.data.dataset import Dataset
from hpcad.data.manifest.contents import canonical_hash
from hpcad.data.order.global_order import GlobalOrder, Order, check_positions
from hpcad.errors import DataError

PATTERN = 4096


@dataclass(frozen=True)
class Seen:
    """What of one dataset has been seen.

    Attributes
    ----------
    samples : int
        In all.
    epochs : int
        Whole passes over it.
    """

    samples: int
    epochs: int


class Mixture(Dataset):
    """Several datasets with the same fields, as one; their samples follow one another.

    Parameters
    ----------
    datasets
        By name.
    weights
        By name; positive. What part of the samples comes from each is weight / sum of weights, to
        1 / 4096 (proportions are rounded to places of the pattern, every dataset has one at least).

    Raises
    ------
    DataError
        Where fields differ, a dataset or a weight is missing, or one has no place.
    """

    def __init__(self, datasets: Mapping[str, Dataset], weights: Mapping[str, float]) -> None:
        _check(datasets, weights)
        self.names = tuple(datasets)
        self.datasets = tuple(datasets.values())
        self.directory = self.datasets[0].directory
        self.fields = dict(self.datasets[0].fields)
        self.metadata = dict(self.datasets[0].metadata)
        self.counts = places([weights[name] for name in self.names])
        self._stops = np.cumsum([len(dataset) for dataset in self.datasets])
        self.hash = canonical_hash(
            [[name, dataset.hash, int(count)] for name, dataset, count in self._parts()]
        )

    def __len__(self) -> int:
        return int(self._stops[-1])

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{name} {100 * count / PATTERN:.3g} %" for name, _, count in self._parts()
        )
        return f"<Mixture of {shares}>"

    def read(
        self, ids: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The samples with the numbers ``ids``: those of the first dataset, then the next one's."""
        ids = self._checked(ids)
        targets = self._targets(len(ids), out)
        which = np.searchsorted(self._stops, ids, side="right")
        for i, dataset in enumerate(self.datasets):
            rows = np.flatnonzero(which == i)
            if rows.size:
                found = dataset.read(ids[rows] - (self._stops[i] - len(dataset)))
                for name, array in found.items():
                    targets[name][rows] = array
        return targets

    @property
    def requests(self) -> int:
        """Requests to the operating system for samples so far."""
        return sum(dataset.requests for dataset in self.datasets)

    def order(self, seed: int, samples: int | None = None, shuffle: bool = True) -> MixtureOrder:
        """The order in which the mixture is seen.

        Parameters
        ----------
        seed
            Each dataset has an order of its own made from it.
        samples
            What is called an epoch of the mixture; as many as there are in all datasets when left
            out. In an epoch of the mixture some datasets are seen more than once, some in part.
        shuffle
            As in :class:`~hpcad.data.GlobalOrder`.
        """
        return MixtureOrder(self, seed, samples or len(self), shuffle)

    def _parts(self) -> list[tuple[str, Dataset, int]]:
        return list(zip(self.names, self.datasets, self.counts.tolist(), strict=True))


class MixtureOrder:
    """The order of a mixture; made by :meth:`Mixture.order`.

    An :class:`~hpcad.data.order.global_order.Order`.

    Attributes
    ----------
    n : int
        Samples of an epoch of the mixture.
    """

    def __init__(self, mixture: Mixture, seed: int, n: int, shuffle: bool) -> None:
        if n < 1:
            raise DataError(f"an epoch of a mixture has at least 1 sample, not {n}")
        self.n = n
        self._mixture = mixture
        self._counts = mixture.counts
        self._pattern = pattern(self._counts)
        given = self._pattern[:, np.newaxis] == np.arange(len(self._counts))
        self._before = np.concatenate([np.zeros((1, len(self._counts)), np.int64), given.cumsum(0)])
        sizes = [len(dataset) for dataset in mixture.datasets]
        self._sizes = np.array(sizes)
        self._firsts = np.cumsum([0, *sizes[:-1]])
        self._orders: list[Order] = [
            GlobalOrder(size, seed + (i << 32), shuffle) for i, size in enumerate(sizes)
        ]

    def ids(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Sample ids of the mixture at positions of one of its epochs; see ``Order``."""
        check_positions(self.n, epoch, start, stop)
        positions = np.arange(start, stop, dtype=np.int64) + epoch * self.n
        cycles, places_ = np.divmod(positions, PATTERN)
        which = self._pattern[places_]
        numbers = cycles * self._counts[which] + self._before[places_, which]
        ids = np.empty_like(positions)
        for i, order in enumerate(self._orders):
            mine = np.flatnonzero(which == i)
            ids[mine] = self._firsts[i] + _following(order, numbers[mine])
        return ids

    def seen(self, cursor: int) -> dict[str, Seen]:
        """What of each dataset has been seen when ``cursor`` samples of the mixture have."""
        cycles, place = divmod(cursor, PATTERN)
        samples = cycles * self._counts + self._before[place]
        return {
            name: Seen(int(count), int(count // size))
            for name, count, size in zip(self._mixture.names, samples, self._sizes, strict=True)
        }


def places(weights: Sequence[float]) -> np.ndarray:
    """How many of the pattern's places each weight gets: largest remainders, at least one each."""
    exact = np.asarray(weights, np.float64) / np.sum(weights) * PATTERN
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    while counts.sum() < PATTERN:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > PATTERN:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return counts


def pattern(counts: np.ndarray) -> np.ndarray:
    """Who has each place: the j-th of c places of a dataset is due at (j + 1/2) / c."""
    due = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner[np.lexsort((owner, due))]


def _following(order: Order, numbers: np.ndarray) -> np.ndarray:
    """Sample ids for the numbers (increasing without gaps) of an endless walk over an order."""
    parts = []
    at, end = (int(numbers[0]), int(numbers[-1]) + 1) if numbers.size else (0, 0)
    while at < end:
        epoch, start = divmod(at, order.n)
        stop = min(start + end - at, order.n)
        parts.append(order.ids(epoch, start, stop))
        at += stop - start
    return np.concatenate(parts) if parts else numbers


def _check(datasets: Mapping[str, Dataset], weights: Mapping[str, float]) -> None:
    if not datasets or set(datasets) != set(weights) or len(datasets) > PATTERN // 4:
        raise DataError(
            f"a mixture needs one weight for each of its datasets (up to {PATTERN // 4}); there "
            f"are datasets {sorted(datasets)} and weights for {sorted(weights)}"
        )
    if wrong := [name for name, weight in weights.items() if not 0 < weight < np.inf]:
        raise DataError(
            f"the weight of {wrong[0]!r} in a mixture must be positive, not {weights[wrong[0]]}; "
            "leave the dataset out instead"
        )
    (first, one), *others = datasets.items()
    for name, dataset in others:
        if dict(dataset.fields) != dict(one.fields):
            raise DataError(
                f"datasets of a mixture must have equal fields: {first!r} has {_said(one)}, "
                f"{name!r} has {_said(dataset)}"
            )


def _said(dataset: Dataset) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in dataset.fields.items())
