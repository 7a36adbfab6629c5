"""The steps of convolutions among the instructions of a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.program.cuda.routines.convolution import Convolution, Recipe
from hpcad.program.cuda.routines.found import Arrays, plain
from hpcad.program.cuda.routines.patches import Geometry
from hpcad.program.cuda.routines.writing import COMPUTED
from hpcad.program.instruction import Instruction, Value

#: ``make(geometry, filters, dtype, pooled)``: who knows the steps of a convolution.
Make = Callable[..., Any]


def _geometry(instruction: Instruction, images: Any, weight: Any) -> Geometry:
    params = instruction.params
    return Geometry(tuple(images), tuple(weight[:2]), params["stride"], params["padding"])


def _convolvable(*arrays: np.ndarray) -> bool:
    dtypes = {str(a.dtype) for a in arrays if a.dtype != np.int8}
    return len(dtypes) == 1 and dtypes <= set(COMPUTED) and plain(*arrays)


def conv(
    instruction: Instruction, arrays: Arrays, _beta: float, make: Make = Convolution
) -> Recipe | None:
    x, w = (arrays(v) for v in instruction.args[:2])
    given = instruction.args[2] if len(instruction.args) > 2 else None
    bias = arrays(given) if isinstance(given, Value) else None
    outs = [arrays(out) for out in instruction.outs]
    if not _convolvable(x, w, *outs, *([] if bias is None else [bias])):
        return None
    pool = instruction.name == "conv_pool"
    geometry = _geometry(instruction, x.shape, w.shape)
    convolution = make(geometry, w.shape[3], str(x.dtype), pool)
    relu = instruction.name == "conv_relu" or instruction.params.get("relu", False)
    made: Recipe | None = convolution.forward(x, w, bias, outs[0], outs[1] if pool else None, relu)
    return made


def conv_input(
    instruction: Instruction, arrays: Arrays, _beta: float, make: Make = Convolution
) -> Recipe | None:
    pooled = instruction.name == "conv_input_pooled"
    values = [arrays(v) for v in instruction.args]
    g, w, out = values[0], values[-1], arrays(instruction.out)
    if not _convolvable(*values, out):
        return None
    geometry = _geometry(instruction, out.shape, w.shape)
    convolution = make(geometry, w.shape[3], str(out.dtype), pooled)
    made: Recipe | None = convolution.input(g, values[1] if pooled else None, w, out)
    return made


def conv_weight(
    instruction: Instruction, arrays: Arrays, beta: float, make: Make = Convolution
) -> Recipe | None:
    pooled = instruction.name == "conv_weight_pooled"
    values = [arrays(v) for v in instruction.args]
    x, g, out = values[0], values[1], arrays(instruction.out)
    if not (_convolvable(*values) and _convolvable(out)):  # sums of short types may be float32
        return None
    geometry = _geometry(instruction, x.shape, out.shape)
    convolution = make(geometry, out.shape[3], str(x.dtype), pooled)
    made: Recipe | None = convolution.weight(x, g, values[2] if pooled else None, out, beta)
    return made
