"""Which routine, or which steps, an instruction of a program becomes on a device.

Arrays are phantoms (:mod:`hpcad.program.phantom`): their addresses, shapes and strides are those
of the device. The primitives are the keys of :data:`hpcad.program.routines.ROUTINES`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.backend.cudnn import asked_for
from hpcad.errors import DeviceError
from hpcad.program.cuda.routines import recipes, streamed
from hpcad.program.cuda.routines.add_rows import add_rows
from hpcad.program.cuda.routines.convolution import Convolution, Recipe
from hpcad.program.cuda.routines.convolution_by_cudnn import ConvolutionByCudnn
from hpcad.program.cuda.routines.copies import copy
from hpcad.program.cuda.routines.found import Arrays, Found, narrowed, plain, pointers
from hpcad.program.cuda.routines.pooling import max_pool, pick, unpool
from hpcad.program.cuda.routines.take_rows import take_rows
from hpcad.program.cuda.routines.uniform_rows import uniform_rows
from hpcad.program.instruction import Instruction, Value
from hpcad.program.phantom import address_of


def device_routine(
    instruction: Instruction, arrays: Arrays, beta: float, fault: int = 0
) -> Found | None:
    """The routine for an instruction, and the addresses of its operands.

    Parameters
    ----------
    instruction : Instruction
    arrays : callable
        The phantom of a value.
    beta : float
        1 to add to what stands in the place of the answer (``add_rows``), else 0.
    fault : int
        Address of an int64 that is 0, in which indices that mean no row are reported; 0: nowhere.

    Returns
    -------
    tuple or None
        None if there is no routine for its shapes, types and layouts.
    """
    find = ROUTINES.get(instruction.name)
    if find is None:
        return None
    try:
        found = find(instruction, arrays, beta, fault)
    except DeviceError:
        return None
    return None if found is None else (narrowed(*found), found[1])


def device_recipe(
    instruction: Instruction, arrays: Arrays, beta: float, xp: Any = None
) -> Recipe | None:
    """The steps for a convolution, as :func:`device_routine` for other instructions.

    Parameters
    ----------
    xp : module, optional
        CuPy, or the strict device: cuDNN convolves, where it is asked for and has a plan.
    """
    find = RECIPES.get(instruction.name)
    if find is None:
        return None
    made = None
    if xp is not None and asked_for():
        made = find(instruction, arrays, beta, functools.partial(ConvolutionByCudnn, xp))
    return find(instruction, arrays, beta, Convolution) if made is None else made


# -- rows -----------------------------------------------------------------------------------------


def _take_rows(instruction: Instruction, arrays: Arrays, _beta: float, fault: int) -> Found | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    table, index, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not plain(table, index, out):
        return None
    rows, width = table.shape[0], table.size // table.shape[0]
    types = str(table.dtype), str(index.dtype)
    routine = take_rows(*types, rows, index.size, width, bool(fault))
    return routine, [*pointers(table, index, out), *[fault] * bool(fault)]


def _add_rows(instruction: Instruction, arrays: Arrays, beta: float, fault: int) -> Found | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    g, index, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not plain(g, index, out) or g.dtype != out.dtype:
        return None
    rows, width = out.shape[0], out.size // out.shape[0]
    routine = add_rows(
        str(out.dtype), str(index.dtype), rows, index.size, width,
        accumulate=bool(beta), faults=bool(fault),
    )  # fmt: skip
    return routine, [*pointers(g, index, out), *[fault] * bool(fault)]


def _uniform_rows(instruction: Instruction, arrays: Arrays, _b: float, _f: int) -> Found | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    ids, step, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not plain(ids, step, out) or (ids.dtype, step.dtype) != (np.int64, np.int64):
        return None
    key = instruction.params["key"]
    routine = uniform_rows(str(out.dtype), *out.shape, (int(key[0]), int(key[1])))
    return routine, pointers(ids, step, out)


# -- pooling --------------------------------------------------------------------------------------


def _max_pool(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    image = arrays(instruction.args[0])
    best, winner = (arrays(out) for out in instruction.outs)
    if not plain(image, best, winner):
        return None
    routine = max_pool(str(image.dtype), image.shape, instruction.params["size"])
    return routine, pointers(image, best, winner)


def _winner(instruction: Instruction, arrays: Arrays) -> np.ndarray | None:
    winner = instruction.params["winner"]
    return arrays(winner) if isinstance(winner, Value) else None


def _unpool(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    g, out, winner = (
        arrays(instruction.args[0]),
        arrays(instruction.out),
        _winner(instruction, arrays),
    )
    if winner is None or not plain(g, out, winner):
        return None
    routine = unpool(str(out.dtype), out.shape, instruction.params["size"])
    return routine, pointers(g, winner, out)


def _pick(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    x, out, winner = (
        arrays(instruction.args[0]),
        arrays(instruction.out),
        _winner(instruction, arrays),
    )
    if winner is None or not plain(x, out, winner):
        return None
    routine = pick(str(x.dtype), x.shape, instruction.params["size"])
    return routine, pointers(x, winner, out)


# -- layouts --------------------------------------------------------------------------------------


def _contiguous(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    return copied(arrays(instruction.args[0]), arrays(instruction.out))


def copied(source: np.ndarray, target: np.ndarray) -> Found | None:
    """The routine that copies one phantom to another of its shape; None if there is none.

    For a concatenation, the targets are windows of its result.
    """
    layouts = []
    for array in (source, target):
        if any(stride % array.itemsize for stride in array.strides):
            return None
        layouts += [str(array.dtype), tuple(s // array.itemsize for s in array.strides)]
    try:
        routine = copy(source.shape, *layouts)
    except DeviceError:
        return None
    lowest = [
        address_of(array) - operand.start * array.itemsize
        for array, operand in zip((source, target), routine.operands, strict=True)
    ]
    return routine, lowest


ROUTINES: dict[str, Callable[[Instruction, Arrays, float, int], Found | None]] = {
    "add_rows": _add_rows,
    "contiguous": _contiguous,
    "max_pool_parts": _max_pool,
    "pick": _pick,
    "streamed_loss": streamed.loss,
    "streamed_loss_back": streamed.loss_back,
    "take_rows": _take_rows,
    "tiled_attention": streamed.attention,
    "tiled_attention_back": streamed.attention_back,
    "uniform_rows": _uniform_rows,
    "unpool": _unpool,
}
RECIPES: dict[str, Callable[[Instruction, Arrays, float, recipes.Make], Recipe | None]] = {
    "conv": recipes.conv,
    "conv_input": recipes.conv_input,
    "conv_input_pooled": recipes.conv_input,
    "conv_pool": recipes.conv,
    "conv_relu": recipes.conv,
    "conv_weight": recipes.conv_weight,
    "conv_weight_pooled": recipes.conv_weight,
}
