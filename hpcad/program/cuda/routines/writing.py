"""Text around hand-written routines: guarded bodies, and functions with their sizes filled in.

The bodies are templates and functions of the device. For each shape, the ``__global__`` function is
one call with constants, into which the compiler folds all sizes.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcad.backend.half import named
from hpcad.errors import DeviceError
from hpcad.program.cuda.parts import Launch
from hpcad.program.cuda.routines.routine import Flat

STORED = {
    "bool": "uint8_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float32": "float",
    "float64": "double",
    "bfloat16": "hp_bfloat16",
    "float16": "hp_float16",
}
# What is computed with: short types are stored, and computed with as float32.
COMPUTED = {
    "float32": "float32",
    "float64": "float64",
    "bfloat16": "float32",
    "float16": "float32",
}
BITS = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
MOST_BLOCKS = 4096  # thirty per multiprocessor of a large device


def itemsize(dtype: str) -> int:
    """Bytes of an element."""
    return named(dtype).itemsize


def identifier(kind: str, *facts: Any) -> str:
    """A name for a routine of this kind with these sizes, types and options."""
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
    return f"{kind}_{digest}"


@functools.cache
def body(file: str) -> str:
    """The text of a ``.cu`` file, which takes effect once however often it is written."""
    text = (Path(__file__).parent / file).read_text()
    return once(file, text)


def once(name: str, text: str) -> str:
    """Text that takes effect once in a source, however often it is written."""
    guard = f"HPCAD_{name.replace('.', '_').upper()}"
    return f"#ifndef {guard}\n#define {guard}\n{text}#endif\n"


def bodies(*files: str) -> str:
    """Several of them, after what all of them stand on."""
    return "".join(body(file) for file in ("common.cu", *files))


def function(
    launch: Launch, operands: Sequence[Flat], scalars: Sequence[str], scratch: bool, call: str
) -> str:
    """A ``__global__`` function whose body is one statement.

    Parameters
    ----------
    launch : Launch
        Gives its name and the number of threads.
    operands, scalars : sequences
        Its arguments: pointers ``p0``, ``p1``... and numbers ``s0``, ``s1``...
    scratch : bool
        Whether a pointer ``scratch`` follows.
    call : str
    """
    arguments = [
        f"{'const ' if operand.role == 'read' else ''}{STORED[operand.dtype]} *__restrict__ p{i}"
        for i, operand in enumerate(operands)
    ]
    arguments += [f"const {STORED[dtype]} s{i}" for i, dtype in enumerate(scalars)]
    if scratch:
        arguments.append("unsigned char *__restrict__ scratch")
    bound = f"__launch_bounds__({launch.block})"
    return (
        f'extern "C" __global__ void {bound} {launch.entry}({", ".join(arguments)})\n'
        f"{{\n    {call}\n}}\n"
    )


def index_type(*counts: int) -> str:
    """The integer of the device that counts elements; a grid strides past the end by its size."""
    return "int" if max(counts, default=0) < 2**31 - 2**24 else "int64_t"


def blocks_for(work: int, block: int) -> int:
    """Blocks of a grid-stride loop over so many pieces of work."""
    return min(max(-(-work // block), 1), MOST_BLOCKS)


def width_of(dtype: str, *lengths: int) -> int:
    """Elements of 16 bytes if all lengths are multiples of it, else fewer."""
    width = 16 // itemsize(dtype)
    while width > 1 and any(length % width for length in lengths):
        width //= 2
    return width


def vector_of(nbytes: int) -> str:
    """A type of 1, 2, 4, 8 or 16 bytes, to move elements as bits."""
    return "hp_vector<uint64_t, 2>" if nbytes == 16 else BITS[nbytes]


def rounded(nbytes: int) -> int:
    """Bytes of scratch memory, in pieces of 256."""
    return -(-nbytes // 256) * 256


def require(condition: bool, message: str) -> None:
    """Refuse what a routine cannot do.

    Raises
    ------
    DeviceError
    """
    if not condition:
        raise DeviceError(message)


def truth(flag: bool) -> str:
    """A bool in CUDA C++."""
    return "true" if flag else "false"
