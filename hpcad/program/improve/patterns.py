"""Patterns: neighbouring instructions for which there is one routine.

Convolution, 2 x 2 max pooling and ReLU become one operation, and so do un-pooling and the adjoint
convolutions that read it: the large images between them are never written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.convolution import conv, conv_input, conv_weight
from hpcad.primitives.pooling import max_pool_parts, unpool
from hpcad.program.instruction import Instruction, Program, Value


def _conv_pool(x: Any, w: Any, b: Any, *, relu: bool, **params: Any) -> tuple[Any, Any]:
    pooled, winner = max_pool_parts(conv(x, w, b, **params), size=2)
    return np.maximum(pooled, 0) if relu else pooled, winner


def _full(g: Any, winner: Any, shape: tuple[int, ...]) -> Any:
    return unpool(g, winner=winner, shape=shape, size=2)


# The values are what the routines are held against, and what runs without them.
CONV_POOL = Primitive("conv_pool", _conv_pool, None, outputs=True, constant=True, register=False)
CONV_INPUT_POOLED = Primitive(
    "conv_input_pooled",
    lambda g, winner, w, *, shape, **params: conv_input(_full(g, winner, shape), w, **params),
    None, constant=True, register=False,
)  # fmt: skip
CONV_WEIGHT_POOLED = Primitive(
    "conv_weight_pooled",
    lambda x, g, winner, *, shape, **params: conv_weight(x, _full(g, winner, shape), **params),
    None, constant=True, register=False,
)  # fmt: skip
CONTIGUOUS = Primitive("contiguous", np.ascontiguousarray, None, constant=True, register=False)


def combine(program: Program) -> Program:
    """Return the program with its patterns replaced (its instructions are changed in place)."""
    consumers = program.consumers()
    returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
    for instruction in list(program.instructions):
        if instruction.name == "max_pool_parts":
            _pool(instruction, program, consumers, returned)
        elif instruction.name == "unpool":
            _unpool(instruction, program, consumers, returned)
    return program


def _pool(pool: Instruction, program: Program, consumers: Any, returned: set) -> None:
    image = pool.args[0]
    made = image.source if image.origin == "result" else None
    if made is None or made.name != "conv" or pool.params["size"] != 2:
        return
    if consumers[image] != [pool] or image in returned:
        return
    best = pool.outs[0]
    users = consumers.get(best, [])
    relu = len(users) == 1 and users[0].name == "relu" and best not in returned
    args = [*made.args, None] if len(made.args) == 2 else made.args
    pool.op, pool.args = CONV_POOL, args
    pool.params = {**made.params, "relu": relu}
    program.instructions.remove(made)
    if relu:
        pool.outs = [users[0].out, pool.outs[1]]
        users[0].out.source = pool
        program.instructions.remove(users[0])


def _unpool(unpool: Instruction, program: Program, consumers: Any, returned: set) -> None:
    full, winner = unpool.out, unpool.params["winner"]
    users = consumers.get(full, [])
    if unpool.params["size"] != 2 or full in returned or not isinstance(winner, Value):
        return
    if not all(_reads_pooled(user, full) for user in users):
        return
    g, shape = unpool.args[0], unpool.params["shape"]
    for user in users:
        if user.name == "sum":
            user.args = [g]
            user.params = {**user.params, "before": g.shape}
            continue
        params = {**user.params, "shape": shape}
        if user.name == "conv_input":
            user.op, user.args = CONV_INPUT_POOLED, [g, winner, user.args[1]]
        else:
            user.op, user.args = CONV_WEIGHT_POOLED, [user.args[0], g, winner]
        user.params = params
    program.instructions.remove(unpool)


def _reads_pooled(user: Instruction, full: Value) -> bool:
    """Whether an instruction can read the pooled cotangents and the winners instead."""
    if user.name == "sum":  # every pooled cotangent stands once in the image
        return user.params["axis"] == (0, 1, 2) and not user.params["keepdims"]
    if user.name == "conv_input":
        return user.args[0] is full and user.args[1] is not full
    return user.name == "conv_weight" and user.args[1] is full and user.args[0] is not full
