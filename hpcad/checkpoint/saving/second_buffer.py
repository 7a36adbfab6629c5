"""The second copy of this rank's share of the state: an image of its file, kept between saves."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import numpy as np

from hpcad.checkpoint.saving.part_layout import PartLayout
from hpcad.checkpoint.saving.part_writer import page_aligned
from hpcad.checkpoint.slices import Piece
from hpcad.errors import CheckpointError

_STRIDE = 1 << 20  # elements that are examined at a time


class SecondBuffer:
    """An image of a part in memory, and the copying into it.

    Parameters
    ----------
    layout : PartLayout
    """

    def __init__(self, layout: PartLayout) -> None:
        self.layout = layout
        self.image = page_aligned(layout.size)
        self._framed = False
        self._sources: Sequence[np.ndarray] = ()
        self._lent: Collection[int] = ()
        self._copied = threading.Event()
        self._copied.set()

    def take(self, sources: Sequence[np.ndarray], lent: Collection[int]) -> None:
        """Copy the pieces now, except those that are lent until :meth:`copy_lent` has ended.

        Parameters
        ----------
        sources : sequence of uint8 arrays
            The bytes of every piece.
        lent : collection of int
            Which pieces do not change for a while.
        """
        if not self._framed:
            self.layout.frame(self.image)
            self._framed = True
        self._sources, self._lent = sources, lent
        self._copied.clear()
        self._copy([index for index in range(len(sources)) if index not in lent])

    def copy_lent(self) -> None:
        """Copy the rest; in the background."""
        try:
            self._copy(self._lent)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Forget the sources: whoever waits for them may change them."""
        self._sources, self._lent = (), ()
        self._copied.set()

    def wait_copied(self) -> None:
        """Return when the sources are not needed any more."""
        self._copied.wait()

    def require_finite(self, names: Collection[str]) -> None:
        """Check the copy; see :func:`require_finite`."""
        pieces = self.layout.pieces
        sources = [
            self.image[offset : offset + piece.nbytes]
            for offset, piece in zip(self.layout.offsets, pieces, strict=True)
        ]
        require_finite(pieces, sources, names)

    def _copy(self, indices: Collection[int]) -> None:
        for index in indices:
            offset, source = self.layout.offsets[index], self._sources[index]
            # Large copies hold no interpreter lock.
            np.copyto(self.image[offset : offset + len(source)], source)


def require_finite(
    pieces: Sequence[Piece], sources: Sequence[np.ndarray], names: Collection[str]
) -> None:
    """Check that there is no NaN and no infinity in some pieces.

    Parameters
    ----------
    sources : sequence of uint8 arrays
        The bytes of every piece.
    names : collection of str
        Of the arrays that are looked at.

    Raises
    ------
    CheckpointError
        Names the array.
    """
    chosen = set(names)
    for piece, source in zip(pieces, sources, strict=True):
        dtype = np.dtype(piece.dtype)
        if piece.name not in chosen or dtype.kind != "f":
            continue
        values = source.view(dtype)
        for begin in range(0, len(values), _STRIDE):
            if not np.isfinite(values[begin : begin + _STRIDE]).all():
                raise CheckpointError(
                    f"array {piece.name!r} is no longer finite, so no checkpoint was written"
                )
