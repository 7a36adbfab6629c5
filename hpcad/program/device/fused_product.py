"""Products with epilogues at fixed addresses: by cuBLASLt, or in parts where it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hpcad.backend.cublaslt.product import BoundProduct, bind_product
from hpcad.errors import DeviceError
from hpcad.program.improve.epilogue_choice import VARIABLE
from hpcad.program.improve.fused_products import computed, end_of

if TYPE_CHECKING:
    from hpcad.program.device.target import DeviceTarget


def bind_fused(
    target: DeviceTarget, epilogue: str, args: list[Any], outs: list[Any], beta: float
) -> tuple[Callable[[], None], list[Any]]:
    """Prepare a product with an epilogue.

    Parameters
    ----------
    args, outs : list of device array
        As :mod:`hpcad.program.improve.fused_products` orders them.

    Returns
    -------
    callable
    list of BoundProduct
        Empty where it is computed in parts, which is right and slow.

    Raises
    ------
    DeviceError
        The library has no algorithm, and a mask of bits makes no sense to anybody else.
    """
    a, b, *more = args
    c, *beside = outs
    end = end_of(epilogue)
    bias = more.pop(0) if end.bias == "read" else None
    aux = more.pop(0) if end.aux == "read" else None
    if end.aux == "write":
        aux = beside.pop(0)
    if end.bias == "write":
        bias = beside.pop(0)
    bound = bind_product(target.xp, a, b, c, beta=beta, epilogue=epilogue, bias=bias, aux=aux)
    if isinstance(bound, BoundProduct):
        return bound, [bound]
    if end.mask:
        raise DeviceError(
            f"cuBLASLt has no algorithm for a product of {a.shape} and {b.shape} ({a.dtype}) with "
            f"epilogue {epilogue}; leave {VARIABLE} unset, so that it is not taken"
        )
    return _in_parts(epilogue, args, outs, beta), []


def _in_parts(epilogue: str, args: list[Any], outs: list[Any], beta: float) -> Callable[[], None]:
    def call() -> None:
        made = computed(epilogue, *args, dtype=outs[0].dtype)
        for i, (out, array) in enumerate(zip(outs, made, strict=True)):
            if beta and i == 0:
                out += array
            else:
                out[...] = array

    return call
