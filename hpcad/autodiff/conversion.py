"""How the values of a tensor become Python scalars, NumPy arrays and arrays of other libraries.

Values that leave a tensor are cut off from differentiation. Where a program would not expect
that, a tracked tensor refuses.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from hpcad.backend import backend_of, get_backend, to_host

CONSTANT = -2  # level of a tensor that no trace follows
CAPTURED = -1  # level of an array while a program is captured: a constant of every derivative
AMBIENT = 0  # level of parameters and of what is computed from them


class Conversions:
    """The part of :class:`~hpcad.autodiff.Tensor` that gives its values away."""

    __slots__ = ()

    value: Any
    level: int

    def _plain(self) -> Any:
        """The array below every level."""
        x: Any = self
        while isinstance(x, Conversions):
            x = x.value
        return x

    # -- scalars --------------------------------------------------------------------------

    def item(self) -> Any:
        """Return the single value as a Python scalar."""
        return self._plain().item()

    def tolist(self) -> Any:
        """Return the values as nested lists of Python scalars."""
        return self._plain().tolist()

    def __bool__(self) -> bool:
        return bool(self._plain())

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        return operator.index(self._scalar("index"))

    def _scalar(self, kind: str) -> Any:
        """The single value; ``math.sin(x)`` asks for float(x), and would lose the derivative."""
        if self.level > AMBIENT:
            raise TypeError(
                f"{kind}() of a tensor inside grad, vjp or jvp would lose its derivative (the math "
                "module asks for it, too); use functions of hpcad.numpy, or x.item() to read "
                "the value"
            )
        value = self._plain()
        if value.size != 1:
            raise TypeError(
                f"{kind}() needs a tensor with one element; this one has shape {value.shape}"
            )
        return value.item()

    # -- arrays ---------------------------------------------------------------------------

    def numpy(self) -> np.ndarray:
        """Return the values as a NumPy array on the host, cut off from differentiation.

        The array of a tracked tensor is read-only, because a tape may hold it; that of a
        constant is the one in the tensor.
        """
        array = np.asarray(to_host(self._plain()))
        return read_only(array) if self.level > CONSTANT else array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.level > CONSTANT:
            raise TypeError(
                "NumPy cannot take a tensor that is differentiated: its derivative would be lost; "
                "use the function of that name in hpcad.numpy, or tensor.numpy() for the plain "
                "values"
            )
        return np.array(to_host(self._plain()), dtype=dtype, copy=copy)

    # -- devices and other libraries ------------------------------------------------------

    @property
    def device(self) -> Any:
        """``"cpu"``, or the device object of CuPy."""
        x: Any = self
        while isinstance(x, Conversions):
            x = x.content if x.level == CAPTURED else x.value  # type: ignore[attr-defined]
        return getattr(x, "device", "cpu")

    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self.level > CONSTANT:
            raise BufferError(
                "DLPack cannot export a tensor that is differentiated: its derivative would be "
                "lost; export tensor.detach() for the plain values"
            )
        array = self._array()
        if type(array) is np.ndarray and not array.flags.writeable and copy is None:
            array = array.copy()  # older versions of the protocol know no read-only memory
        options: dict[str, Any] = {"stream": stream, "max_version": max_version}
        options |= {"dl_device": dl_device, "copy": copy}
        given = {name: option for name, option in options.items() if option is not None}
        return array.__dlpack__(**given)

    def __dlpack_device__(self, /) -> tuple[Any, int]:
        return self._array().__dlpack_device__()

    def _array(self) -> Any:
        """The plain array; a NumPy scalar becomes one without axes."""
        value = self._plain()
        return np.asarray(value) if isinstance(value, np.generic) else value


def read_only(array: Any) -> Any:
    """A view of a host array that cannot be written; other arrays as they are."""
    if type(array) is np.ndarray:
        array = array.view()
        array.flags.writeable = False
    return array


def device_backend(device: Any) -> Any:
    """The backend of a device as ``device=`` arguments name it (None: the host)."""
    if device is None or isinstance(device, str):
        return get_backend(device or "cpu")
    return backend_of(device)  # a device object of CuPy belongs to its package
