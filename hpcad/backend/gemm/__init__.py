"""The door to BLAS: which libraries there are, and matrix products at fixed addresses.

:class:`Gemm` says what a product is, :func:`bind` makes a call without arguments of it, in the way
that was measured to be the fastest for its shape. :func:`matrix` and :func:`describe` say how views
are passed without copies.
"""

from hpcad.backend.gemm.binding import bind
from hpcad.backend.gemm.search import libraries
from hpcad.backend.gemm.spec import Gemm
from hpcad.backend.gemm.tuning import best_way, seconds
from hpcad.backend.gemm.views import Matrix, Product, describe, layout, matrix

__all__ = [
    "Gemm",
    "Matrix",
    "Product",
    "best_way",
    "bind",
    "describe",
    "layout",
    "libraries",
    "matrix",
    "seconds",
]
