"""Products with an epilogue, as instructions.

Their outputs are what the library writes: the result, then the matrix beside it (``aux``) or the
gradient of a bias. Their arguments are the two factors, then what it reads: a bias, ``aux``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.cublaslt.enums import EPILOGUES, Epilogue, mask_shape
from hpcad.backend.cublaslt.layout import NAMES
from hpcad.primitives.elementwise import gelu, gelu_slope
from hpcad.primitives.product import matmul
from hpcad.program.instruction import Instruction, Value

USED = ("relu", "relu_bias", "relu_aux", "relu_aux_bias", "drelu", "drelu_bgrad", "gelu",
        "gelu_bias", "gelu_aux", "gelu_aux_bias", "dgelu", "dgelu_bgrad", "bgrad_b")  # fmt: skip


def end_of(epilogue: str) -> Epilogue:
    """What is known of an epilogue by our name for it."""
    return EPILOGUES[NAMES.get(epilogue, epilogue)]


def computed(epilogue: str, a: Any, b: Any, *more: Any, dtype: Any = None) -> tuple[Any, ...]:
    """The outputs by operations of their own: what a fused product is to be equal to.

    Raises
    ------
    ValueError
        A mask, whose bits only the library can write and read.
    """
    end, rest = end_of(epilogue), list(more)
    if end.mask:
        raise ValueError(f"the mask of {epilogue} is the library's own")
    x = matmul(a, b) if dtype in (None, a.dtype) else matmul(a.astype(dtype), b.astype(dtype))
    if end.bias == "read":
        x = x + rest.pop(0)
    if epilogue.startswith("relu"):
        return (np.maximum(x, 0),)
    if epilogue.startswith("gelu"):
        return (gelu.evaluate([x], {}), *([x] if end.aux else []))
    if epilogue.startswith("dgelu"):
        x = x * gelu_slope.evaluate([rest.pop(0)], {})
        return (x, *([x.sum(0, dtype=x.dtype)] if end.bias else []))
    return x, b.sum(0, dtype=x.dtype)


def _operation(epilogue: str) -> Primitive:
    def value(*args: Any, **params: Any) -> Any:
        return computed(epilogue, *args, **params)

    return Primitive(f"matmul_{epilogue}", value, None, outputs=True, constant=True, register=False)


FUSED = {epilogue: _operation(epilogue) for epilogue in USED}
EPILOGUE_OF = {op.name: epilogue for epilogue, op in FUSED.items()}


def fused(
    epilogue: str, product: Instruction, more: list[Value], outs: list[Value], line: str
) -> Instruction:
    """A product with an epilogue in the place of a plain one; it makes ``outs``."""
    made = Instruction(FUSED[epilogue], [*product.args, *more], product.params, outs, line)
    for out in outs:
        out.source = made
    return made


def mask_of(value: Value) -> Value:
    """The mask beside a matrix."""
    return Value(mask_shape(*value.shape), np.uint8, "result", None)


def fresh(like: Value, shape: tuple[int, ...] | None = None) -> Value:
    """Another value of this dtype."""
    return Value(like.shape if shape is None else shape, like.dtype, "result", None)
