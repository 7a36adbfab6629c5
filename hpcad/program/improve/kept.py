"""Weights that many products read transposed are turned once, where that was measured to pay."""

from __future__ import annotations

from hpcad.backend.gemm import Gemm, seconds
from hpcad.program.improve.patterns import CONTIGUOUS
from hpcad.program.instruction import Instruction, Program, Value

FEWEST = 4  # uses
COPY_BYTES_PER_SECOND = 4e9  # of a transposing copy, reading and writing


def keep_transposes(program: Program) -> Program:
    """Copy such weights into the order that BLAS likes; the program is changed in place."""
    users = program.consumers()
    for turned in list(program.instructions):
        if turned.name != "transpose" or not _is_weight(turned.args[0]):
            continue
        products = [u for u in users.get(turned.out, []) if _reads_right(u, turned.out)]
        if len(products) >= FEWEST and _pays(products):
            _keep(program, turned, products)
    return program


def _is_weight(value: Value) -> bool:
    return isinstance(value, Value) and value.origin == "parameter" and len(value.shape) == 2


def _reads_right(user: Instruction, value: Value) -> bool:
    return user.name == "matmul" and user.args[1] is value and len(user.args[0].shape) == 2


def _pays(products: list[Instruction]) -> bool:
    saved = 0.0
    for product in products:
        a, b = product.args
        if a.dtype.name not in ("float32", "float64"):
            return False
        m, k, n = a.shape[0], a.shape[1], b.shape[1]
        turned = Gemm(a.dtype.name, m, n, k, trans_b=True, lda=k, ldb=k, ldc=n)
        plain = Gemm(a.dtype.name, m, n, k, lda=k, ldb=n, ldc=n)
        before, after = seconds(turned), seconds(plain)
        if before is None or after is None:
            return False
        saved += before - after
    return saved > 2 * products[0].args[1].nbytes / COPY_BYTES_PER_SECOND


def _keep(program: Program, turned: Instruction, products: list[Instruction]) -> None:
    copy = Instruction(CONTIGUOUS, [turned.out], {}, [], turned.line)
    copy.outs.append(Value(turned.out.shape, turned.out.dtype, "result", copy))
    at = min(program.instructions.index(product) for product in products)
    program.instructions.insert(at, copy)
    for product in products:
        product.args = [product.args[0], copy.out]
