"""Recipes on a device: every step as something that enqueues it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpcad.backend.cublaslt.product import bind_product
from hpcad.backend.cudnn import bind_convolution
from hpcad.errors import CaptureError
from hpcad.program.cuda.routines.convolution import Clipped, Product, Routine
from hpcad.program.cuda.routines.convolution_by_cudnn import Convolved

if TYPE_CHECKING:
    from hpcad.program.device.target import DeviceTarget

Call = Callable[[], None]


def bound(target: DeviceTarget, parts: Sequence[Any], loaded: Mapping[str, Any]) -> list[Call]:
    """A call for each step.

    Parameters
    ----------
    target : DeviceTarget
    parts : sequence
        Routines, products, calls of cuDNN, and what clips.
    loaded : mapping
        Routines on the device, by name.
    """
    return [_bound(target, part, loaded) for part in parts]


def _bound(target: DeviceTarget, part: Any, loaded: Mapping[str, Any]) -> Call:
    if isinstance(part, Routine):
        call: Call = loaded[part.routine.name].bind(part.pointers)
        return call
    if isinstance(part, Convolved):
        return bind_convolution(part.plan, part.places)
    if isinstance(part, Clipped):
        array, maximum = target.real(part.x), target.xp.maximum

        def clip() -> None:
            maximum(array, 0, out=array)

        return clip
    return _product(target, part)


def _product(target: DeviceTarget, product: Product) -> Call:
    """A product of a recipe, whose bias is added to every row."""
    a, b, c = (target.real(x) for x in (product.a, product.b, product.c))
    bias = None if product.bias is None else target.real(product.bias)
    epilogue = None if bias is None else "bias"
    call = bind_product(target.xp, a, b, c, beta=product.beta, epilogue=epilogue, bias=bias)
    if call is None:
        raise CaptureError(f"cuBLASLt takes no product of {a.shape} and {b.shape}")
    return call


def in_turn(calls: Sequence[Call]) -> Call:
    """One call for all."""

    def call() -> None:
        for each in calls:
            each()

    return call
