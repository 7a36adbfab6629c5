"""Has a second run done what the first did?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.autodiff.recomputation.stretch import Stretch
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.errors import DifferentiationError

_BLOCK = 1024


@dataclass(frozen=True)
class Outcome:
    """What a run left behind, for comparison with the next."""

    records: int
    results: tuple[Any, ...]

    @classmethod
    def of(cls, stretch: Stretch, results: Iterable[Tensor], checking: bool) -> Outcome:
        """``checking``: whether values are compared, too."""
        found = []
        for x in results:
            digest = _digest(value_of(x)) if checking else None
            found.append((tuple(x.shape), x.dtype, digest))
        return cls(stretch.length, tuple(found))

    def compare(self, other: Outcome, name: str) -> None:
        """Raise if the other run differs; sums may differ by rounding."""
        what = None
        if len(other.results) != len(self.results):
            what = f"{len(other.results)} differentiable results instead of {len(self.results)}"
        elif other.records != self.records:
            what = f"{other.records} operations instead of {self.records}"
        else:
            for a, b in zip(self.results, other.results, strict=True):
                if a[:2] != b[:2]:
                    what = f"a result {b[1]}{list(b[0])} instead of {a[1]}{list(a[0])}"
                elif not _alike(a[2], b[2], a[1]):
                    what = "other values"
        if what:
            raise not_the_same(name, what)


def not_the_same(name: str, what: str) -> DifferentiationError:
    return DifferentiationError(
        f"{name} did not do the same when it was run again for the backward pass: it gave {what}; "
        "a function that is recomputed must depend on nothing that changes (random numbers "
        "without a fixed key, counters, arrays that are overwritten), and leave what it gets as it "
        "is"
    )


def _digest(array: Any) -> tuple[Any, Any, float] | None:
    """Two sums, one of them with weights, and the norm; None where that would cost a transfer."""
    if not isinstance(array, np.ndarray | np.generic) or not array.size:
        return None
    flat = np.asarray(array).ravel(order="K")
    with np.errstate(all="ignore"):
        return flat.sum(), _weighted(flat), float(np.sqrt(abs(np.vdot(flat, flat))))


def _weighted(flat: np.ndarray) -> Any:
    """A sum that changes with the order; in blocks, so that no weights as large are needed."""
    dtype, whole = flat.real.dtype, flat.size // _BLOCK * _BLOCK
    blocks = flat[:whole].reshape(-1, _BLOCK) @ _weights(_BLOCK, dtype)
    tail = flat[whole:]
    return blocks @ _weights(len(blocks), dtype) + tail @ _weights(tail.size, dtype)


def _weights(count: int, dtype: Any) -> np.ndarray:
    """Irregular ones, of at most 1."""
    return np.sqrt(np.linspace(0.01, 1, count, dtype=dtype))


def _alike(a: Any, b: Any, dtype: Any) -> bool:
    if a is None or b is None or not np.all(np.isfinite(a)):
        return True
    close = np.sqrt(np.finfo(dtype).eps) * a[-1]
    sums = all(abs(x - y) <= close * 100 for x, y in zip(a[:-1], b[:-1], strict=True))
    return bool(sums and abs(a[-1] - b[-1]) <= close)
