"""Captured: what stands for an array while a program is captured.

It is a tensor whose level lies below all differentiation. So derivative rules treat it as they
treat the tensors of an outer transform: they compute with primitives, and each is recorded.
It holds the numbers of this call, so that the call can be finished whatever it meets; but whoever
reads them makes the program depend on values, and is noted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED, CONSTANT
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import Tensor, peek, value_of
from hpcad.primitives.ownership import ALONE, references
from hpcad.program.instruction import Value

if TYPE_CHECKING:
    from hpcad.program.capture.capture import Capture


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

    def __init__(self, content: Any, capture: Capture, symbol: Value, plain: bool = False) -> None:
        self.content = content
        self.follower = capture  # type: ignore[assignment]  # a trace like others
        self.slot = -1
        self.level = CAPTURED
        self.symbol = symbol
        self.plain = plain
        capture.keep(self)

    @property
    def value(self) -> Any:
        if self.level == CAPTURED:
            self.follower.look_into(self)  # type: ignore[union-attr]
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

    def twin(self, plain: bool | None = None) -> Captured:
        """Another tensor for the same value: assigning to one leaves the other as it is."""
        capture: Any = self.follower
        return Captured(self.content, capture, self.symbol, self.plain if plain is None else plain)

    def __copy__(self) -> Captured:
        return self.twin()

    def __deepcopy__(self, memo: dict[int, Any]) -> Captured:
        return memo.setdefault(id(self), self.twin())

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What users see: ``isinstance(x, np.ndarray)`` holds where it would in an eager call."""
        if self.plain and not _asked_inside():
            return type(peek(self))
        return Captured

    def as_scalar(self) -> Captured:
        """As NumPy returns a result without axes."""
        if not self.plain or self.shape or self.level != CAPTURED:
            return self
        capture: Any = self.follower
        return Captured(np.asarray(self.content)[()], capture, self.symbol, plain=True)

    def __getattr__(self, name: str) -> Any:
        """What arrays of NumPy have and tensors have not: an eager call would find it."""
        if name.startswith("_") or not self.plain or self.level != CAPTURED:
            raise AttributeError(f"{Captured.__name__!r} object has no attribute {name!r}")
        found = getattr(self.content, name)
        self.follower.refuse(f"its attribute {name} was read")  # type: ignore[union-attr]
        return found

    @property
    def in_place(self) -> bool:
        """Whether ``x += 1`` changes an array in an eager call, and does not rebind a name."""
        return self.plain and isinstance(peek(self), np.ndarray)

    def overwrite(self, result: Captured) -> bool:
        """Where others see the array of an eager call, write into it; False where nobody does."""
        target = value_of(self)
        if not self.plain or target.is_alone():
            return False
        STATE.capture.overwrite(target, result.content)
        return True

    def is_alone(self) -> bool:
        """Whether nobody else refers to the array, which the program has made."""
        array = self.content
        if self.symbol.origin != "result" or not isinstance(array, np.ndarray) or not array.ndim:
            return False
        if not array.flags.writeable or not isinstance(array.base, np.ndarray | None):
            return False
        del array
        if references(self.content) > ALONE:
            return False
        return self.content.base is None or references(self.content.base) <= ALONE

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


def is_plain(x: Any) -> bool:
    """Whether an eager call would have no tensor here."""
    return x.plain if isinstance(x, Captured) else not isinstance(x, Tensor)


def _asked_inside() -> bool:
    """Whether it is this package that asks for the class of something."""
    return sys._getframe(2).f_globals.get("__name__", "").partition(".")[0] == "hpcad"
