"""Descriptors: objects of cuBLASLt that are filled attribute by attribute."""

from __future__ import annotations

import ctypes
import weakref

from hpcad.backend.cublaslt.binding import Library, call
from hpcad.backend.cublaslt.enums import DESCRIPTION, LAYOUT, PREFERENCE, Attributes, Compute, Type
from hpcad.errors import DeviceError


class Descriptor:
    """One object of the library, destroyed with this one.

    Attributes
    ----------
    value : int
        What the library calls it.
    """

    __slots__ = ("__weakref__", "_attributes", "_kind", "_library", "value")

    def __init__(self, library: Library, kind: str, known: Attributes, *made_of: int) -> None:
        self._library, self._kind, self._attributes = library, kind, known
        made = ctypes.c_void_p()
        call(library, f"cublasLt{kind}Create", ctypes.byref(made), *made_of)
        self.value = made.value or 0
        destroy = library.functions[f"cublasLt{kind}Destroy"]
        weakref.finalize(self, destroy, self.value).atexit = False  # the library may be gone then

    def set(self, **attributes: int) -> Descriptor:
        """Set attributes by the names of :mod:`hpcad.backend.cublaslt.enums`."""
        for name, content in attributes.items():
            number, kind = self._attributes[name]
            size = ctypes.sizeof(kind)
            function = f"cublasLt{self._kind}SetAttribute"
            call(self._library, function, self.value, number, ctypes.byref(kind(content)), size)
        return self

    def get(self, name: str) -> int:
        """An attribute as the library has it."""
        number, kind = self._attributes[name]
        found, written = kind(), ctypes.c_size_t()
        size, function = ctypes.sizeof(kind), f"cublasLt{self._kind}GetAttribute"
        pointers = ctypes.byref(found), size, ctypes.byref(written)
        call(self._library, function, self.value, number, *pointers)
        if written.value != size:
            raise DeviceError(
                f"{function} gave {written.value} bytes for {name!r} and not {size}: "
                f"{self._library.path} is another version than hpcad was written for"
            )
        return found.value


def description(library: Library, compute: str, scale: str, **attributes: int) -> Descriptor:
    """What is computed: ``cublasLtMatmulDesc_t``.

    Parameters
    ----------
    compute : str
        A name of :class:`Compute`.
    scale : str
        A name of :class:`Type`: that of alpha and beta.
    """
    made = Descriptor(library, "MatmulDesc", DESCRIPTION, Compute[compute], Type[scale])
    return made.set(**attributes)


def matrix_layout(
    library: Library, dtype: str, rows: int, columns: int, ld: int, batch: int, stride: int
) -> Descriptor:
    """A column-major matrix, or a batch of them: ``cublasLtMatrixLayout_t``."""
    made = Descriptor(library, "MatrixLayout", LAYOUT, Type[dtype], rows, columns, ld)
    return made.set(batch=batch, batch_stride=stride) if batch > 1 else made


def preference(library: Library, **attributes: int) -> Descriptor:
    """What algorithms may need: ``cublasLtMatmulPreference_t``."""
    return Descriptor(library, "MatmulPreference", PREFERENCE).set(**attributes)
