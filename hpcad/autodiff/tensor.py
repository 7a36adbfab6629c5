"""Tensor: a value and, if it is tracked, where on which trace it was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.backend import Array, to_host
from hpcad.errors import DifferentiationError

if TYPE_CHECKING:
    from hpcad.autodiff.tape import Tape

CONSTANT = -1  # level of a tensor that no trace follows
AMBIENT = 0  # level of parameters and of what is computed from them


class Tensor:
    """An array that differentiation can follow.

    Users make tensors with :func:`tensor` or get them as results; transforms make them inside.
    The operators and methods of NumPy arrays are installed by :mod:`hpcad.primitives`.

    Attributes
    ----------
    value : array or Tensor
        The primal value. Inside nested transforms it is a tensor of the next lower level.
    trace : Tape or None
        The trace that follows this tensor.
    slot : int
        Its place there.
    level : int
        -1 for constants, 0 for the ambient tape, k inside the k-th nested transform.
    """

    __slots__ = ("__weakref__", "level", "slot", "trace", "value")

    if TYPE_CHECKING:  # installed by hpcad.primitives.operators

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...

        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...

        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...

        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...

        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...

        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...

        def __neg__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...

    def __init__(
        self, value: Any, trace: Tape | None = None, slot: int = -1, level: int = CONSTANT
    ) -> None:
        self.value = value
        self.trace = trace
        self.slot = slot
        self.level = level

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    @property
    def size(self) -> int:
        return self.value.size

    def __len__(self) -> int:
        return self.value.shape[0]

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"{kind}({value_of(self)!r}, level={self.level})"

    def __bool__(self) -> bool:
        return bool(value_of(self))

    def __float__(self) -> float:
        self._refuse_inside_transforms("float")
        return float(value_of(self))

    def __int__(self) -> int:
        self._refuse_inside_transforms("int")
        return int(value_of(self))

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a tensor without axes cannot be iterated over")
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.level > CONSTANT:
            raise TypeError(
                "NumPy cannot take a tensor that is differentiated: its derivative would be lost; "
                "use the function of that name in hpcad.numpy, or tensor.numpy() for the plain "
                "values"
            )
        return np.array(to_host(value_of(self)), dtype=dtype, copy=copy)

    def __array_function__(self, func: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.shape:
            return args[0].shape
        raise TypeError(
            f"numpy.{func.__name__} does not know tensors; use hpcad.numpy.{func.__name__} if "
            "there is one, or tensor.numpy() for the plain values"
        )

    def _refuse_inside_transforms(self, kind: str) -> None:
        """``math.sin(x)`` asks for float(x), and would silently lose the derivative."""
        if self.level > AMBIENT:
            raise TypeError(
                f"{kind}() of a tensor inside grad or vjp would lose its derivative (the math "
                "module asks for it, too); use functions of hpcad.numpy, or x.item() to read "
                "the value"
            )

    def item(self) -> Any:
        """Return the single value as a Python scalar."""
        return value_of(self).item()

    def numpy(self) -> np.ndarray:
        """Return the values as a NumPy array on the host, cut off from differentiation."""
        return np.asarray(to_host(value_of(self)))

    def detach(self) -> Tensor:
        """Return a constant with the same values."""
        return Tensor(value_of(self))

    def backward(self, seed: Array | None = None, *, retain: bool = False) -> None:
        """Add the gradient of this scalar to the ``grad`` of every parameter it depends on.

        The records are freed as they are consumed, so a second call needs a second forward
        pass. Gradients accumulate until :meth:`Optimizer.step` has used them.

        Parameters
        ----------
        seed : array, optional
            Cotangent of this tensor, of the same shape; 1 when left out, which needs a scalar.
        retain : bool
            Keep the records for another call.

        Raises
        ------
        DifferentiationError
            This tensor depends on no parameter, is not a scalar, or was already used.
        """
        if self.level != AMBIENT or self.trace is None:
            raise DifferentiationError(
                "backward() was called on a tensor that depends on no parameter; "
                "compute it from parameters outside no_grad(), or use hpcad.grad(function)"
            )
        LINKS.backward(self, seed, retain)


def tensor(value: Any, dtype: Any = None) -> Tensor:
    """Return a constant tensor with the given values (a list, scalar or array; not copied)."""
    if isinstance(value, Tensor):
        return value
    if not hasattr(value, "dtype"):
        value = np.asarray(value)
    return Tensor(value if dtype is None else value.astype(dtype, copy=False))


def value_of(x: Any) -> Any:
    """Strip every level of tracking and return the array below (other things unchanged)."""
    while isinstance(x, Tensor):
        x = x.value
    return x
