"""Tensor: a value and, if it is tracked, where on which trace it was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.conversion import (
    AMBIENT,
    CAPTURED,
    CONSTANT,
    Conversions,
    device_backend,
    read_only,
)
from hpcad.autodiff.links import LINKS, complete_links
from hpcad.autodiff.state import STATE
from hpcad.backend import Array, to_host
from hpcad.errors import DifferentiationError

if TYPE_CHECKING:
    from hpcad.autodiff.tape import Tape


class Tensor(Conversions):
    """An array that differentiation can follow.

    Users make tensors with :func:`tensor` or get them as results; transforms make them inside.
    Operators are installed by :mod:`hpcad.primitives`, the methods of NumPy arrays by
    :mod:`hpcad.numpy`.

    Item assignment and ``+=`` change the tensor object: it stands for the new value from there
    on. What was computed from the old value before keeps it, and so do its derivatives. Indexing
    gives values, not windows: after ``row = x[0]``, assigning to ``row`` does not change ``x``.
    A tensor without axes is a number: ``s += 1`` gives the name ``s`` to another tensor, as it
    does with Python's and NumPy's scalars.

    Attributes
    ----------
    value : array or Tensor
        The primal value. Inside nested transforms it is a tensor of the next lower level. Tapes
        hold the array and do not see what is written into it: assign to the tensor instead.
    follower : Trace or None
        The trace that follows this tensor.
    slot : int
        Its place there.
    level : int
        -2 for constants, -1 for arrays of a program that is being captured, 0 for the ambient
        tape, k inside the k-th nested transform.
    """

    __slots__ = ("__weakref__", "_past", "follower", "level", "slot", "tangent", "value")

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

        version: int

        def __neg__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: ...

    # Set only where they are needed, because tensors are made often:
    tangent: Any  # of a dual tensor
    _past: tuple[int, Any]  # how often assigned to, and a tensor that must live as long

    def __init__(
        self, value: Any, trace: Tape | None = None, slot: int = -1, level: int = CONSTANT
    ) -> None:
        self.value = value
        self.follower = trace
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

    if not TYPE_CHECKING:  # parameters keep theirs as an attribute

        @property
        def version(self) -> int:
            """How often the tensor was assigned to."""
            past = getattr(self, "_past", None)
            return 0 if past is None else past[0]

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("len() of a tensor without axes")
        return shape[0]

    def __repr__(self) -> str:
        level = "" if self.level == CONSTANT else f", level={self.level}"
        return f"{type(self).__name__}({np.asanyarray(to_host(self._plain()))!r}{level})"

    def __str__(self) -> str:
        return str(self._plain())

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        return format(self.item() if self.size == 1 else self._plain(), spec)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a tensor without axes cannot be iterated over")
        return (self[i] for i in range(len(self)))

    def __array_function__(self, func: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.shape:
            return args[0].shape
        return LINKS.function(func, args, kwargs)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """Return this tensor on a device (``"cpu"``, ``"gpu"``, or what ``device`` returned)."""
        if stream is not None:
            raise ValueError("to_device() takes no stream: copies are ordered by the default one")
        if device == self.device:
            return self
        backend = device_backend(device)
        if self.level > CONSTANT:
            raise TypeError(
                "a tensor that is differentiated cannot change its device; move the arguments "
                "of the function instead"
            )
        plain = self._plain()
        return Tensor(to_host(plain) if device == "cpu" else backend.asarray(plain))

    def detach(self) -> Tensor:
        """Return a constant with the same values.

        Its array cannot be written (a tape may hold it), but the constant can be assigned to.
        """
        value = value_of(self)
        if isinstance(value, Tensor):  # of a program that is being captured
            return value.twin(plain=False)  # type: ignore[attr-defined]
        return Tensor(value if self.level == CONSTANT else read_only(value))

    def __copy__(self) -> Tensor:
        return twin(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """Another tensor of the same value and history; the record of that is not copied."""
        copied = twin(self)
        if self.level == CONSTANT:  # the array may be one of the user's
            copied.value = self.value.copy()
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.follower is not None:
            raise TypeError(
                "a tensor that is differentiated cannot be pickled, because the record of how it "
                "was computed stays behind; pickle tensor.numpy(), its plain values"
            )
        return super().__reduce_ex__(protocol)

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
        if self.level > AMBIENT:
            raise DifferentiationError(
                "backward() was called inside grad, vjp or jvp on a tensor that those follow; "
                "return it from the function, or use hpcad.grad for an inner derivative"
            )
        if self.level != AMBIENT or self.follower is None:
            raise DifferentiationError(
                "backward() was called on a tensor that depends on no parameter; "
                "compute it from parameters outside no_grad(), or use hpcad.grad(function)"
            )
        LINKS.backward(self, seed, retain)


def tensor(value: Any, dtype: Any = None) -> Tensor:
    """Return a constant tensor with the given values (a list, scalar or array; not copied)."""
    complete_links()
    if isinstance(value, Tensor):
        # An array, while a program is captured, is a tensor of it.
        return value.twin(plain=False) if getattr(value, "plain", False) else value  # type: ignore[attr-defined]
    if not hasattr(value, "dtype"):
        value = np.asarray(value)
    return Tensor(value if dtype is None else value.astype(dtype, copy=False))


def value_of(x: Any) -> Any:
    """Strip every level of differentiation and return the array below (other things unchanged).

    While a program is captured, its tensors take the place of arrays and are returned as such.
    """
    while isinstance(x, Tensor) and x.level != CAPTURED:
        x = x.value
    return x


def peek(x: Any) -> Any:
    """The plain array below everything, for what does not depend on its values."""
    x = value_of(x)
    return x.content if isinstance(x, Tensor) else x  # type: ignore[attr-defined]  # captured


def known(x: Any) -> np.ndarray:
    """The values of what decides how something is computed, on the host.

    A program that is captured depends on them: they are noted as read.
    """
    if STATE.capture is not None and isinstance(x, np.ndarray):
        x = STATE.capture.outside(x)
    return np.asarray(to_host(value_of(x)))


def rebind(x: Tensor, result: Tensor) -> None:
    """Let ``x`` stand for ``result`` from here on; ``result`` is not used by anyone else."""
    if result.level == CAPTURED:
        overwrite = getattr(x, "overwrite", None)
        if overwrite is not None and overwrite(result):
            return
        x.value, x.follower, x.slot, x.level = result, None, -1, CONSTANT
        x._past = (x.version + 1, None)
        return
    x.value = result.value
    x.follower = result.follower
    x.slot = result.slot
    x.level = result.level
    if hasattr(result, "tangent"):
        x.tangent = result.tangent
    elif hasattr(x, "tangent"):
        del x.tangent
    keeper = None
    if x.level == AMBIENT:  # the ambient tape drops records whose tensors are dead
        keeper, result.value = result, None
    x._past = (x.version + 1, keeper)


def twin(x: Any) -> Any:
    """Another tensor of the same value and history: assigning to one leaves the other as it is.

    Things that cannot be assigned to (parameters, and what is no tensor) are returned as such.
    """
    if not isinstance(x, Tensor) or hasattr(x, "grad"):
        return x
    if x.level == CAPTURED:  # where others are constants, of which only the array is taken
        return x.twin(plain=True)  # type: ignore[attr-defined]  # of hpcad.program
    copy = Tensor(x.value, x.follower, x.slot, x.level)
    if hasattr(x, "tangent"):
        copy.tangent = x.tangent
    if x.level == AMBIENT:
        copy._past = (0, x)
    return copy
