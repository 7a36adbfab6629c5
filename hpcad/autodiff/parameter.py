"""Parameters: the leaves of the ambient tape, with a place for their gradient."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from hpcad.autodiff.guard import user_line
from hpcad.autodiff.links import complete_links
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import AMBIENT, CONSTANT, Tensor
from hpcad.backend import Array, backend_of
from hpcad.errors import ShapeError


class GradientSink(Protocol):
    """Who is told about finished gradients; a data-parallel engine is one."""

    def seed_scale(self) -> float:
        """Factor on the seed of backward (1 / world size where gradients are averaged)."""
        ...

    def look(self) -> None:
        """A gradient is computed next: an occasion to look after others that are under way.

        Not called in programs.
        """
        ...

    def ready(self, parameter: Parameter) -> None:
        """``parameter.grad`` is final for this backward pass."""
        ...

    def finish(self) -> None:
        """The backward pass is over; afterwards every gradient must be valid."""
        ...


class Parameter(Tensor):
    """A trainable array.

    Parameters
    ----------
    value : array
        The first values, which are copied.
    name : str, optional

    Attributes
    ----------
    value : array
        Read-only on the CPU, because a tape does not see what is written into it:
        :meth:`assign` changes it.
    grad : array or None
        Gradient of the last backward passes; a view into an arena once the parameter belongs
        to one.
    fresh : bool
        True while ``grad`` holds a gradient that no optimizer has used yet. A backward pass
        overwrites a gradient that is not fresh and adds to one that is.
    frozen : bool
        A frozen parameter is a constant: it gets no gradient and no update.
    in_arena : bool
        Whether ``value`` and ``grad`` are views of arenas, which others hold on to.
    name : str
        Dotted path in its model.
    version : int
        How often the values were changed in place. A tape that kept older values refuses to
        differentiate with them.
    """

    __slots__ = ("_changed_by", "_frozen", "fresh", "gradient", "in_arena", "name", "sink",
                 "version")  # fmt: skip

    def __init__(self, value: Any, name: str = "") -> None:
        complete_links()
        super().__init__(None, None, -1, AMBIENT)
        self.hold(backend_of(value).xp.array(value))
        self.gradient: Array | None = None
        self.fresh = False
        self._frozen = False
        self.in_arena = False
        self.name = name
        self.sink: GradientSink | None = None
        self.version = 0
        self._changed_by = ""

    array: Any = Tensor.__dict__["value"]  # the place itself, whether or not a program is captured

    @property
    def value(self) -> Any:
        """The array; while a program is captured, the tensor that stands for it there."""
        capture = STATE.capture
        return self.array if capture is None else capture.parameter(self)

    @value.setter
    def value(self, array: Any) -> None:
        self.array = array

    @property
    def grad(self) -> Any:
        """The gradient; :attr:`gradient` is the place itself, which programs look into."""
        if STATE.capture is not None:
            STATE.capture.read(f"the values of the gradient of {self._title()}")
        return self.gradient

    @grad.setter
    def grad(self, array: Any) -> None:
        if STATE.capture is not None:
            STATE.capture.refuse(f"{self._title()} got another gradient")
        self.gradient = array

    @property
    def frozen(self) -> bool:
        return self._frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self._frozen = frozen
        self.level = CONSTANT if frozen else AMBIENT

    def hold(self, array: Array) -> None:
        """Stand for an array; who writes into it must say so by :meth:`changed`."""
        self.value = array
        self._protect()

    def _protect(self, protected: bool = True) -> None:
        if isinstance(self.array, np.ndarray):
            self.array.flags.writeable = not protected

    def freeze(self, frozen: bool = True) -> None:
        """Make this parameter a constant, or trainable again."""
        self.frozen = frozen

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """A parameter of its own: outside of arenas and engines, without a gradient."""
        twin = memo[id(self)] = type(self).__new__(type(self))
        Parameter.__init__(twin, self.value, self.name)
        twin.frozen = self.frozen
        return twin

    def _refuse_in_place(self, _other: Any) -> Any:
        raise TypeError(
            f"parameter {self.name!r} cannot be changed by an in-place operator, which would only "
            "rebind the name; use parameter.assign(values)"
        )

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __imatmul__ = _refuse_in_place

    def assign(self, value: Array) -> None:
        """Overwrite the values in place (same shape; converted to this parameter's dtype).

        Raises
        ------
        ShapeError
            The shapes differ.
        """
        if np.shape(value) != tuple(self.shape):
            raise ShapeError(
                f"parameter {self.name!r} has shape {tuple(self.shape)}, "
                f"but a value of shape {np.shape(value)} was assigned to it"
            )
        if STATE.capture is not None:
            value = STATE.capture.assigned(self, value)
        self._protect(False)
        try:
            self.array[...] = value
        finally:
            self._protect()
        self.changed(f"assign() at {user_line()}")

    def changed(self, by: str) -> None:
        """Note that the values were changed in place, and by whom."""
        self.version += 1
        self._changed_by = by

    def change_message(self, version: int, user: str) -> str:
        """Say that ``user`` needed the values of an older version."""
        return (
            f"{self._title()} of shape {tuple(self.shape)} was changed by "
            f"{self._changed_by} (version {self.version}) after {user} had used its values of "
            f"version {version}; take the derivative first, or run the forward pass again"
        )

    def _title(self) -> str:
        return f"parameter {self.name!r}" if self.name else "a parameter"

    def accumulate(self, cotangent: Array) -> None:
        """Add one contribution to the gradient (or overwrite a used one)."""
        if STATE.capture is not None:
            STATE.capture.accumulate(self, cotangent)
            return
        self.add(cotangent)

    def add(self, cotangent: Array) -> None:
        """Add to the gradient, whether or not a program is captured."""
        if self.gradient is None:
            self.gradient = backend_of(self.array).xp.array(cotangent)
        elif self.fresh:
            self.gradient += cotangent
        else:
            self.gradient[...] = cotangent
        self.fresh = True

    def clear_grad(self) -> None:
        """Set the gradient to zero."""
        if STATE.capture is not None:
            STATE.capture.clear(self)
            return
        if self.gradient is not None:
            self.gradient[...] = 0
        self.fresh = False
