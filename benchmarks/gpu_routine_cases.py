"""Hand-written CUDA routines in the sizes of GPT-2 and of a CNN, and in tiny ones."""

from __future__ import annotations

from gpu_kernel_cases import adamw
from gpu_kernel_sizes import HALF, TINY, Case, Sizes

from hpcad.backend.half import named
from hpcad.program.cuda.routines.adamw import AdamW
from hpcad.program.cuda.routines.add_rows import add_rows
from hpcad.program.cuda.routines.attention import Attention
from hpcad.program.cuda.routines.copies import copy
from hpcad.program.cuda.routines.cross_entropy import cross_entropy
from hpcad.program.cuda.routines.norms import sum_of_squares
from hpcad.program.cuda.routines.patches import Geometry, add_patches, take_patches
from hpcad.program.cuda.routines.pooling import max_pool, unpool
from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.cuda.routines.take_rows import take_rows
from hpcad.program.cuda.routines.uniform_rows import uniform_rows

HEAD = 64  # width of a head of attention


def routine_cases(s: Sizes) -> list[Case]:
    """Return all routines, each in float32 and, where it knows the type, in bfloat16."""
    return [
        *(case for dtype in ("float32", HALF) for case in _of_tokens(dtype, s)),
        _case("random numbers of rows", uniform_rows("float32", s.rows, s.width, (1, 2))),
        *_of_parameters(s),
        *_of_images("float32", s is TINY),
    ]


def _of_tokens(dtype: str, s: Sizes) -> list[Case]:
    index, table = "int64", s.vocabulary * s.width
    rows, size = s.rows * s.width, named(dtype).itemsize
    looked_up = take_rows(dtype, index, s.vocabulary, s.rows, s.width)
    gradient = add_rows(dtype, index, s.vocabulary, s.rows, s.width)
    # Of the table only the rows that are asked for have to be read.
    read = 8 * s.rows + size * (min(rows, table) + rows)
    found = [
        Case("embedding", dtype, looked_up, read, {1: s.vocabulary}),
        Case("gradient of embedding", dtype, gradient, traffic(gradient), {1: s.vocabulary}),
        _copy("heads to the front", _heads(dtype, s)),
    ]
    rows = max(4, s.rows // 8)
    losses = cross_entropy(dtype, index, rows, s.vocabulary, scales=1)
    limits = {1: s.vocabulary}
    found.append(Case("cross-entropy by hand", dtype, losses, traffic(losses), limits))
    found += _attention(dtype, s)
    if dtype != "float32":
        shape = ((s.rows * s.width,), "float32", (1,))
        found.append(_copy("float32 to bfloat16", copy(*shape, dtype, (1,))))
    return found


def _attention(dtype: str, s: Sizes) -> list[Case]:
    """Forward and back, causal, of queries, keys and values packed as GPT-2 has them."""
    sizes = (2, 32, 2, 16) if s is TINY else (16, s.length, s.width // HEAD, HEAD)
    attention = Attention.packed(dtype, *sizes, causal=True)
    forward, back = attention.forward(), attention.backward()
    batch, length, heads, head = sizes
    nbytes = batch * length * heads * head * named(dtype).itemsize
    return [
        Case("attention", dtype, forward, 4 * nbytes, flops=forward.flops),
        Case("gradient of attention", dtype, back, 8 * nbytes, flops=back.flops),
    ]


def _of_parameters(s: Sizes) -> list[Case]:
    """The update and the norm of the gradient, over a flat arena."""
    numbers = {4: adamw(s)[1]}
    update, norm = AdamW(s.parameters).routine(), sum_of_squares("float32", s.parameters)
    copied = AdamW(s.parameters, copy=HALF).routine()
    name = "AdamW, copy in bfloat16"
    return [
        Case("AdamW by hand", "float32", update, traffic(update), given=numbers),
        Case(name, "float32", copied, traffic(copied), given=numbers),
        Case("sum of squares by hand", "float32", norm, traffic(norm)),
    ]


def _heads(dtype: str, s: Sizes) -> DeviceRoutine:
    """The copy from (rows of text, places, heads, width) to (rows, heads, places, width)."""
    heads, length = s.width // HEAD or 1, min(s.length, s.rows)
    head = s.width // heads
    shape = (s.rows // length or 1, heads, length, head)
    there = (length * s.width, head, s.width, 1)
    here = (length * s.width, length * head, head, 1)
    return copy(shape, dtype, there, dtype, here)


def _of_images(dtype: str, tiny: bool) -> list[Case]:
    shape = (2, 8, 8, 4) if tiny else (256, 56, 56, 64)
    small = (2, 8, 8, 4) if tiny else (256, 28, 28, 64)
    geometry = Geometry(small, (3, 3), (1, 1), (1, 1))
    return [
        _case("max pooling", max_pool(dtype, shape, 2)),
        _case("gradient of max pooling", unpool(dtype, shape, 2), {1: 4}),
        _case("patches of images", take_patches(dtype, geometry)),
        _case("adjoint of patches", add_patches(dtype, geometry)),
    ]


def _case(name: str, routine: DeviceRoutine, limits: dict[int, int] | None = None) -> Case:
    floats = [o.dtype for o in routine.operands if o.role != "read"]
    return Case(name, floats[0], routine, traffic(routine), limits or {})


def _copy(name: str, routine: DeviceRoutine) -> Case:
    """A copy into memory without gaps, which therefore need not be read."""
    nbytes = sum(o.count * named(o.dtype).itemsize for o in routine.operands)
    return Case(name, routine.operands[1].dtype, routine, nbytes)


def traffic(routine: DeviceRoutine) -> int:
    """Return the bytes that a routine reads and writes, each element once for either."""
    times = {"read": 1, "write": 1, "update": 2}
    return sum(o.count * named(o.dtype).itemsize * times[o.role] for o in routine.operands)
