"""Convolutions as patches and products, some images at a time, and pooling around them.

:class:`Recipe` says what to do in which order; the products are the caller's to make.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.half import named
from hpcad.program.cuda.routines.found import narrowed
from hpcad.program.cuda.routines.patches import Geometry, add_patches, take_patches
from hpcad.program.cuda.routines.pooling import max_pool, unpool
from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.cuda.routines.writing import itemsize, rounded
from hpcad.program.phantom import address_of, phantom_bytes

WORKSPACE = 256 << 20  # bytes that the patches of some images may take


@dataclass(frozen=True)
class Routine:
    """A routine and the addresses of its operands."""

    routine: DeviceRoutine
    pointers: list[int]

    @classmethod
    def at(cls, routine: DeviceRoutine, *places: int) -> Routine:
        """With nothing but the variant that these addresses allow."""
        return cls(narrowed(routine, places), list(places))


@dataclass(frozen=True)
class Product:
    """``c = a b + beta c``, and a bias added to every row; matrices as phantoms.

    Attributes
    ----------
    a, b, c : array
        Two-dimensional; transposed views among them.
    beta : float
        0 or 1.
    bias : array, optional
        One number per column.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    beta: float = 0.0
    bias: np.ndarray | None = None


@dataclass(frozen=True)
class Clipped:
    """``x = max(x, 0)``, in place.

    Attributes
    ----------
    x : array
        A phantom.
    """

    x: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """Steps one after the other.

    Attributes
    ----------
    workspace : int
        Bytes of memory that the steps share.
    steps : callable
        ``steps(address)``, with the address of the workspace, a multiple of 256: a list of
        :class:`Routine`, :class:`Product`, :class:`Clipped`, and calls of cuDNN.
    flops : int
    by : str
        Whose work it is, where it is not only hpcad's and cuBLASLt's.
    """

    workspace: int
    steps: Callable[[int], list[Any]]
    flops: int
    by: str = ""


@dataclass(frozen=True)
class Convolution:
    """What the recipes of one convolution have in common.

    Attributes
    ----------
    geometry : Geometry
    filters : int
    dtype : str
        Of images, results and weights.
    pooled : bool
        Whether cotangents are those of 2 x 2 max pooling behind the convolution.
    """

    geometry: Geometry
    filters: int
    dtype: str
    pooled: bool = False
    limit: int = WORKSPACE

    @property
    def images(self) -> int:
        """How many are convolved at a time."""
        n = self.geometry.images[0]
        return max(1, min(n, self.limit // max(1, sum(self._bytes(self.geometry.part(1))))))

    def _bytes(self, part: Geometry) -> tuple[int, int]:
        """Of the patches, and of the results before pooling, as far as they are written down."""
        size = itemsize(self.dtype)
        patches = 0 if part.is_matrix else rounded(part.rows * part.columns * size)
        return patches, rounded(part.rows * self.filters * size) if self.pooled else 0

    @property
    def workspace(self) -> int:
        """Bytes."""
        return sum(self._bytes(self.geometry.part(self.images)))

    @property
    def flops(self) -> int:
        """Of the product."""
        return 2 * self.geometry.rows * self.geometry.columns * self.filters

    def _parts(self) -> list[tuple[slice, Geometry]]:
        n = self.geometry.images[0]
        ends = [(start, min(start + self.images, n)) for start in range(0, n, self.images)]
        return [(slice(*end), self.geometry.part(end[1] - end[0])) for end in ends]

    def _full(self, part: Geometry, address: int) -> np.ndarray:
        """Results before pooling, in the workspace, behind the patches."""
        shape = (*part.out, self.filters)
        return _matrix(address + self._bytes(part)[0], shape, self.dtype)

    def _patches(self, part: Geometry, address: int) -> np.ndarray:
        return _matrix(address, (part.rows, part.columns), self.dtype)

    def _taken(self, part: Geometry, x: np.ndarray, address: int) -> tuple[list[Any], np.ndarray]:
        """The patches of images, and what writes them."""
        if part.is_matrix:
            return [], x.reshape(part.rows, part.columns)
        matrix = self._patches(part, address)
        routine = take_patches(self.dtype, part)
        return [Routine.at(routine, address_of(x), address)], matrix

    def _unpooled(
        self, part: Geometry, g: np.ndarray, winner: np.ndarray | None, address: int
    ) -> tuple[list[Any], np.ndarray]:
        """Cotangents of the results, and what writes them."""
        if winner is None:
            return [], g.reshape(part.rows, self.filters)
        full = self._full(part, address)
        routine = unpool(self.dtype, full.shape, 2)
        places = (address_of(a) for a in (g, winner, full))
        return [Routine.at(routine, *places)], full.reshape(part.rows, self.filters)

    def forward(
        self,
        x: np.ndarray,
        w: np.ndarray,
        bias: np.ndarray | None,
        out: np.ndarray,
        winner: np.ndarray | None = None,
        relu: bool = False,
    ) -> Recipe:
        """``y = P(x) w + bias``; with ``winner``, then 2 x 2 max pooling; and perhaps ReLU."""

        def steps(address: int) -> list[Any]:
            made: list[Any] = []
            for some, part in self._parts():
                before, matrix = self._taken(part, x[some], address)
                full = out[some] if winner is None else self._full(part, address)
                rows = full.reshape(part.rows, self.filters)
                made += [*before, Product(matrix, _flat(w), rows, bias=bias)]
                if winner is not None:
                    routine = max_pool(self.dtype, full.shape, 2, relu)
                    places = (address_of(a) for a in (full, out[some], winner[some]))
                    made.append(Routine.at(routine, *places))
            if relu and winner is None:
                made.append(Clipped(out))
            return made

        return Recipe(self.workspace, steps, self.flops)

    def weight(
        self, x: np.ndarray, g: np.ndarray, winner: np.ndarray | None, out: np.ndarray, beta: float
    ) -> Recipe:
        """``dw = P(x)^T g + beta dw``."""

        def steps(address: int) -> list[Routine | Product]:
            made: list[Routine | Product] = []
            for some, part in self._parts():
                taking, matrix = self._taken(part, x[some], address)
                won = None if winner is None else winner[some]
                unpooling, rows = self._unpooled(part, g[some], won, address)
                made += [*taking, *unpooling]
                made.append(Product(matrix.T, rows, _flat(out), beta=1.0 if some.start else beta))
            return made

        return Recipe(self.workspace, steps, self.flops)

    def input(
        self, g: np.ndarray, winner: np.ndarray | None, w: np.ndarray, out: np.ndarray
    ) -> Recipe:
        """``dx = P^T(g w^T)``."""

        def steps(address: int) -> list[Routine | Product]:
            made: list[Routine | Product] = []
            for some, part in self._parts():
                won = None if winner is None else winner[some]
                unpooling, rows = self._unpooled(part, g[some], won, address)
                made += unpooling
                if part.is_matrix:
                    matrix = out[some].reshape(part.rows, part.columns)
                    made.append(Product(rows, _flat(w).T, matrix))
                    continue
                made.append(Product(rows, _flat(w).T, self._patches(part, address)))
                routine = add_patches(self.dtype, part)
                made.append(Routine.at(routine, address, address_of(out[some])))
            return made

        return Recipe(self.workspace, steps, self.flops)


def _flat(weight: np.ndarray) -> np.ndarray:
    """(KH, KW, C, K) as (KH KW C, K)."""
    return weight.reshape(-1, weight.shape[3])


def _matrix(address: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A phantom in the workspace."""
    kind = named(dtype)
    return phantom_bytes(address, math.prod(shape) * kind.itemsize).view(kind).reshape(shape)
