"""Tokens without files: each is a function of its place in an endless-looking stream.

They are for measuring a training step, and for trying a job before its text is packed. Small tokens
are common and large ones are rare, about as words are (Zipf), so that there is something to learn:
a model that knows the frequencies has a loss of :data:`ENTROPY`, one that knows nothing ln 50257.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpcad.backend import Stream
from hpcad.backend.random import philox4x32
from hpcad.data.builtin import SYNTHETIC
from hpcad.data.dataset import Dataset
from hpcad.data.manifest.contents import DTYPES, FieldSpec, canonical_hash
from hpcad.errors import DataError

VOCABULARY = 50257  # that of GPT-2
ENTROPY = 7.3597  # nats per token
VERSION = 1  # of the formula; checkpoints name their data by it


def tokens_at(places: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """The tokens at some places of a stream.

    A token of b + 1 random bits, b being random itself from 0 to 15: integers only, and so the
    same everywhere.

    Parameters
    ----------
    places : array of int64

    Returns
    -------
    array of uint16, of the shape of ``places``
    """
    places = np.asarray(places, np.uint64)
    blocks, which = np.unique(places >> np.uint64(2), return_inverse=True)  # four words each
    low, high, zero = blocks & np.uint64(2**32 - 1), blocks >> np.uint64(32), np.zeros_like(blocks)
    words = np.stack(philox4x32((low, high, zero, zero), key), axis=-1)
    word = words[which.reshape(places.shape), places & np.uint64(3)]
    bits = word & ((np.uint64(2) << (word >> np.uint64(28))) - np.uint64(1))
    return (bits % np.uint64(VOCABULARY)).astype(np.uint16)


class SyntheticTokens(Dataset):
    """Windows of such a stream, with the fields of :class:`~hpcad.data.TokenWindows`.

    Made by :func:`~hpcad.data.open_dataset` for ``"builtin:synthetic-tokens/train"`` and ``/test``.

    Parameters
    ----------
    name : str
        One of :data:`~hpcad.data.builtin.SYNTHETIC`.
    window, stride : int

    Examples
    --------
    >>> from hpcad.data import open_dataset
    >>> data = open_dataset("builtin:synthetic-tokens/test", window=6, stride=6)
    >>> data.read(np.array([0]))["x"].shape
    (1, 6)
    """

    def __init__(self, name: str, window: int | None, *, stride: int = 1) -> None:
        length = SYNTHETIC[name]
        if window is None or not 1 <= window < length or stride < 1:
            raise DataError(
                f"builtin:{name} is a stream of {length} tokens: window= (in job files [data] "
                f"window) must say how many a sample has, and stride be at least 1; they are "
                f"{window} and {stride}"
            )
        self.directory = Path(f"builtin:{name}")
        self.window, self.stride = window, stride
        self.metadata = {"vocabulary": VOCABULARY}
        self.fields = {key: FieldSpec((window,), DTYPES["uint16"]) for key in ("x", "y")}
        self.hash = canonical_hash([name, VERSION, window, stride])
        self._key = Stream(VERSION, name).key
        self._count = (length - window - 1) // stride + 1

    def __len__(self) -> int:
        return self._count

    def read(
        self, ids: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The windows with the numbers ``ids``: ``x`` and ``y`` of shape ``(n, window)``."""
        starts = self._checked(ids) * self.stride
        targets = self._targets(len(starts), out)
        tokens = tokens_at(starts[:, None] + np.arange(self.window + 1), self._key)
        targets["x"][...] = tokens[:, :-1]
        targets["y"][...] = tokens[:, 1:]
        return targets

    @property
    def requests(self) -> int:
        """None: nothing is read."""
        return 0
