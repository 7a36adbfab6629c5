"""From kernels to C.

Every kernel becomes a function ``void <name>(char *const *p)``. ``p`` has the address of each
operand, then that of the scratch memory, for how many workers that is (a number), and the address
of the scalars, which are doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcad.program.kernels.frame import Frame
from hpcad.program.kernels.ir import Kernel
from hpcad.program.kernels.nest import nests
from hpcad.program.kernels.sharing import SharingWriter
from hpcad.program.kernels.worker import WorkerWriter
from hpcad.program.kernels.writer import Writer

PRELUDE = """\
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include "threads.h"
#include "half.h"
#include "vectormath.h"
#include "scalars.h"
#include "lanes.h"

typedef struct {
    char *const *p; /* operands, scratch memory, workers, scalars */
    long group;
} hp_call;
"""


@dataclass(frozen=True)
class Generated:
    """C text, and what its caller has to bring.

    Attributes
    ----------
    name, text : str
    scratch : int
        Bytes per worker.
    work : int
        Of one call, in additions.
    """

    name: str
    text: str
    scratch: int
    work: int


def generate(kernel: Kernel, name: str) -> Generated:
    """The C function of a kernel.

    Raises
    ------
    ValueError
        There is nothing to compute, or see :func:`hpcad.program.kernels.nest.nests`.
    """
    writer = Writer()
    writer.add(f"/* {_summary(kernel)} */")
    parts = nests(kernel)
    scratch = work = 0
    names = [name if len(parts) == 1 else f"{name}_{number}" for number in range(len(parts))]
    for part, nest in zip(names, parts, strict=True):
        frame = Frame(kernel, nest, writer)
        WorkerWriter(frame).write(part)
        SharingWriter(frame).write(part)
        scratch = max(scratch, frame.scratch)
        work += frame.work_of_row() * frame.groups * frame.summed
    with writer.block(f"void {name}(char *const *p)"):
        for part in names:
            writer.add(f"{part}_all(p);")
    return Generated(name, writer.text(), scratch, work)


def source(kernels: Sequence[Kernel]) -> tuple[str, list[Generated]]:
    """One C file with the functions ``hp_kernel_0``, ``hp_kernel_1``, ... of these kernels."""
    generated = [generate(kernel, f"hp_kernel_{i}") for i, kernel in enumerate(kernels)]
    return "\n".join([PRELUDE, *(each.text for each in generated)]), generated


def _summary(kernel: Kernel) -> str:
    """For readers: the loop nest and what is computed."""
    ops = [node.op for node in kernel.nodes if node.op not in ("load", "literal", "scalar")]
    shown = ops if len(ops) <= 12 else [*ops[:6], "...", *ops[-5:]]
    return f"{' x '.join(map(str, kernel.extents))}: {', '.join(shown) or 'copies'}"
