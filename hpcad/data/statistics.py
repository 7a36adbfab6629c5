"""Mean, standard deviation, minimum and maximum of a field, while it is packed.

All sums are of float64. Within a piece they are two-pass (mean, then squared distances from it);
two pieces with counts n_a, n_b, means m_a, m_b and sums of squared distances M_a, M_b give

    m = m_a + (m_b - m_a) n_b / n,    M = M_a + M_b + (m_b - m_a)^2 n_a n_b / n,    n = n_a + n_b

(Chan, Golub and LeVeque 1979), which does not lose digits the way a sum of squares does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_CHANNELS = 64
_WIDTH = 1024  # numbers in a row that is summed
_PIECE = 2**18  # numbers at a time, so that their float64 copies stay in the processor's cache


def channels_of(shape: tuple[int, ...]) -> int:
    """How many statistics a field of samples of this shape has of each kind; 0: a scalar."""
    return shape[-1] if shape and shape[-1] <= MOST_CHANNELS else 0


class Statistics:
    """Statistics of all numbers of a field, or of each place of its last axis.

    Parameters
    ----------
    shape : tuple of int
        Of a sample, or of one row of a ragged field. With a last axis of at most
        :data:`MOST_CHANNELS` there is a mean (and so on) for each place of it.
    dtype : dtype
        Of plain numbers.

    Examples
    --------
    >>> of = Statistics((2,), np.dtype("f4"))
    >>> of.update(np.array([[1, 5], [3, np.nan]], "f4"))
    >>> of.to_json()["mean"], of.to_json()["count"]
    ([2.0, 5.0], [2, 1])
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._channels = channels_of(shape)
        n = max(self._channels, 1)
        self._count = np.zeros(n, np.int64)
        self._mean, self._squares = np.zeros(n), np.zeros(n)
        # Numbers of the field's own kind, so that 64-bit integers keep all their digits.
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        self._low = np.full(n, limits.max, dtype)
        self._high = np.full(n, limits.min, dtype)

    def update(self, array: np.ndarray) -> None:
        """Take in more samples, an array of shape ``(n, *shape)``; numbers not finite are left out.

        Memory: a few copies of 256 thousand numbers.
        """
        channels = len(self._mean)
        flat = array.reshape(-1, channels)
        step = max(1, _PIECE // channels)
        # NumPy sums rows of a thousand numbers far faster than rows of three: some samples lie
        # side by side in each, and their sums are put together afterwards.
        beside = max(1, _WIDTH // channels)
        for start in range(0, len(flat), step):
            piece = flat[start : start + step]
            full = len(piece) // beside * beside
            for part in (piece[:full].reshape(-1, beside * channels), piece[full:].reshape(1, -1)):
                if part.size:
                    self._part(part)

    def to_json(self) -> dict[str, Any]:
        """``count`` of finite numbers, ``mean``, ``std`` (of the population), ``min``, ``max``.

        Each a list with a number per channel, or one number. ``None`` where there are no finite
        numbers, or the result is beyond float64.
        """
        known = self._count > 0
        with np.errstate(all="ignore"):
            std = np.sqrt(self._squares / np.maximum(self._count, 1))
        found = {"mean": self._mean, "std": std, "min": self._low, "max": self._high}
        value: dict[str, list[Any]] = {"count": self._count.tolist()}
        for name, numbers in found.items():
            good = known & np.isfinite(numbers)
            value[name] = [
                number if ok else None for number, ok in zip(numbers.tolist(), good, strict=True)
            ]
        return value if self._channels else {name: each[0] for name, each in value.items()}

    def merge(self, other: Statistics) -> None:
        """Take in what another one has seen of the same field."""
        with np.errstate(all="ignore"):
            self._merge(other._count, other._mean, other._squares)
        self._low = np.minimum(self._low, other._low)
        self._high = np.maximum(self._high, other._high)

    def state(self) -> dict[str, list[Any]]:
        """Everything, exactly, as JSON; see :meth:`restored`."""
        return {
            "count": self._count.tolist(),
            "mean": _texts(self._mean),
            "squares": _texts(self._squares),
            "low": _texts(self._low),
            "high": _texts(self._high),
        }

    @classmethod
    def restored(
        cls, shape: tuple[int, ...], dtype: np.dtype[Any], state: dict[str, list[Any]]
    ) -> Statistics:
        """The one that :meth:`state` was taken of.

        Raises
        ------
        KeyError, TypeError, ValueError
            It was taken of another field, or is no such state.
        """
        made = cls(shape, dtype)
        parts = {
            "count": np.array([int(number) for number in state["count"]], np.int64),
            "mean": _numbers(state["mean"], np.dtype(np.float64)),
            "squares": _numbers(state["squares"], np.dtype(np.float64)),
            "low": _numbers(state["low"], dtype),
            "high": _numbers(state["high"], dtype),
        }
        for name, numbers in parts.items():
            if numbers.shape != made._count.shape:
                raise ValueError(f"{name!r} has {numbers.size} numbers, not {made._count.size}")
            setattr(made, f"_{name}", numbers)
        return made

    def _part(self, part: np.ndarray) -> None:
        """Take in an array whose rows are all channels of several samples."""
        channels = len(self._mean)
        numbers = part.astype(np.float64)
        with np.errstate(all="ignore"):  # what overflows becomes None in the end
            sums = numbers.sum(axis=0).reshape(-1, channels).sum(axis=0)
            if not np.isfinite(sums).all():
                self._not_finite(part.reshape(-1, channels), numbers.reshape(-1, channels))
                return
            count = np.full(channels, part.size // channels)
            mean = sums / count
            numbers -= np.tile(mean, part.shape[1] // channels)
            squares = np.einsum("ij,ij->j", numbers, numbers).reshape(-1, channels).sum(axis=0)
            # The rounding of the sums is left in the distances; they tell it apart.
            rest = numbers.sum(axis=0).reshape(-1, channels).sum(axis=0) / count
            self._merge(count, mean + rest, squares - count * rest * rest)
        self._low = np.minimum(self._low, part.min(axis=0).reshape(-1, channels).min(axis=0))
        self._high = np.maximum(self._high, part.max(axis=0).reshape(-1, channels).max(axis=0))

    def _not_finite(self, part: np.ndarray, numbers: np.ndarray) -> None:
        """The same of rows of channels, some of them not finite (or too large to be added)."""
        finite = np.isfinite(numbers)
        count = finite.sum(axis=0)
        mean = numbers.sum(axis=0, where=finite) / np.maximum(count, 1)
        numbers = np.where(finite, numbers - mean, 0.0)
        self._merge(count, mean, np.einsum("ij,ij->j", numbers, numbers))
        if part.dtype.kind == "f":
            limits = np.finfo(part.dtype)
            low = part.min(axis=0, where=finite, initial=limits.max)
            high = part.max(axis=0, where=finite, initial=limits.min)
            self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)

    def _merge(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        total = np.maximum(self._count + count, 1)
        apart = np.where(count > 0, mean - self._mean, 0.0)
        share = count / total
        self._mean = self._mean + apart * share
        self._squares = self._squares + squares + apart * apart * self._count * share
        self._count = self._count + count


def _texts(numbers: np.ndarray) -> list[str]:
    """Numbers so that not a bit is lost; JSON has neither infinity nor NaN."""
    if numbers.dtype.kind != "f":
        return [str(number) for number in numbers.tolist()]
    return [float(number).hex() for number in numbers]


def _numbers(texts: list[str], dtype: np.dtype[Any]) -> np.ndarray:
    read = float.fromhex if dtype.kind == "f" else int
    return np.array([read(text) for text in texts], dtype)
