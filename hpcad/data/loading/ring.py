"""Memory that is used again: blocks that come back when nobody holds them.

A fresh array of some megabytes costs a page fault per 4 KiB, about as much as reading its bytes
from the page cache. A block is lent as an array; when the last array and view on it is gone, the
block is free for the next batch. So it can never be overwritten while somebody still looks at it,
and who keeps many batches just makes the ring grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hpcad.data.manifest.contents import FieldSpec

_ALIGNMENT = 4096  # of blocks and of the fields in them: what O_DIRECT and GPUs like

Allocate = Callable[[int], np.ndarray]


def allocate(nbytes: int) -> np.ndarray:
    """Fresh memory, aligned to pages: an array of uint8 of shape ``(nbytes,)``."""
    whole = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % _ALIGNMENT
    return whole[start : start + nbytes]


class Ring:
    """Blocks of memory to lend.

    Parameters
    ----------
    most : int
        Free blocks that are kept.
    allocate : callable, optional
        Makes a block of so many bytes: pinned memory for a GPU.

    Attributes
    ----------
    made : int
        Blocks that were allocated so far.
    """

    def __init__(self, most: int, allocate: Allocate = allocate) -> None:
        self.made = 0
        self._allocate = allocate
        self._free: deque[_Block] = deque(maxlen=most)  # its methods are atomic

    def lend(self, nbytes: int) -> np.ndarray:
        """An array of uint8, shape ``(nbytes,)``; its block comes back when it and its views go."""
        try:
            block = self._free.pop()
        except IndexError:
            block = None
        if block is None or block.nbytes < nbytes:
            block = _Block(self._allocate(nbytes))
            self.made += 1
        return np.asarray(_Loan(block, nbytes, self._free))

    def lend_fields(self, fields: Mapping[str, FieldSpec], n: int) -> dict[str, np.ndarray]:
        """Arrays for ``n`` samples of those fields that are not ragged, all in one block."""
        fields = {name: field for name, field in fields.items() if not field.ragged}
        places, size = [], 0
        for field in fields.values():
            places.append(size)
            size += -(-n * field.nbytes // _ALIGNMENT) * _ALIGNMENT
        block = self.lend(size)
        return {
            name: block[place : place + n * field.nbytes].view(field.dtype).reshape(n, *field.shape)
            for (name, field), place in zip(fields.items(), places, strict=True)
        }


class _Block:
    """Memory, with its address looked up once."""

    __slots__ = ("address", "memory", "nbytes")

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.address, self.nbytes = memory.ctypes.data, memory.nbytes


class _Loan:
    """What NumPy keeps alive for as long as there is an array on the block."""

    __slots__ = ("__array_interface__", "_block", "_home")

    def __init__(self, block: _Block, nbytes: int, home: deque[_Block]) -> None:
        self._block, self._home = block, home
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (block.address, False),
        }

    def __del__(self) -> None:
        self._home.append(self._block)
