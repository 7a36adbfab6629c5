"""Which routine, or which steps, an instruction of a program becomes on a device.

Arrays are phantoms (:mod:`hpcad.program.phantom`): their addresses, shapes and strides are those
of the device. The primitives are the keys of :data:`hpcad.program.routines.ROUTINES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.errors import DeviceError
from hpcad.program.cuda.routines.add_rows import add_rows
from hpcad.program.cuda.routines.attention import Attention
from hpcad.program.cuda.routines.convolution import Convolution, Recipe
from hpcad.program.cuda.routines.copies import copy
from hpcad.program.cuda.routines.cross_entropy import cross_entropy, cross_entropy_gradient
from hpcad.program.cuda.routines.patches import Geometry
from hpcad.program.cuda.routines.pooling import max_pool, pick, unpool
from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.cuda.routines.take_rows import take_rows
from hpcad.program.cuda.routines.uniform_rows import uniform_rows
from hpcad.program.cuda.routines.writing import COMPUTED
from hpcad.program.instruction import Instruction, Value
from hpcad.program.phantom import address_of

Arrays = Callable[[Value], np.ndarray]
Found = tuple[DeviceRoutine, list[int]]


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
    return found


def device_recipe(instruction: Instruction, arrays: Arrays, beta: float) -> Recipe | None:
    """The steps for a convolution, as :func:`device_routine` for other instructions."""
    find = RECIPES.get(instruction.name)
    return None if find is None else find(instruction, arrays, beta)


def _plain(*arrays: np.ndarray) -> bool:
    return all(a.flags.c_contiguous and a.size for a in arrays)


def _pointers(*arrays: np.ndarray) -> list[int]:
    return [address_of(array) for array in arrays]


# -- rows -----------------------------------------------------------------------------------------


def _take_rows(instruction: Instruction, arrays: Arrays, _beta: float, fault: int) -> Found | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    table, index, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not _plain(table, index, out):
        return None
    rows, width = table.shape[0], table.size // table.shape[0]
    types = str(table.dtype), str(index.dtype)
    routine = take_rows(*types, rows, index.size, width, bool(fault))
    return routine, [*_pointers(table, index, out), *[fault] * bool(fault)]


def _add_rows(instruction: Instruction, arrays: Arrays, beta: float, fault: int) -> Found | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    g, index, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not _plain(g, index, out) or g.dtype != out.dtype:
        return None
    rows, width = out.shape[0], out.size // out.shape[0]
    routine = add_rows(
        str(out.dtype), str(index.dtype), rows, index.size, width,
        accumulate=bool(beta), faults=bool(fault),
    )  # fmt: skip
    return routine, [*_pointers(g, index, out), *[fault] * bool(fault)]


def _uniform_rows(instruction: Instruction, arrays: Arrays, _b: float, _f: int) -> Found | None:
    if not all(isinstance(a, Value) for a in instruction.args):
        return None
    ids, step, out = (arrays(v) for v in (*instruction.args, instruction.out))
    if not _plain(ids, step, out) or (ids.dtype, step.dtype) != (np.int64, np.int64):
        return None
    key = instruction.params["key"]
    routine = uniform_rows(str(out.dtype), *out.shape, (int(key[0]), int(key[1])))
    return routine, _pointers(ids, step, out)


# -- pooling --------------------------------------------------------------------------------------


def _max_pool(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    image = arrays(instruction.args[0])
    best, winner = (arrays(out) for out in instruction.outs)
    if not _plain(image, best, winner):
        return None
    routine = max_pool(str(image.dtype), image.shape, instruction.params["size"])
    return routine, _pointers(image, best, winner)


def _winner(instruction: Instruction, arrays: Arrays) -> np.ndarray | None:
    winner = instruction.params["winner"]
    return arrays(winner) if isinstance(winner, Value) else None


def _unpool(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    g, out, winner = (
        arrays(instruction.args[0]),
        arrays(instruction.out),
        _winner(instruction, arrays),
    )
    if winner is None or not _plain(g, out, winner):
        return None
    routine = unpool(str(out.dtype), out.shape, instruction.params["size"])
    return routine, _pointers(g, winner, out)


def _pick(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    x, out, winner = (
        arrays(instruction.args[0]),
        arrays(instruction.out),
        _winner(instruction, arrays),
    )
    if winner is None or not _plain(x, out, winner):
        return None
    routine = pick(str(x.dtype), x.shape, instruction.params["size"])
    return routine, _pointers(x, winner, out)


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


# -- convolutions ---------------------------------------------------------------------------------


def _geometry(instruction: Instruction, images: Any, weight: Any) -> Geometry:
    params = instruction.params
    return Geometry(tuple(images), tuple(weight[:2]), params["stride"], params["padding"])


def _convolvable(*arrays: np.ndarray) -> bool:
    dtypes = {str(a.dtype) for a in arrays if a.dtype != np.int8}
    return len(dtypes) == 1 and dtypes <= set(COMPUTED) and _plain(*arrays)


def _conv(instruction: Instruction, arrays: Arrays, _beta: float) -> Recipe | None:
    x, w = (arrays(v) for v in instruction.args[:2])
    given = instruction.args[2] if len(instruction.args) > 2 else None
    bias = arrays(given) if isinstance(given, Value) else None
    outs = [arrays(out) for out in instruction.outs]
    if not _convolvable(x, w, *outs, *([] if bias is None else [bias])):
        return None
    pool = instruction.name == "conv_pool"
    geometry = _geometry(instruction, x.shape, w.shape)
    convolution = Convolution(geometry, w.shape[3], str(x.dtype), pooled=pool)
    relu = instruction.params.get("relu", False)
    return convolution.forward(x, w, bias, outs[0], outs[1] if pool else None, relu)


def _conv_input(instruction: Instruction, arrays: Arrays, _beta: float) -> Recipe | None:
    pooled = instruction.name == "conv_input_pooled"
    values = [arrays(v) for v in instruction.args]
    g, w, out = values[0], values[-1], arrays(instruction.out)
    if not _convolvable(*values, out):
        return None
    geometry = _geometry(instruction, out.shape, w.shape)
    convolution = Convolution(geometry, w.shape[3], str(out.dtype), pooled)
    return convolution.input(g, values[1] if pooled else None, w, out)


def _conv_weight(instruction: Instruction, arrays: Arrays, beta: float) -> Recipe | None:
    pooled = instruction.name == "conv_weight_pooled"
    values = [arrays(v) for v in instruction.args]
    x, g, out = values[0], values[1], arrays(instruction.out)
    if not (_convolvable(*values) and _convolvable(out)):  # sums of short types may be float32
        return None
    geometry = _geometry(instruction, x.shape, out.shape)
    convolution = Convolution(geometry, out.shape[3], str(x.dtype), pooled)
    return convolution.weight(x, g, values[2] if pooled else None, out, beta)


# -- attention ------------------------------------------------------------------------------------


def _attention_of(instruction: Instruction, **arrays: np.ndarray) -> Attention | None:
    """Sizes and layouts of arrays (B, H, T, D); None where rows do not lie in one piece."""
    steps = {}
    for name, array in arrays.items():
        if array.strides[-1] != array.itemsize and array.shape[-1] > 1:
            return None
        if any(stride % array.itemsize or stride < 0 for stride in array.strides):
            return None
        batch, head, row = (stride // array.itemsize for stride in array.strides[:3])
        steps[name] = (batch, head, row)
    (batch, heads, queries, dim), keys = arrays["q"].shape, arrays["k"].shape[2]
    sizes = (batch, heads, queries, keys, dim)
    inner = (steps[name] for name in ("q", "k", "v", "out"))
    outer = (steps.get(name) for name in ("dq", "dk", "dv", "g"))
    causal = instruction.params["causal"]
    return Attention(str(arrays["q"].dtype), *sizes, causal, *inner, *outer)


def _attention(instruction: Instruction, arrays: Arrays, _b: float, _f: int) -> Found | None:
    q, k, v = (arrays(x) for x in instruction.args)
    out, log_sums = (arrays(x) for x in instruction.outs)
    spec = _attention_of(instruction, q=q, k=k, v=v, out=out)
    if spec is None or not _plain(log_sums):
        return None
    return spec.forward(), _pointers(q, k, v, out, log_sums)


def _attention_back(instruction: Instruction, arrays: Arrays, _b: float, _f: int) -> Found | None:
    q, k, v, out, g, log_sums = (arrays(x) for x in instruction.args)
    dq, dk, dv = (arrays(x) for x in instruction.outs)
    spec = _attention_of(instruction, q=q, k=k, v=v, out=out, g=g, dq=dq, dk=dk, dv=dv)
    if spec is None or not _plain(log_sums):
        return None
    return spec.backward(), _pointers(q, k, v, out, g, log_sums, dq, dk, dv)


# -- losses ---------------------------------------------------------------------------------------


def _loss(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    logits, labels = (arrays(x) for x in instruction.args)
    losses, log_sums = (arrays(x) for x in instruction.outs)
    if not _plain(logits, labels, losses, log_sums):
        return None
    types = str(logits.dtype), str(labels.dtype)
    routine = cross_entropy(*types, labels.size, logits.shape[-1])
    return routine, _pointers(logits, labels, losses, log_sums)


def _loss_back(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    logits, labels, log_sums, g = (arrays(x) for x in instruction.args)
    out = arrays(instruction.out)
    same = not any(g.strides)  # one number for all rows, as of a mean
    if not _plain(logits, labels, log_sums, out, *[] if same else [g]):
        return None
    if g.dtype != log_sums.dtype:
        return None
    types = str(logits.dtype), str(labels.dtype)
    routine = cross_entropy_gradient(
        *types, labels.size, logits.shape[-1], scales=1 if same else labels.size, in_place=False
    )
    return routine, _pointers(logits, labels, log_sums, g, out)


ROUTINES: dict[str, Callable[[Instruction, Arrays, float, int], Found | None]] = {
    "add_rows": _add_rows,
    "contiguous": _contiguous,
    "max_pool_parts": _max_pool,
    "pick": _pick,
    "streamed_loss": _loss,
    "streamed_loss_back": _loss_back,
    "take_rows": _take_rows,
    "tiled_attention": _attention,
    "tiled_attention_back": _attention_back,
    "uniform_rows": _uniform_rows,
    "unpool": _unpool,
}
RECIPES: dict[str, Callable[[Instruction, Arrays, float], Recipe | None]] = {
    "conv": _conv,
    "conv_input": _conv_input,
    "conv_input_pooled": _conv_input,
    "conv_pool": _conv,
    "conv_weight": _conv_weight,
    "conv_weight_pooled": _conv_weight,
}
