"""Augmentation as a function: what happens to a sample depends on seed, epoch and sample number.

Not on the rank that reads it, on what was read before, or on a restart: the random numbers are
those of Philox (:mod:`hpcad.backend.random`), counted by the global sample number and the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from hpcad.backend.random import Stream
from hpcad.data.batch import Batch
from hpcad.errors import DataError

Draw = Callable[[int], np.ndarray]
"""From a number k to uniform numbers in [0, 1), float32, shape (n, k): a row for every sample."""


class Change(Protocol):
    """One random change of a field."""

    @property
    def field(self) -> str: ...

    def __call__(self, values: np.ndarray, draw: Draw) -> np.ndarray:
        """The changed field, of the same shape and dtype; ``values`` stay as they are."""


@dataclass(frozen=True)
class Flip:
    """Turn samples around along an axis.

    Parameters
    ----------
    field
    axis
        Of a sample: 1 is left to right for images of shape (height, width, ...).
    probability
        That a sample is turned.
    """

    field: str
    axis: int = 1
    probability: float = 0.5

    def __call__(self, values: np.ndarray, draw: Draw) -> np.ndarray:
        """See :class:`Change`."""
        turned = draw(1)[:, 0] < self.probability
        where = turned.reshape(-1, *[1] * (values.ndim - 1))
        return np.where(where, np.flip(values, self.axis + 1), values)


@dataclass(frozen=True)
class Shift:
    """Move images by up to ``most`` places up or down and left or right; zeros come in.

    The same as a random crop of the image with a margin of ``most`` zeros.

    Parameters
    ----------
    field
        Its samples have shape (height, width, ...).
    most
        Places, at least 0.
    """

    field: str
    most: int

    def __call__(self, values: np.ndarray, draw: Draw) -> np.ndarray:
        """See :class:`Change`."""
        n, height, width = values.shape[:3]
        margin = [(0, 0), (self.most,) * 2, (self.most,) * 2, *[(0, 0)] * (values.ndim - 3)]
        padded = np.pad(values, margin)
        moved = (draw(2) * (2 * self.most + 1)).astype(np.int64)
        rows = moved[:, 0, np.newaxis] + np.arange(height)
        columns = moved[:, 1, np.newaxis] + np.arange(width)
        return padded[np.arange(n)[:, np.newaxis, np.newaxis], rows[:, :, None], columns[:, None]]


@dataclass(frozen=True)
class Noise:
    """Add normal noise to a field of floating-point numbers.

    Parameters
    ----------
    field
    scale
        Standard deviation.
    """

    field: str
    scale: float

    def __call__(self, values: np.ndarray, draw: Draw) -> np.ndarray:
        """See :class:`Change`. By the Box-Muller transform, two numbers from two."""
        count = prod(values.shape[1:])
        half = -(-count // 2)
        uniform = draw(2 * half)
        radius = np.sqrt(-2.0 * np.log1p(-uniform[:, :half]))
        angle = np.float32(2.0 * np.pi) * uniform[:, half:]
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return values + (self.scale * normal[:, :count]).reshape(values.shape).astype(values.dtype)


class Augment:
    """Random changes of the samples of a batch, one after another.

    Parameters
    ----------
    seed
        Of the job.
    changes
        Each draws numbers of its own.

    Examples
    --------
    >>> augment = Augment(7, [Flip("x"), Shift("x", 2)])
    >>> for batch in loader:  # doctest: +SKIP
    ...     batch = augment(batch)
    """

    def __init__(self, seed: int, changes: Sequence[Change]) -> None:
        self.changes = tuple(changes)
        self._streams = [
            Stream(seed, f"augment/{i}/{type(change).__name__}") for i, change in enumerate(changes)
        ]

    def __call__(self, batch: Batch) -> Batch:
        """The batch with changed fields.

        Raises
        ------
        DataError
            A change names a field that the batch does not have.
        """
        fields = dict(batch.fields)
        for change, stream in zip(self.changes, self._streams, strict=True):
            if change.field not in fields:
                raise DataError(
                    f"{change} changes the field {change.field!r}, the samples have "
                    f"{', '.join(fields)}"
                )
            draw = _draw(stream, batch)
            fields[change.field] = change(fields[change.field], draw)
        return batch.filled(fields)


def _draw(stream: Stream, batch: Batch) -> Draw:
    return lambda width: stream.uniform_rows(batch.ids, width, np.float32, step=batch.epoch)
