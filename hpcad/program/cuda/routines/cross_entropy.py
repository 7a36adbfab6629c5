"""Cross-entropy with integer labels, which never writes probabilities down.

loss = log sum exp(x) - x[label],    dx = (exp(x - log sum exp(x)) - one_hot(label)) scale
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hpcad.program.cuda.parts import Launch, Variant
from hpcad.program.cuda.routines.routine import DeviceRoutine, Flat
from hpcad.program.cuda.routines.take_rows import INDICES, report
from hpcad.program.cuda.routines.writing import (
    COMPUTED,
    STORED,
    bodies,
    function,
    identifier,
    itemsize,
    require,
    truth,
    width_of,
)

FEW = 1024  # classes that a warp looks at; more are for a block
BLOCK = 512


def cross_entropy(
    dtype: str,
    index_dtype: str,
    rows: int,
    classes: int,
    *,
    step: int | None = None,
    scales: int = 0,
    faults: bool = False,
) -> DeviceRoutine:
    """The losses of rows of logits and, with ``scales``, their gradient in place of the logits.

    Operands: logits (rows, step), labels (rows,), loss (rows,); then log_sums (rows,) without
    ``scales``, the scales with them; and, with ``faults``, one int64 that must be 0 beforehand.
    Losses, logarithms and scales are float64 for float64, else float32.

    Parameters
    ----------
    dtype : str
        Floating type of the logits.
    index_dtype : str
        ``"int32"`` or ``"int64"``.
    rows, classes : int
    step : int, optional
        Elements from one row to the next, where rows are padded; the gradient of padding is 0.
    scales : int
        0: only losses. 1: one number scales all gradients, in the memory of the device. ``rows``:
        one for each row.
    faults : bool
        Whether to report labels that are no class: ``rows - fault`` is the first such row. Their
        losses and gradients are NaN in any case.

    Raises
    ------
    DeviceError
        There is no routine for these types or sizes.
    """
    plan = _Plan(dtype, index_dtype, rows, classes, step or classes, scales, faults, False, True)
    return _routine(plan)


def cross_entropy_gradient(
    dtype: str,
    index_dtype: str,
    rows: int,
    classes: int,
    *,
    step: int | None = None,
    scales: int = 1,
    in_place: bool = True,
) -> DeviceRoutine:
    """The gradient of the logits, from the logarithms of sums that the losses left.

    Operands: logits (rows, step), labels (rows,), log_sums (rows,), scales; and, unless it is
    written in place of the logits, the gradient (rows, step).

    Parameters
    ----------
    dtype, index_dtype, rows, classes, step, scales :
        As of :func:`cross_entropy`.
    in_place : bool

    Raises
    ------
    DeviceError
    """
    plan = _Plan(dtype, index_dtype, rows, classes, step or classes, scales, False, True, in_place)
    return _routine(plan)


class _Plan(NamedTuple):
    """Sizes and types, and what is asked for; ``known``: the logarithms of sums are."""

    dtype: str
    index_dtype: str
    rows: int
    classes: int
    step: int
    scales: int
    faults: bool
    known: bool
    in_place: bool


@functools.cache
def _routine(plan: _Plan) -> DeviceRoutine:
    dtype, index_dtype, rows, classes, step, scales, faults, known, in_place = plan
    _check(*plan[:6])
    real = COMPUTED[dtype]
    logits = Flat(dtype, rows * step, "update" if scales and in_place else "read")
    operands = [logits, Flat(index_dtype, rows, "read")]
    operands += [Flat(real, rows, "write")] * (not known)
    operands += [Flat(real, rows, "read" if known else "write")] * (known or not scales)
    operands += [Flat(real, scales, "read")] * bool(scales)
    operands += [Flat("int64", 1, "update")] * faults
    operands += [Flat(dtype, rows * step, "write")] * (not in_place)
    name = identifier("cross_entropy", *plan)
    variants = tuple(
        _variant(name, tuple(operands), plan, lanes)
        for lanes in dict.fromkeys((width_of(dtype, step), 1))
    )
    passes = 2 if scales else 1
    return DeviceRoutine(
        name, variants, 0, (), tuple(operands), _reference(plan), flops=4 * passes * rows * classes
    )


def _check(dtype: str, index_dtype: str, rows: int, classes: int, step: int, scales: int) -> None:
    require(dtype in COMPUTED, f"cross_entropy: logits of {dtype} have no routine")
    require(
        index_dtype in INDICES, f"cross_entropy: labels must be int32 or int64, not {index_dtype}"
    )
    require(1 <= classes <= step < 2**30, f"cross_entropy: {classes} classes in rows of {step}")
    require(scales in (0, 1, rows), f"cross_entropy: {scales} scales for {rows} rows; 1, or {rows}")


def _variant(name: str, operands: tuple[Flat, ...], plan: _Plan, lanes: int) -> Variant:
    dtype, index_dtype, rows, classes, step, scales, faults, known, in_place = plan
    team = 32 if classes <= FEW else BLOCK
    blocks = -(-rows // (BLOCK // team))
    launch = Launch(f"{name}_v{lanes}", (blocks, 1), BLOCK)
    real = STORED[COMPUTED[dtype]]
    pointer = f"({real} *)0"
    log_sums = f"({real} *)p2" if known else "p3" if not scales else pointer
    arguments = [
        "p0",
        f"({STORED[dtype]} *){'p0' if in_place else 'p4'}",
        "p1",
        pointer if known else "p2",
        log_sums,
        truth(known),
        "p3" if scales else pointer,
        truth(scales > 1),
        "(uint64_t *)p4" if faults else "(uint64_t *)0",
        *map(str, (rows, classes, step)),
    ]
    types = ", ".join((str(team), str(lanes), STORED[dtype], STORED[index_dtype], real))
    call = f"hp_cross_entropy<{types}>({', '.join(arguments)});"
    source = bodies("cross_entropy.cu") + function(launch, operands, (), False, call)
    alignment = tuple(
        itemsize(operand.dtype) * (lanes if operand.count == rows * step else 1)
        for operand in operands
    )
    return Variant(alignment, (launch,) if rows else (), source)


def _reference(plan: _Plan) -> Callable[[list[np.ndarray], list[Any]], None]:
    dtype, _, rows, classes, step, scales, faults, known, in_place = plan

    def reference(arrays: list[np.ndarray], _scalars: list[Any]) -> None:
        logits = arrays[0].reshape(rows, step)
        x = logits[:, :classes].astype(COMPUTED[dtype])
        wrong = (arrays[1] < 0) | (arrays[1] >= classes)
        hot = np.arange(classes) == arrays[1][:, None]
        if known:
            log_sums = arrays[2]
        else:
            top = x.max(axis=1, keepdims=True)
            log_sums = np.log(np.exp(x - top).sum(axis=1)) + top[:, 0]
            picked = np.where(hot, x, 0).sum(axis=1)
            arrays[2][...] = np.where(wrong, np.nan, log_sums - picked)
        if not scales:
            arrays[3][...] = log_sums
        else:
            scale = np.where(wrong, np.nan, arrays[3]).astype(x.dtype)
            out = logits if in_place else arrays[4].reshape(rows, step)
            errors = (np.exp(x - log_sums[:, None]) - hot) * scale[:, None]
            out[:, :classes] = errors.astype(out.dtype)
            out[:, classes:] = 0
        report(arrays[4:] if faults else [], wrong)

    return reference
