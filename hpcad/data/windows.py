"""Windows over a token stream: the samples of a language model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpcad.data.dataset import Dataset
from hpcad.data.manifest.contents import FieldSpec, Manifest, canonical_hash
from hpcad.errors import DataError


class TokenWindows(Dataset):
    """Sample ``i`` is ``tokens[i*stride : i*stride+window+1]`` of the whole stream.

    Its fields are ``x``, all but the last of these tokens, and ``y``, all but the first: at every
    place the token to predict. Windows cross shard borders. Made by
    :func:`~hpcad.data.open_dataset` with ``window=``.
    """

    def __init__(
        self, directory: Path, manifest: Manifest, window: int, *, stride: int, verify: bool | str
    ) -> None:
        if manifest.kind != "tokens":
            raise DataError(
                f"{directory}: window= is for token streams (packed with --text), this dataset "
                f"holds samples with the fields {', '.join(manifest.fields)}"
            )
        if window < 1 or stride < 1:
            raise DataError(f"window and stride must be at least 1, not {window} and {stride}")
        if manifest.count <= window:
            raise DataError(
                f"{directory}: a window of {window} tokens and the token after it do not fit into "
                f"a stream of {manifest.count}; choose a window below {manifest.count}"
            )
        super().__init__(directory, manifest, verify=verify)
        self.window = window
        self.stride = stride
        self._count = (manifest.count - window - 1) // stride + 1
        tokens = manifest.fields["tokens"].dtype
        self.fields = {name: FieldSpec((window,), tokens) for name in ("x", "y")}
        self.hash = canonical_hash([manifest.hash, window, stride])

    def __len__(self) -> int:
        return self._count

    def read(
        self, ids: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The windows with the numbers ``ids``: ``x`` and ``y`` of shape ``(n, window)``."""
        starts = self._checked(ids) * self.stride
        targets = self._targets(len(starts), out)
        # Each window lies in one piece (or a few, across shards) and is read as such.
        length = self.window + 1
        tokens = np.empty((len(starts), length), targets["x"].dtype)
        self._rows.read_runs("tokens", starts, length, tokens)
        targets["x"][...] = tokens[:, :-1]
        targets["y"][...] = tokens[:, 1:]
        return targets

    def read_tokens(self, first: int, out: np.ndarray) -> None:
        """Read ``len(out)`` tokens of the stream from token ``first`` on, which must exist."""
        self._rows.read_runs("tokens", np.array([first]), len(out), out[None])
