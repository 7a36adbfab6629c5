"""A dataset of arrays in memory, for programs that make or load their data themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from hpcad.data.dataset import Dataset
from hpcad.data.manifest.contents import FieldSpec
from hpcad.errors import DataError


class ArrayDataset(Dataset):
    """Samples in NumPy arrays; every rank must hold the same arrays.

    Parameters
    ----------
    fields : mapping of str to ndarray
        Arrays of one length N; sample i is row i of each. They are used, not copied.
    metadata : mapping, optional
        JSON values such as ``{"classes": 10}``.

    Raises
    ------
    DataError
        There are no arrays or no samples, or the lengths differ.

    Examples
    --------
    >>> data = ArrayDataset({"x": np.zeros((5, 3)), "y": np.arange(5)})
    >>> len(data), data.read(np.array([4, 0]))["y"].tolist()
    (5, [4, 0])
    """

    def __init__(
        self, fields: Mapping[str, np.ndarray], metadata: Mapping[str, Any] | None = None
    ) -> None:
        self._arrays = {name: np.asarray(array) for name, array in fields.items()}
        lengths = {name: len(array) for name, array in self._arrays.items() if array.ndim}
        if len(lengths) != len(self._arrays) or len(set(lengths.values())) != 1:
            raise DataError(
                f"the arrays of a dataset must have one length; they have {lengths or 'none'}"
            )
        self._count = next(iter(lengths.values()))
        if self._count == 0:
            raise DataError("the arrays of a dataset hold no samples")
        self.directory = Path("memory")
        self.metadata = dict(metadata or {})
        self.fields = {
            name: FieldSpec(array.shape[1:], array.dtype) for name, array in self._arrays.items()
        }
        self.hash = self._identity()

    def __len__(self) -> int:
        return self._count

    def read(
        self, ids: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The samples with the numbers ``ids``, in that order; see :meth:`Dataset.read`."""
        checked = self._checked(ids)
        targets = self._targets(len(checked), out)
        for name, array in self._arrays.items():
            # The ids are known to exist; with mode="raise" NumPy would write into a copy first.
            np.take(array, checked, axis=0, out=targets[name], mode="clip")
        return targets

    @property
    def requests(self) -> int:
        """None: everything is in memory."""
        return 0

    def _identity(self) -> str:
        state = xxhash.xxh3_128()
        for name, array in self._arrays.items():
            state.update(f"{name} {array.dtype.str} {array.shape}".encode())
            state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return state.hexdigest()
