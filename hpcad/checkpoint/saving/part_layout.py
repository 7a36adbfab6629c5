"""Where everything lies in one part: an HDF5 file of which only the arrays' bytes ever change.

The structure is built once (:mod:`.skeleton`) and used for every save of the same arrays. A part is
then a fixed image in which some stretches are filled from memory, so it can be written from front
to back in large blocks, and past the page cache.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcad.checkpoint.disk import PAGE
from hpcad.checkpoint.format import FORMAT, STORED_DTYPES, VERSION
from hpcad.checkpoint.saving.skeleton import build_skeleton
from hpcad.checkpoint.slices import Piece


@dataclass(frozen=True)
class Extent:
    """The bytes `begin` to `end` of a part, which are those of a piece (an index)."""

    begin: int
    end: int
    piece: int


class PartLayout:
    """The file image of some pieces.

    Parameters
    ----------
    pieces : sequence of Piece
        At most one of every array, none empty.

    Attributes
    ----------
    size : int
        Bytes of the file, a multiple of 4 KiB.
    offsets : list of int
        Of the first byte of every piece.
    extents : list of Extent
        The same in file order.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)
        paths = [f"arrays/{piece.name}" for piece in pieces]
        attributes: dict[str, dict[str, str | int]] = {"/": {"format": FORMAT, "version": VERSION}}
        attributes |= {
            path: {"start": piece.start}
            for path, piece in zip(paths, pieces, strict=True)
            if not piece.whole
        }
        skeleton = build_skeleton(
            {
                path: (STORED_DTYPES[piece.dtype], piece.shape if piece.whole else (piece.count,))
                for path, piece in zip(paths, pieces, strict=True)
            },
            attributes,
        )
        self.offsets = [skeleton.offsets[path] for path in paths]
        self.extents = sorted(
            (
                Extent(offset, offset + piece.nbytes, index)
                for index, (offset, piece) in enumerate(zip(self.offsets, pieces, strict=True))
            ),
            key=lambda extent: extent.begin,
        )
        self._begins = [extent.begin for extent in self.extents]
        self._ends = [extent.end for extent in self.extents]
        self._pages = list(skeleton.image.extents())
        last = max([skeleton.image.size, *(extent.end for extent in self.extents)])
        self.size = -(-last // PAGE) * PAGE
        self._gaps = self._between_extents()

    def fill(self, sources: Sequence[np.ndarray], begin: int, end: int, out: np.ndarray) -> None:
        """Write the bytes `begin` to `end` of the file into `out`.

        Parameters
        ----------
        sources : sequence of uint8 arrays
            The bytes of the pieces.
        begin, end : int
        out : uint8 array, shape (end - begin,)
        """
        self._frame(begin, end, out)
        for extent in self.within(begin, end):
            _overlay(out, begin, end, extent.begin, sources[extent.piece])

    def frame(self, out: np.ndarray) -> None:
        """Write everything but the arrays into `out`, which is as long as the file."""
        self._frame(0, self.size, out)

    def _frame(self, begin: int, end: int, out: np.ndarray) -> None:
        for first, last in self._gaps:
            if first < end and last > begin:
                out[max(first - begin, 0) : min(last, end) - begin] = 0
        # A page of the structure may reach into an array's first or last bytes: arrays come later.
        for offset, data in self._pages:
            _overlay(out, begin, end, offset, np.frombuffer(data, np.uint8))

    def within(self, begin: int, end: int) -> list[Extent]:
        """Return the extents that have bytes between `begin` and `end`, in file order."""
        first = bisect.bisect_right(self._ends, begin)
        last = bisect.bisect_left(self._begins, end)
        return self.extents[first:last]

    def _between_extents(self) -> list[tuple[int, int]]:
        """Return the stretches that hold no array."""
        gaps, reached = [], 0
        for extent in self.extents:
            if extent.begin > reached:
                gaps.append((reached, extent.begin))
            reached = extent.end
        if self.size > reached:
            gaps.append((reached, self.size))
        return gaps


def _overlay(out: np.ndarray, begin: int, end: int, offset: int, data: np.ndarray) -> None:
    """Copy what lies between `begin` and `end` of `data`, whose first byte is at `offset`."""
    first, last = max(begin, offset), min(end, offset + len(data))
    if first < last:
        # Without the interpreter's lock, for anything that takes long.
        np.copyto(out[first - begin : last - begin], data[first - offset : last - offset])
