"""Matrix products on the device: cuBLASLt, called by hpcad's own binding. Not yet run on a GPU.

CuPy's products copy batched operands and parts of matrices, know no half type in a batch, neither
add to what is there nor fuse anything, and refuse to be captured. See
:func:`bind_product` for products of compiled steps and :func:`multiply` for eager ones.
"""

from hpcad.backend.cublaslt.eager import multiply
from hpcad.backend.cublaslt.eighths import Eighths
from hpcad.backend.cublaslt.product import BoundProduct, bind_product
from hpcad.backend.cublaslt.search import find_cublaslt
from hpcad.backend.cublaslt.settings import allow_tf32

__all__ = ["BoundProduct", "Eighths", "allow_tf32", "bind_product", "find_cublaslt", "multiply"]
