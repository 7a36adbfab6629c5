"""Tensors in graphs of the stand-in for cuDNN: what was said of them, and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.half import named

if TYPE_CHECKING:
    from hpcad.backend.cudnn.stand_in_graph import Graph

Shape = tuple[int, ...]
View = Callable[[int, int], np.ndarray]


class Tensor:
    """A tensor of a graph; ``set_*`` return it, as those of the package."""

    def __init__(self, graph: Graph, virtual: bool, **said: Any) -> None:
        self.graph, self.virtual = graph, virtual
        self.dim: tuple[int, ...] | None = None
        self.stride: tuple[int, ...] | None = None
        self.data_type: Any = None
        self.uid, self.name = -1, ""
        for name, value in said.items():
            self._set(name, value)

    def _set(self, name: str, value: Any) -> Tensor:
        if self.graph.stage != "made":
            raise RuntimeError("a tensor is changed after its graph was validated")
        setattr(self, name, tuple(value) if name in ("dim", "stride") else value)
        return self

    def set_dim(self, value: Sequence[int]) -> Tensor:
        return self._set("dim", value)

    def set_stride(self, value: Sequence[int]) -> Tensor:
        return self._set("stride", value)

    def set_data_type(self, value: Any) -> Tensor:
        return self._set("data_type", value)

    def set_uid(self, value: int) -> Tensor:
        return self._set("uid", value)

    def set_name(self, value: str) -> Tensor:
        return self._set("name", value)

    def set_output(self, value: bool) -> Tensor:
        return self._set("virtual", not value)

    # -- after a graph was validated ---------------------------------------------------------------

    @property
    def layout(self) -> tuple[Shape, Shape]:
        """Shape and steps."""
        if self.dim is None or self.stride is None:
            raise RuntimeError("a tensor has no shape")
        return self.dim, self.stride

    def span(self, place: int) -> tuple[int, int]:
        """Address and bytes of what it may touch, at an address."""
        last = sum((n - 1) * s for n, s in zip(*self.layout, strict=True))
        return place, (last + 1) * named(self.data_type.value).itemsize

    def array(self, place: int, view: View) -> np.ndarray:
        """Its elements, at an address."""
        dim, stride = self.layout
        flat = view(*self.span(place)).view(named(self.data_type.value))
        return np.lib.stride_tricks.as_strided(flat, dim, [s * flat.itemsize for s in stride])
