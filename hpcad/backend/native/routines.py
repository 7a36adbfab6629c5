"""Hand-written routines of compiled steps: what is no elementwise kernel and no GEMM.

Each is described by a frozen dataclass of shapes; ``bind`` takes addresses and answers a callable
without arguments, which computes what the NumPy value of the primitive of that name does.
Contiguous operands are meant where no stride says otherwise; strides count elements.
"""

from hpcad.backend.native.philox import UniformRows
from hpcad.backend.native.pool import MaxPool, Pick, Unpool
from hpcad.backend.native.rows import GatherRows, ScatterAddRows

__all__ = ["GatherRows", "MaxPool", "Pick", "ScatterAddRows", "UniformRows", "Unpool"]
