"""Arrays that belong to a model and are not trained, such as running averages."""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.state import effect
from hpcad.autodiff.tensor import CONSTANT, value_of
from hpcad.nn.initializers import Initializer
from hpcad.nn.module import InitializedParameter


class Buffer(InitializedParameter):
    """A parameter that is frozen for good.

    It is found, named, initialised, broadcast, saved and restored like a parameter; it has no
    gradient, is not updated by optimizers, and is not counted by ``parameter_count``.

    Parameters
    ----------
    shape : tuple of int
    initializer : Initializer
    """

    __slots__ = ()

    def __init__(self, shape: tuple[int, ...], initializer: Initializer) -> None:
        super().__init__(shape, initializer)
        self.frozen = True

    @property
    def frozen(self) -> bool:
        return True

    @frozen.setter
    def frozen(self, _frozen: bool) -> None:  # also where somebody thaws all parameters
        self._frozen, self.level = True, CONSTANT

    def shift_by(self, change: Any) -> None:
        """Add to the values, now and in every run of a compiled function.

        The change travels in the place of the gradient, which nobody else uses: that is how a
        program, which knows its values by their places, hands numbers to an effect.

        Parameters
        ----------
        change : array or tensor
            Of this buffer's shape; constant.
        """
        self.accumulate(value_of(change))
        effect(self._take_in)

    def _take_in(self) -> None:
        self.assign(self.array + self.gradient)
        self.clear_grad()
