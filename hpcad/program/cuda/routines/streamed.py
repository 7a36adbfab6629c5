"""Routines of attention and of losses for the instructions of a program."""

from __future__ import annotations

import numpy as np

from hpcad.program.cuda.routines.attention import Attention
from hpcad.program.cuda.routines.cross_entropy import cross_entropy, cross_entropy_gradient
from hpcad.program.cuda.routines.found import Arrays, Found, plain, pointers
from hpcad.program.instruction import Instruction


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


def attention(instruction: Instruction, arrays: Arrays, _b: float, _f: int) -> Found | None:
    q, k, v = (arrays(x) for x in instruction.args)
    out, log_sums = (arrays(x) for x in instruction.outs)
    spec = _attention_of(instruction, q=q, k=k, v=v, out=out)
    if spec is None or not plain(log_sums):
        return None
    return spec.forward(), pointers(q, k, v, out, log_sums)


def attention_back(instruction: Instruction, arrays: Arrays, _b: float, _f: int) -> Found | None:
    q, k, v, out, g, log_sums = (arrays(x) for x in instruction.args)
    dq, dk, dv = (arrays(x) for x in instruction.outs)
    spec = _attention_of(instruction, q=q, k=k, v=v, out=out, g=g, dq=dq, dk=dk, dv=dv)
    if spec is None or not plain(log_sums):
        return None
    return spec.backward(), pointers(q, k, v, out, g, log_sums, dq, dk, dv)


def loss(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    logits, labels = (arrays(x) for x in instruction.args)
    losses, log_sums = (arrays(x) for x in instruction.outs)
    if not plain(logits, labels, losses, log_sums):
        return None
    types = str(logits.dtype), str(labels.dtype)
    routine = cross_entropy(*types, labels.size, logits.shape[-1])
    return routine, pointers(logits, labels, losses, log_sums)


def loss_back(instruction: Instruction, arrays: Arrays, _beta: float, _f: int) -> Found | None:
    logits, labels, log_sums, g = (arrays(x) for x in instruction.args)
    out = arrays(instruction.out)
    same = not any(g.strides)  # one number for all rows, as of a mean
    if not plain(logits, labels, log_sums, out, *[] if same else [g]):
        return None
    if g.dtype != log_sums.dtype:
        return None
    types = str(logits.dtype), str(labels.dtype)
    routine = cross_entropy_gradient(
        *types, labels.size, logits.shape[-1], scales=1 if same else labels.size, in_place=False
    )
    return routine, pointers(logits, labels, log_sums, g, out)
