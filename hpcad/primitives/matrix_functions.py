"""The matrix exponential.

Its derivative along T is a block of the exponential of a matrix of twice the size,
``exp([[A, T], [0, A]])`` (R. Mathias, "A chain rule for matrix functions and applications", SIAM J.
Matrix Anal. Appl. 17 (1996); N. J. Higham, "Functions of matrices", section 3.1). The adjoint of
that map is the same map for the transposed matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import value_of
from hpcad.backend import backend_of, scipy_of
from hpcad.primitives.joining import concatenate
from hpcad.primitives.matrices import T, each_matrix


def _expm(x: Any) -> Any:
    return each_matrix(scipy_of(x, "linalg").expm, x) if x.size else x * 1.0


def _along(x: Any, t: Any) -> Any:
    """Derivative of the exponential at ``x`` along ``t``."""
    n = np.shape(x)[-1]
    plain = value_of(x)
    zero = backend_of(plain).xp.zeros_like(plain)
    above = concatenate([x, t], -1)
    below = concatenate([zero, x], -1)
    return expm(concatenate([above, below], -2))[..., :n, n:]


expm = Primitive(
    "expm",
    _expm,
    lambda x: x,
    [lambda g, _z, x: _along(T(x), g)],
    jvp=[lambda t, _z, x: _along(x, t)],
)
