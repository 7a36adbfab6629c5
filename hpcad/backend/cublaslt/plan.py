"""A problem with everything cuBLASLt wants beside addresses: layouts and an algorithm."""

from __future__ import annotations

import ctypes
import logging
from dataclasses import dataclass

from hpcad.backend.cublaslt.binding import CublasLtError
from hpcad.backend.cublaslt.context import Context
from hpcad.backend.cublaslt.descriptors import (
    Descriptor,
    description,
    matrix_layout,
    preference,
)
from hpcad.backend.cublaslt.enums import (
    ALGORITHM_BYTES,
    HeuristicResult,
    Operation,
    Reduction,
    Status,
)
from hpcad.backend.cublaslt.problem import Problem

log = logging.getLogger(__name__)

# Sums in parts are added in the precision of the products and in one order; the other schemes
# round parts to the type of the result, or add them where they stand.
REDUCTIONS = Reduction.NONE | Reduction.COMPUTE_TYPE
CANDIDATES = 8


@dataclass(frozen=True)
class Algorithm:
    """``cublasLtMatmulAlgo_t``, which the same version of the library understands again.

    Attributes
    ----------
    data : bytes
    workspace : int
        Bytes that it needs.
    """

    data: bytes
    workspace: int


class Plan:
    """How a problem is computed on a device.

    Attributes
    ----------
    context : Context
    problem : Problem
    candidates : tuple of Algorithm
        What the library thinks is fast, the fastest first.
    algorithm : Algorithm
        The one that is used.
    """

    def __init__(self, context: Context, problem: Problem) -> None:
        self.context, self.problem = context, problem
        self._layouts = _layouts(context, problem)
        # Not read here, only its alignment: an address as aligned as the real ones are.
        self._probe = self._described(*((1 << 20) + bytes_ for bytes_ in problem.alignment[3:]))
        self.candidates = self._ask()
        if self.candidates:
            chosen = context.choices.get(problem.key)
            self.use((chosen and self.checked(chosen)) or self.candidates[0])

    def use(self, algorithm: Algorithm) -> None:
        """Take another algorithm, from the next call on."""
        self.algorithm = algorithm
        self._algorithm = (ctypes.c_uint64 * 8).from_buffer_copy(algorithm.data)
        self._function = self.context.library.functions["cublasLtMatmul"]

    def checked(self, data: bytes) -> Algorithm | None:
        """The algorithm of these bytes; None where it is none for this problem and device."""
        if len(data) != ALGORITHM_BYTES:
            return None
        algorithm, result = ctypes.create_string_buffer(data, ALGORITHM_BYTES), HeuristicResult()
        status = self.context.library.functions["cublasLtMatmulAlgoCheck"](
            self.context.handle, *self._operands(), ctypes.addressof(algorithm),
            ctypes.addressof(result),
        )  # fmt: skip
        if status != Status.SUCCESS or result.workspace > self.context.workspace_bytes:
            return None
        return Algorithm(data, result.workspace)

    def with_addresses(
        self, bias: int = 0, aux: int = 0, scales: tuple[int, int] = (0, 0)
    ) -> Descriptor:
        """What is computed, with the addresses of the vector and matrix beside it.

        ``scales`` are those of the factors of A and B, of 8-bit types.
        """
        if not (bias or aux or any(scales)):
            return self._probe
        made = self._described(bias, aux)
        if any(scales):
            made.set(scale_pointer_a=scales[0], scale_pointer_b=scales[1])
        return made

    def _described(self, bias: int, aux: int) -> Descriptor:
        p = self.problem
        made = description(
            self.context.library, p.compute, p.scale, epilogue=p.end.number,
            trans_a=Operation.T if p.trans_a else Operation.N,
            trans_b=Operation.T if p.trans_b else Operation.N,
        )  # fmt: skip
        if p.end.bias:
            made.set(bias_pointer=bias)
        if p.end.aux:
            made.set(aux_pointer=aux, aux_ld=p.aux_ld, aux_batch_stride=p.aux_stride)
        return made

    def enqueue(
        self, what: int, alpha: int, beta: int, a: int, b: int, d: int, memory: int, stream: int
    ) -> None:
        """Give one product to a stream.

        Parameters
        ----------
        what : int
            Value of a description (:meth:`with_addresses`).
        alpha, beta : int
            Addresses of numbers in host memory, of type ``problem.scale``.
        a, b, d, memory : int
            Device addresses of the library's operands, and of the workspace.
        """
        context, (of_a, of_b, of_d) = self.context, self._values
        status = self._function(
            context.handle, what, alpha, a, of_a, b, of_b, beta, d, of_d, d, of_d,
            self._algorithm, memory, context.workspace_bytes, stream,
        )  # fmt: skip
        if status != Status.SUCCESS:
            raise CublasLtError(f"cublasLtMatmul ({self.problem.key})", status, context.library)

    @property
    def _values(self) -> tuple[int, ...]:
        return tuple(layout.value for layout in self._layouts)

    def _operands(self) -> tuple[int, ...]:
        a, b, d = self._values
        return self._probe.value, a, b, d, d

    def _ask(self) -> tuple[Algorithm, ...]:
        """The library's own proposals."""
        a, b, d = self.problem.alignment[:3]
        wish = preference(
            self.context.library, workspace=self.context.workspace_bytes, reductions=REDUCTIONS,
            alignment_a=a, alignment_b=b, alignment_c=d, alignment_d=d,
        )  # fmt: skip
        results, found = (HeuristicResult * CANDIDATES)(), ctypes.c_int()
        status = self.context.library.functions["cublasLtMatmulAlgoGetHeuristic"](
            self.context.handle, *self._operands(), wish.value, CANDIDATES,
            ctypes.addressof(results), ctypes.addressof(found),
        )  # fmt: skip
        if status == Status.NOT_SUPPORTED:
            return ()
        if status != Status.SUCCESS:
            name = f"cublasLtMatmulAlgoGetHeuristic ({self.problem.key})"
            error = CublasLtError(name, status, self.context.library)
            if status != Status.INVALID_VALUE or not self.problem.unusual:
                raise error
            log.warning("done in other ways: %s", error)  # the caller has some
            return ()
        usable = [result for result in results[: found.value] if result.state == Status.SUCCESS]
        return tuple(Algorithm(bytes(r.algorithm), r.workspace) for r in usable)


def plan_for(context: Context, problem: Problem) -> Plan | None:
    """The plan of a problem, made once; ``None`` where the library has no algorithm for it."""
    if problem not in context.plans:
        with context.lock:
            made = Plan(context, problem)
            context.plans.setdefault(problem, made if made.candidates else None)
    return context.plans[problem]


def _layouts(context: Context, problem: Problem) -> tuple[Descriptor, Descriptor, Descriptor]:
    p, library = problem, context.library
    a = (p.depth, p.rows) if p.trans_a else (p.rows, p.depth)
    b = (p.columns, p.depth) if p.trans_b else (p.depth, p.columns)
    return (
        matrix_layout(library, p.type_a, *a, p.lda, p.batch, p.stride_a),
        matrix_layout(library, p.type_b, *b, p.ldb, p.batch, p.stride_b),
        matrix_layout(library, p.type_d, p.rows, p.columns, p.ldd, p.batch, p.stride_d),
    )
