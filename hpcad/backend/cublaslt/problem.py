"""A product as cuBLASLt is told it: column by column, without addresses."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hpcad.backend.cublaslt.enums import EPILOGUES, Epilogue, numpy_type


@dataclass(frozen=True)
class Problem:
    """``D = epilogue(alpha * op(A) @ op(B) + beta * D)`` with column-major matrices.

    Attributes
    ----------
    type_a, type_b, type_d : str
        Names of :class:`~hpcad.backend.cublaslt.enums.Type`. Bias and aux have that of ``D``.
    compute : str
        A name of :class:`~hpcad.backend.cublaslt.enums.Compute`.
    rows, columns, depth : int
        ``D`` is (rows, columns), and the sums are over ``depth``.
    trans_a, trans_b : bool
        The memory holds, column by column, the transposed operand.
    lda, ldb, ldd : int
        Elements from one column in memory to the next.
    batch : int
        How many matrices.
    stride_a, stride_b, stride_d : int
        Elements from one matrix to the next; 0 repeats the operand.
    adds : bool
        Whether ``D`` is read (``beta`` is not 0).
    epilogue : str
        A key of :data:`~hpcad.backend.cublaslt.enums.EPILOGUES`.
    aux_ld, aux_stride : int
        Of a mask: in bits.
    alignment : tuple of int
        Bytes by which the addresses of A, B, D, bias and aux are divisible, 16 at most.
    """

    type_a: str
    type_b: str
    type_d: str
    compute: str
    rows: int
    columns: int
    depth: int
    trans_a: bool
    trans_b: bool
    lda: int
    ldb: int
    ldd: int
    batch: int = 1
    stride_a: int = 0
    stride_b: int = 0
    stride_d: int = 0
    adds: bool = False
    epilogue: str = ""
    aux_ld: int = 0
    aux_stride: int = 0
    alignment: tuple[int, ...] = (16, 16, 16, 16, 16)

    @property
    def end(self) -> Epilogue:
        """What is known of the epilogue."""
        return EPILOGUES[self.epilogue]

    @property
    def scale(self) -> str:
        """The type of ``alpha`` and ``beta``."""
        return "float64" if self.compute == "float64" else "float32"

    @property
    def unusual(self) -> bool:
        """Whether versions of the library differ in what they know of it."""
        return self.epilogue != "" or self.type_a.startswith("float8")

    @property
    def flops(self) -> int:
        """Multiplications and additions of the product."""
        return 2 * self.rows * self.columns * self.depth * self.batch

    @property
    def key(self) -> str:
        """All of it as one line, by which choices are kept."""
        words = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                words.append(f"{field.name}={text}")
        return " ".join(words)


def reach(rows: int, columns: int, ld: int, batch: int, stride: int) -> int:
    """Elements from the first to behind the last of a batch of column-major matrices."""
    return (columns - 1) * ld + rows + (batch - 1) * stride


def reaches(problem: Problem) -> dict[str, int]:
    """Elements that A, B, D, bias and aux reach over in memory; a mask as elements of D."""
    p = problem
    a = (p.depth, p.rows) if p.trans_a else (p.rows, p.depth)
    b = (p.columns, p.depth) if p.trans_b else (p.depth, p.columns)
    found = {
        "a": reach(*a, p.lda, p.batch, p.stride_a),
        "b": reach(*b, p.ldb, p.batch, p.stride_b),
        "d": reach(p.rows, p.columns, p.ldd, p.batch, p.stride_d),
    }
    if p.end.bias:
        found["bias"] = p.columns if p.epilogue == "BGRADB" else p.rows
    if p.end.mask:
        nbytes = -(-reach(p.rows, p.columns, p.aux_ld, 1, 0) // 8)
        found["aux"] = -(-nbytes // numpy_type(p.type_d).itemsize)
    elif p.end.aux:
        found["aux"] = reach(p.rows, p.columns, p.aux_ld, p.batch, p.aux_stride)
    return found
