"""A product of gpu_gemm.py on a device: by hpcad, by PyTorch, and what NumPy makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gpu_gemm_cases import Case

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.half import named

Work = Callable[[], object]
MOST = 1 << 22  # different random numbers
TOLERANCE = 0.03  # of the largest element, in half precision


class UnboundError(RuntimeError):
    """cuBLASLt cannot be given a product as it lies."""


class OnDevice:
    """A case with its memory, filled with random numbers.

    Attributes
    ----------
    case : Case
    product : BoundProduct
    """

    def __init__(self, case: Case, xp: Any, dtype: str) -> None:
        self.case, self.xp = case, xp
        self.kind = named(dtype)
        *operands, last = case.shapes
        self.bases = {name: self._random(case.shapes[name], self.kind) for name in operands}
        result = named(case.result) if case.result else self.kind
        self.bases[last] = self._random(case.shapes[last], result)
        self.beside = {name: self._random(s, result) for name, s in case.beside().items()}
        a, b, c = case.views(self.bases)
        self.result, self.out = last, c
        self.product: Any = bind_product(
            xp, a, b, c, beta=case.beta, epilogue=case.epilogue, **self.beside
        )
        if self.product is None:
            raise UnboundError(f"{case.name}: cuBLASLt has no way for it")

    def _random(self, shape: tuple[int, ...], kind: np.dtype) -> Any:
        """Normal numbers; long arrays repeat them."""
        count = math.prod(shape)
        numbers = np.random.default_rng(len(shape)).standard_normal(min(count, MOST), np.float32)
        part = self.xp.asarray(numbers.astype(kind))
        made = self.xp.empty(count, kind)
        for start in range(0, count, MOST):
            stop = min(count, start + MOST)
            made[start:stop] = part[: stop - start]
        return made.reshape(shape)

    # -- what NumPy makes of it -----------------------------------------------------------------

    def difference(self) -> float:
        """Compute once; the largest error over the largest number, of the result and beside it."""
        before = {name: self._wide(x) for name, x in (self.bases | self.beside).items()}
        self.product()
        wanted, beside = expected(self.case, before)
        found = [self._wide(self.out), *(self._wide(x) for x in self.beside.values())]
        pairs = zip(found, [wanted, *beside.values()], strict=True)
        errors = [float(np.abs(x - y).max() / max(1.0, np.abs(y).max())) for x, y in pairs]
        return max(errors)

    def _wide(self, x: Any) -> np.ndarray:
        return np.asarray(self.xp.asnumpy(x)).astype(np.float64)

    # -- PyTorch --------------------------------------------------------------------------------

    def torch_work(self, torch: Any) -> Work:
        """The same on the same memory, by PyTorch's operations."""
        bases = {name: _tensor(torch, x) for name, x in self.bases.items()}
        a, b, c = self.case.views(bases)
        beside = {name: _tensor(torch, x) for name, x in self.beside.items()}
        bias, aux = beside.get("bias"), beside.get("aux")
        gelu, slope = torch.nn.functional.gelu, torch.ops.aten.gelu_backward

        def added() -> None:
            c.add_(torch.matmul(a, b))

        def activated() -> None:
            gelu(torch.addmm(bias, a, b, out=aux), approximate="tanh")

        def summed() -> None:
            torch.matmul(a, b, out=c)
            torch.sum(b, 0, out=bias)

        works: dict[str, Work] = {
            "bias": lambda: torch.addmm(bias, a, b, out=c),
            "gelu_aux_bias": activated,
            "dgelu": lambda: slope(torch.matmul(a, b), aux, approximate="tanh"),
            "bgrad_b": summed,
            "": added if self.case.beta else lambda: torch.matmul(a, b, out=c),
        }
        return works[self.case.epilogue]


def _tensor(torch: Any, x: Any) -> Any:
    """PyTorch's tensor on an array of CuPy; bfloat16 travels as 16-bit integers."""
    if x.dtype.itemsize != 2:
        return torch.from_dlpack(x)
    kind = torch.float16 if x.dtype == np.float16 else torch.bfloat16
    return torch.from_dlpack(x.view(np.int16)).view(kind)


def torch_with_cuda() -> Any:
    """PyTorch, where it is installed and sees the card; else None."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def expected(case: Case, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
    """The result, and what lies beside it afterwards, in float64."""
    a, b, c = case.views(arrays)
    x = a @ b + case.beta * c
    beside = {name: arrays[name] for name in case.beside()}
    if case.epilogue == "bgrad_b":
        return x, {"bias": b.sum(0)}
    if case.epilogue == "dgelu":
        return x * _gelu_slope(beside["aux"]), beside
    if "bias" in case.epilogue:
        x = x + beside["bias"]
    if case.epilogue == "gelu_aux_bias":
        return 0.5 * x * (1 + np.tanh(_inner(x))), beside | {"aux": x}
    return x, beside


def _inner(x: np.ndarray) -> np.ndarray:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    t = np.tanh(_inner(x))
    inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner
