"""From the arrays of a batch to what a model computes with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.backend import Backend, get_backend
from hpcad.nn import Precision


@dataclass(frozen=True)
class Prepare:
    """Convert, scale and move the fields of a batch.

    Attributes
    ----------
    dtype : dtype
        Of real inputs.
    scale, mean, std : float
        Real inputs become ``(x * scale - mean) / std``.
    real_input : bool
        Whether ``x`` holds numbers; indices (tokens) are left as they are.
    backend : Backend
        Where the model computes.
    precision : Precision
        That real inputs are rounded to after they were scaled, where it is half.
    """

    dtype: Any = np.float32
    scale: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    real_input: bool = True
    backend: Backend = field(default_factory=get_backend)
    precision: Precision = field(default_factory=Precision)

    def __call__(self, fields: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return the prepared fields: ``x`` scaled, integers as int64 (labels, tokens)."""
        return {name: self._field(name, array) for name, array in fields.items()}

    def _field(self, name: str, array: np.ndarray) -> Any:
        if name == "x" and self.real_input:
            x = array.astype(self.dtype)  # a copy: it is scaled in place
            if self.scale != 1.0:
                x *= self.scale
            if self.mean:
                x -= self.mean
            if self.std != 1.0:
                x /= self.std
            if self.precision.is_half:
                x = x.astype(self.precision.dtype)
            return self.backend.asarray(x)
        if array.dtype.kind in "iu":
            return self.backend.asarray(array.astype(np.int64, copy=False))
        return self.backend.asarray(array.astype(self.dtype, copy=False))
