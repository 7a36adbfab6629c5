"""Products of the main namespace."""

from hpcad.primitives.layout import matrix_transpose
from hpcad.primitives.product import matmul

__all__: list[str] = ["matmul", "matrix_transpose"]
