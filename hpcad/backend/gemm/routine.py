"""The compiled routine for products (``product.c``), and what it is told."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcad.backend.gemm.library import Library
from hpcad.backend.gemm.spec import DTYPES, Gemm
from hpcad.backend.native.library import load

AXES = 8  # of a batch; as in product.c
_APIS = {("cblas", 32): 0, ("cblas", 64): 1, ("dnnl", 64): 2}


@dataclass(frozen=True)
class Way:
    """How a product is computed.

    Attributes
    ----------
    library : Library
    threads : int
        Within a call of BLAS; 0 leaves the number that the library uses anyway.
    parts : tuple of int
        Pieces into which the rows and columns of ``c`` are cut.
    spread : bool
        The pieces, and the items of a batch, run on the thread pool, each with one thread.
    flip : str
        ``"a"`` or ``"b"``: that operand is copied to the other layout first; or ``""``.
    vector : bool
        Rows and columns are computed by ``gemv``.
    """

    library: Library
    threads: int = 0
    parts: tuple[int, int] = (1, 1)
    spread: bool = False
    flip: str = ""
    vector: bool = False

    @property
    def label(self) -> str:
        """A name, unique among the ways of one product and number of threads."""
        words = [self.library.name]
        if self.spread:
            words.append(f"spread {self.parts[0]}x{self.parts[1]}")
        if self.flip:
            words.append(f"flip {self.flip}")
        if self.vector:
            words.append("gemv")
        return ", ".join(words)


_Steps = ctypes.c_int64 * AXES
_Factor = ctypes.c_double * 2


class _Product(ctypes.Structure):
    """``product_t`` of product.c."""

    _fields_ = (
        ("gemm", ctypes.c_void_p),
        ("gemv", ctypes.c_void_p),
        ("get_threads", ctypes.c_void_p),
        ("set_threads", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("api", "type", "per_thread", "threads", "spread")),
        *((name, ctypes.c_int32) for name in ("flip", "trans_a", "trans_b", "axes")),
        *((name, ctypes.c_int64) for name in ("m", "n", "k", "lda", "ldb", "ldc")),
        *((name, ctypes.c_int64) for name in ("row_parts", "column_parts")),
        *((name, _Steps) for name in ("extents", "step_a", "step_b", "step_c")),
        ("alpha", _Factor),
        ("beta", _Factor),
    )


def routine() -> Any | None:
    """``hp_gemm(product, a, b, c)``; ``None`` without a C compiler."""
    library = compiled()
    return None if library is None else library.hp_gemm


def compiled() -> ctypes.CDLL | None:
    """The library of product.c."""
    return _compiled(os.environ.get("HPCAD_NATIVE", ""))


@functools.cache
def _compiled(_: str) -> ctypes.CDLL | None:
    library = load(Path(__file__).with_name("product.c").read_text(), "gemm")
    if library is not None:
        library.hp_gemm.restype = None
        library.hp_stir.restype = None
        library.hp_stir.argtypes = (ctypes.c_void_p, ctypes.c_long)
    return library


@functools.lru_cache(maxsize=4096)
def told(spec: Gemm, way: Way) -> Any:
    """What the routine is told, as a reference that it takes."""
    library = way.library
    product = _Product(
        gemm=library.gemm[spec.dtype],
        gemv=library.gemv.get(spec.dtype) if way.vector else None,
        get_threads=library.get_threads or None,
        set_threads=library.set_threads or None,
        api=_APIS[library.api, library.bits],
        type=DTYPES.index(spec.dtype),
        per_thread=library.per_thread,
        threads=way.threads,
        spread=way.spread,
        flip=("", "a", "b").index(way.flip),
        trans_a=spec.trans_a,
        trans_b=spec.trans_b,
        axes=len(spec.batch),
        row_parts=way.parts[0],
        column_parts=way.parts[1],
        extents=_Steps(*spec.batch),
        step_a=_Steps(*spec.stride_a),
        step_b=_Steps(*spec.stride_b),
        step_c=_Steps(*spec.stride_c),
        alpha=_Factor(spec.alpha.real, spec.alpha.imag),
        beta=_Factor(spec.beta.real, spec.beta.imag),
        **{name: getattr(spec, name) for name in ("m", "n", "k", "lda", "ldb", "ldc")},
    )
    return ctypes.byref(product)
