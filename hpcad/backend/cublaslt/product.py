"""Products of device arrays that are bound once and called often."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from hpcad.backend import flops
from hpcad.backend.cublaslt.checks import check_beside, check_shapes
from hpcad.backend.cublaslt.context import context_of
from hpcad.backend.cublaslt.eighths import Eighths
from hpcad.backend.cublaslt.layout import Arrangement, arrange, meta
from hpcad.backend.cublaslt.plan import Plan, plan_for
from hpcad.backend.cublaslt.settings import SETTINGS

_C_TYPES = {"float32": ctypes.c_float, "float64": ctypes.c_double}


class Factors:
    """``alpha`` and ``beta`` in host memory, where the library reads them at each call.

    Attributes
    ----------
    addresses : tuple of int
    """

    __slots__ = ("_numbers", "addresses")

    def __init__(self, scale: str, alpha: float, beta: float) -> None:
        self._numbers = _C_TYPES[scale](alpha), _C_TYPES[scale](beta)
        self.addresses = tuple(map(ctypes.addressof, self._numbers))


Call = tuple[int, int, int, int]  # a description, and addresses of A, B and D


def enqueue_all(plan: Plan, calls: Sequence[Call], factors: Factors) -> None:
    """Give products of one plan to the current stream."""
    stream = plan.context.xp.cuda.get_current_stream()
    memory, queue = plan.context.workspace(stream), stream.ptr
    alpha, beta = factors.addresses
    for what, a, b, d in calls:
        plan.enqueue(what, alpha, beta, a, b, d, memory, queue)


class BoundProduct:
    """A product at fixed addresses; called without arguments.

    The call allocates nothing, reads nothing back, and only enqueues work on the current stream.

    Attributes
    ----------
    plan : Plan
        Shared by all products that differ in addresses and factors only.
    flops : int
        Multiplications and additions.
    """

    __slots__ = ("_calls", "_factors", "_kept", "flops", "plan")

    def __init__(
        self,
        plan: Plan,
        arrangement: Arrangement,
        pointers: tuple[int, ...],
        factors: tuple[float, float],
        scales: tuple[int, int] = (0, 0),
    ) -> None:
        self.plan = plan
        self._factors = Factors(plan.problem.scale, *factors)
        a, b, d, bias, aux = pointers
        self._calls: list[Call] = []
        self._kept: list[Any] = []
        for offset in arrangement.offsets:
            if not self._kept or offset.aux:
                self._kept.append(plan.with_addresses(bias, aux + offset.aux, scales))
            what = self._kept[-1].value
            self._calls.append((what, a + offset.a, b + offset.b, d + offset.d))
        self.flops = plan.problem.flops * len(self._calls)

    def __call__(self) -> None:
        enqueue_all(self.plan, self._calls, self._factors)

    def count(self) -> None:
        """Tell those who count floating-point operations (:mod:`hpcad.backend.flops`)."""
        p = self.plan.problem
        flops.count_gemm(p.rows, p.columns, p.depth, p.batch * len(self._calls))

    def keep(self, *arrays: Any) -> BoundProduct:
        """Hold arrays as long as this."""
        self._kept.extend(arrays)
        return self


def bind_product(
    xp: Any,
    a: Any,
    b: Any,
    c: Any,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    epilogue: str | None = None,
    bias: Any = None,
    aux: Any = None,
    tf32: bool | None = None,
    eighths: Eighths | None = None,
) -> Callable[[], None] | None:
    """Prepare ``c = epilogue(x)`` with ``x = alpha * a @ b + beta * c``, all in place.

    Binding may allocate (the workspace of the current stream) and ask the library, so it is done
    before a capture, on the stream that will be captured; the call does neither. Not yet run on a
    GPU.

    Parameters
    ----------
    xp : module
        ``cupy``, or the strict device.
    a : device array, shape (..., m, k)
        Float64, float32, float16 or bfloat16. One of the last two strides is one element.
    b : device array, shape (..., k, n)
        Of the dtype of ``a``. Batch axes of ``a`` and ``b`` broadcast to those of ``c``.
    c : device array, shape (..., m, n)
        Of the dtype of ``a``; float32 also where that is a half type. Must not overlap the
        operands. Where ``beta`` is 0 it is not read.
    epilogue : str, optional
        ==================  ===================================================================
        ``bias``            ``x + bias``; taken where only ``bias`` is given
        ``relu``            ``max(x, 0)``; ``relu_bias``: of ``x + bias``
        ``relu_aux``        as ``relu``, and a bit of ``aux`` says where ``x`` is positive;
                            ``relu_aux_bias``: of ``x + bias``
        ``drelu``           ``x`` where the bit of ``aux`` is set, else 0
        ``drelu_bgrad``     the same, and ``bias`` = its sum over all rows
        ``gelu``            ``gelu(x)`` with the tanh formula; ``gelu_bias``: of ``x + bias``
        ``gelu_aux``        as ``gelu``, and ``aux = x``
        ``gelu_aux_bias``   as ``gelu_bias``, and ``aux = x + bias``
        ``dgelu``           ``x * gelu'(aux)``
        ``dgelu_bgrad``     the same, and ``bias`` = its sum over all rows
        ``bgrad_a``         ``x``, and ``bias[i] = sum_k a[i, k]``
        ``bgrad_b``         ``x``, and ``bias[j] = sum_k b[k, j]``
        ==================  ===================================================================
    bias : device array, shape (n,), for ``bgrad_a`` (m,)
        Of the dtype of ``c``. Gradients replace what it held.
    aux : device array, shape of ``c``
        Of the dtype of ``c``; its rows start at multiples of 8 elements. A mask of bits is an array
        of uint8 of shape :func:`~hpcad.backend.cublaslt.enums.mask_shape`, beside matrices only;
        no one but the library knows the order of its bits.
    tf32 : bool, optional
        Round float32 operands to 10 bits of mantissa for the multiplications, which is faster.
        Else what :func:`hpcad.backend.cublaslt.allow_tf32` said.
    eighths : Eighths, optional
        What the bytes of ``a`` and ``b`` are, where they are arrays of uint8.

    Returns
    -------
    callable or None
        A :class:`BoundProduct`, or a function without arguments where a side is empty. ``None``
        where the library cannot be given the arrays as they are (steps along both axes, more than
        64 calls for irregular batches, a bias beside a ``c`` that lies column by column), or has no
        algorithm: the caller copies, or computes the epilogue itself.

    Raises
    ------
    ShapeError
        Shapes that do not fit.
    """
    check_shapes(a, b, c, "a product")
    epilogue = epilogue or ("bias" if bias is not None else "")
    check_beside(epilogue, a, b, c, bias, aux)
    if c.size == 0 or a.shape[-1] == 0:
        return _empty(xp, c, beta, epilogue, bias)
    if "bgrad" in epilogue and alpha != 1.0:
        return None  # whether the sums are multiplied, too, is not documented
    operands = (meta(a), meta(b)) if eighths is None else eighths.read(a, b)
    arrangement = arrange(
        *operands, meta(c), adds=beta != 0.0, epilogue=epilogue,
        bias=None if bias is None else meta(bias), aux=None if aux is None else meta(aux),
        tf32=SETTINGS.tf32 if tf32 is None else tf32,
    )  # fmt: skip
    if arrangement is None:
        return None
    context = context_of(xp)
    pointers = addresses(arrangement, a, b, c, bias, aux)
    plan = plan_for(context, arrangement.aligned(pointers))
    if plan is None:
        return None
    context.workspace(xp.cuda.get_current_stream())
    scales = (0, 0) if eighths is None else eighths.addresses(arrangement.swapped)
    bound = BoundProduct(plan, arrangement, pointers, (alpha, beta), scales)
    return bound.keep(a, b, c, bias, aux, eighths)


def addresses(
    arrangement: Arrangement, a: Any, b: Any, c: Any, bias: Any = None, aux: Any = None
) -> tuple[int, ...]:
    """Of the library's A, B, D, bias and aux; 0 where there is none."""
    a, b = (b, a) if arrangement.swapped else (a, b)
    return tuple(0 if x is None else x.data.ptr for x in (a, b, c, bias, aux))


def _empty(xp: Any, c: Any, beta: float, epilogue: str, bias: Any) -> Callable[[], None] | None:
    """A product with no element, or of no summands: 0, which the library does not compute."""
    if epilogue not in ("", "bias"):
        return None

    def call() -> None:
        if c.size == 0:
            return
        if beta == 0.0:
            c.fill(0)
        elif beta != 1.0:
            xp.multiply(c, beta, out=c)
        if bias is not None:
            xp.add(c, bias, out=c)

    return call
