"""Convolutions as routines of a program: planned once, then calls without arguments.

Images are (N, H, W, C), weights (KH, KW, C, K); every operand is contiguous, in float32 or float64.
Two schemes: direct (products over the pixels where they lie), and Winograd's F(2 x 2, 3 x 3) for
kernels of 3 x 3 at stride 1, which multiplies 2.25 times less.

In float32, on normal and on positive numbers with 32 to 512 channels, the root mean square error of
both schemes is 0.6 to 4 units of rounding of the results' root mean square, as is that of BLAS on a
column matrix; the largest error is below 10 units of the largest result.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hpcad.backend.native.convolution import direct, winograd
from hpcad.backend.native.convolution.geometry import Pair
from hpcad.backend.native.convolution.library import compiled, library, machine, workers
from hpcad.backend.native.convolution.plan import Plan, Problem

Shape = tuple[int, int, int, int]


def ready(dtype: str) -> bool:
    """Whether there are compiled convolutions for it. Compiles at the first question."""
    return library(dtype) is not None


@dataclass(frozen=True)
class Convolution:
    """What the three routines have in common: each belongs to one convolution.

    Attributes
    ----------
    images : tuple (N, H, W, C)
    weight : tuple (KH, KW, C, K)
    stride, padding : pair of int
    dtype : str
        ``"float32"`` or ``"float64"``.
    winograd : bool or None
        Whether to use Winograd's scheme where it can be; None: where it is faster.
    workers : int
        Threads that may take part; there is scratch space for so many. Equal numbers of threads
        give equal bits.
    """

    images: Shape
    weight: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dtype: str = "float32"
    winograd: bool | None = None
    workers: int = field(default_factory=workers)

    @property
    def out(self) -> Shape:
        """Shape of the convolution's result, (N, OH, OW, K)."""
        (n, h, w, _), (kh, kw, _, k) = self.images, self.weight
        (sh, sw), (ph, pw) = self.stride, self.padding
        return (n, (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1, k)

    @property
    def flops(self) -> int:
        """Floating-point operations of the direct formula."""
        return 2 * math.prod(self.out) * math.prod(self.weight[:3])

    @property
    def scratch(self) -> int:
        """Bytes of scratch space; aligned to 64."""
        return _plan(self).scratch

    @property
    def scheme(self) -> str:
        """``"winograd"`` or ``"direct"``."""
        return "winograd" if self._winograd() else "direct"

    def _winograd(self) -> bool:
        rows, columns = self._tiled()
        kernel, (c, k) = self.weight[:2], self.weight[2:]
        if self.winograd is None:
            return winograd.pays(kernel, self.stride, rows, columns, c, k)
        return self.winograd and kernel == (3, 3) and self.stride == (1, 1)

    def _tiled(self) -> Pair:
        """Rows and columns that Winograd's scheme would cut into tiles."""
        return self.out[1:3]

    def _make(self) -> Plan:
        raise TypeError(f"{type(self).__name__} defines no plan")


@functools.lru_cache(maxsize=256)
def _plan(routine: Convolution) -> Plan:
    return routine._make()


def _call(routine: Any, job: ctypes.Structure) -> Callable[[], None]:
    # The job is bound as well as its address, so that it lives as long as the call.
    return functools.partial(_run, routine, ctypes.addressof(job), job)


def _run(routine: Any, address: int, _job: ctypes.Structure) -> None:
    routine(address)


@dataclass(frozen=True)
class ConvForward(Convolution):
    """``y = conv(x, w) + b``, then optionally 2 x 2 max pooling, then optionally ReLU.

    Attributes
    ----------
    relu : bool
        ``y = maximum(y, 0)``, after pooling.
    pool : bool
        2 x 2 max pooling. Written beside it: which pixel of its window (row-major, the first at
        ties) each result is, as the primitive ``max_pool`` saves it.
    """

    relu: bool = False
    pool: bool = False

    @property
    def result(self) -> Shape:
        """Shape of what is written."""
        n, oh, ow, k = self.out
        return (n, oh // 2, ow // 2, k) if self.pool else self.out

    def bind(
        self, x: int, w: int, out: int, scratch: int, bias: int = 0, winner: int = 0
    ) -> Callable[[], None]:
        """The call, with the addresses of its operands.

        Parameters
        ----------
        x, w, out : int
        scratch : int
            Address of :attr:`scratch` bytes.
        bias : int
            K numbers; 0: none.
        winner : int
            int8, shaped like the result; with ``pool``.
        """
        job = _plan(self).fresh(scratch)
        job.source.data, job.weight.data, job.result.data = x, w, out
        job.result.bias, job.result.winner = bias or None, winner if self.pool else None
        job.result.relu = self.relu
        return _call(compiled(self.dtype).hp_convolve, job)

    def _make(self) -> Plan:
        _, kw, c, k = self.weight
        problem = Problem(self.images[0], self.images[1:], self.out[1:],
                          machine(self.dtype, self.workers), pooled=self.pool)  # fmt: skip
        if self._winograd():
            return winograd.images(problem, self.padding, (1, kw * c * k, c * k, k))
        return direct.forward(problem, self.weight[:2], self.stride, self.padding)


@dataclass(frozen=True)
class _Backward(Convolution):
    """Reads ``g``, the gradient of the result, shaped like :attr:`out`.

    Attributes
    ----------
    pooled : bool
        ``g`` is the gradient of the pooled result: it is un-pooled while it is read.
    masked : bool
        ``g * (positive > 0)`` is read, ``positive`` being the result after ReLU.
    """

    pooled: bool = False
    masked: bool = False

    def _open(self, source: Any, g: int, winner: int, positive: int) -> None:
        source.data = g
        source.winner = winner if self.pooled else None
        source.positive = positive if self.masked else None


@dataclass(frozen=True)
class ConvInput(_Backward):
    """``dx``, the adjoint of the convolution in its images."""

    def bind(
        self, g: int, w: int, out: int, scratch: int, winner: int = 0, positive: int = 0
    ) -> Callable[[], None]:
        """The call, with the addresses of its operands.

        Parameters
        ----------
        g, w, out, scratch : int
        winner, positive : int
            Shaped like ``g``; with ``pooled`` and ``masked``.
        """
        job = _plan(self).fresh(scratch)
        self._open(job.source, g, winner, positive)
        job.result.data, job.weight.data = out, w + self._last_tap() * bool(job.winograd)
        return _call(compiled(self.dtype).hp_convolve, job)

    def _last_tap(self) -> int:
        """The byte of the weight where the turned kernel starts."""
        kh, kw, c, k = self.weight
        return (kh * kw - 1) * c * k * machine(self.dtype, self.workers).itemsize

    def _tiled(self) -> Pair:
        return self.images[1:3]

    def _make(self) -> Plan:
        _, kw, c, k = self.weight
        problem = Problem(
            self.images[0], self.out[1:], self.images[1:], machine(self.dtype, self.workers),
            plain=not (self.pooled or self.masked),
        )  # fmt: skip
        if self._winograd():
            around = (2 - self.padding[0], 2 - self.padding[1])
            return winograd.images(problem, around, (k, -kw * c * k, -c * k, 1))
        return direct.adjoint(problem, self.weight[:2], self.stride, self.padding)


@dataclass(frozen=True)
class ConvWeight(_Backward):
    """``dw``, the adjoint of the convolution in its weight; and ``db``, that in its bias."""

    def bind(
        self, x: int, g: int, out: int, scratch: int, beta: float = 0.0, bias: int = 0,
        bias_beta: float = 0.0, winner: int = 0, positive: int = 0,
    ) -> Callable[[], None]:  # fmt: skip
        """The call, with the addresses of its operands.

        Parameters
        ----------
        x, g, out, scratch : int
        beta, bias_beta : float
            0: overwrite ``out`` (``bias``); 1: add to it.
        bias : int
            K numbers, for the sums of ``g`` over all pixels; 0: they are not wanted.
        winner, positive : int
            Shaped like ``g``; with ``pooled`` and ``masked``.
        """
        job = _plan(self).fresh(scratch)
        self._open(job.gradient, g, winner, positive)
        job.image.data, job.out, job.bias = x, out, bias or None
        job.add, job.add_bias = beta != 0, bias_beta != 0
        return _call(compiled(self.dtype).hp_convolve_weight, job)

    def _make(self) -> Plan:
        problem = Problem(
            self.images[0], self.images[1:], self.out[1:], machine(self.dtype, self.workers),
            plain=not (self.pooled or self.masked),
        )  # fmt: skip
        if self._winograd():
            return winograd.weight(problem, self.padding)
        return direct.weight(problem, self.weight[:2], self.stride, self.padding)
