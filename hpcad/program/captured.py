"""Captured: what stands for an array while a program is captured.

It is a tensor whose level lies below all differentiation. So derivative rules treat it as they
treat the tensors of an outer transform: they compute with primitives, and each is recorded.
It holds the numbers of this call, so that the call can be finished whatever it meets; but whoever
reads them makes the program depend on values, and is noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED, CONSTANT
from hpcad.autodiff.tensor import Tensor
from hpcad.program.instruction import Value

if TYPE_CHECKING:
    from hpcad.program.capture import Capture


class Captured(Tensor):
    """A tensor of the program.

    Attributes
    ----------
    content : array
        The numbers of this call; reading them is not noted.
    symbol : Value
        The value of the program that it stands for.
    plain : bool
        Whether an eager call would have a plain array here.
    """

    __slots__ = ("plain", "symbol")

    content: Any = Tensor.__dict__["value"]  # the place in which other tensors keep their value

    def __init__(
        self, content: Any, capture: Capture, symbol: Value, plain: bool = False
    ) -> None:
        self.content = content
        self.follower = capture  # type: ignore[assignment]  # a trace like others
        self.slot = -1
        self.level = CAPTURED
        self.symbol = symbol
        self.plain = plain
        capture.keep(self)

    @property
    def value(self) -> Any:  # type: ignore[override]
        if self.level == CAPTURED:
            self.follower.read("its values")  # type: ignore[union-attr]
        return self.content

    @value.setter
    def value(self, value: Any) -> None:
        self.content = value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.content.shape

    @property
    def dtype(self) -> Any:
        return self.content.dtype

    @property
    def ndim(self) -> int:
        return len(self.content.shape)

    @property
    def size(self) -> int:
        return self.content.size

    def twin(self) -> Captured:
        """Another tensor for the same value: assigning to one leaves the other as it is."""
        capture: Any = self.follower
        return Captured(self.content, capture, self.symbol, self.plain)

    def release(self) -> None:
        """The capture is over: an ordinary constant from here on."""
        if self.level == CAPTURED:
            self.level, self.follower = CONSTANT, None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.level != CAPTURED:
            return super().__array__(dtype, copy)
        return np.array(self.value, dtype=dtype, copy=copy)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Tensor(self.value).__reduce_ex__(protocol)
