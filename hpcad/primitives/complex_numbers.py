"""Parts, magnitude and direction of numbers, real and complex.

The pairing of cotangents and tangents is ``Re(sum(w v))``, without conjugation: the gradient of
``abs(z)**2`` at 1+2j is 2-4j.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.backend import backend_of
from hpcad.primitives.arithmetic import add, masked_divide, multiply, subtract
from hpcad.primitives.builders import constant, is_complex, unary
from hpcad.primitives.trigonometric import atan2

# -- parts --------------------------------------------------------------------------------------

# fmt: off
_real = unary("real", np.real, lambda g, _z, _x: g,                 lambda t, _z, _x: real(t))
_imag = unary("imag", np.imag, lambda g, _z, _x: g * (-1j),  lambda t, _z, _x: imag(t))
_conj = unary("conj", np.conjugate, lambda g, _z, _x: conj(g))
# fmt: on

_no_imag = constant("imag_of_real", lambda x: np.zeros_like(np.real(x)))


def real(x: Any) -> Any:
    """The real part; real arrays as they are."""
    return _real(x) if is_complex(x) else _as_it_is(x)


def imag(x: Any) -> Any:
    """The imaginary part; 0 of a real array."""
    return (_imag if is_complex(x) else _no_imag)(x)


def conj(x: Any) -> Any:
    """The complex conjugate; real arrays as they are."""
    return _conj(x) if is_complex(x) else _as_it_is(x)


def _as_it_is(x: Any) -> Any:
    return x if hasattr(x, "dtype") else np.asarray(x)


# -- magnitude and direction --------------------------------------------------------------------


def _absolute_vjp(g: Any, _z: Any, x: Any) -> Any:
    """``g conj(x) / |x|``, and 0 at 0."""
    return multiply(g, conj(sign(x)) if is_complex(x) else _sign(x))


def _absolute_jvp(t: Any, z: Any, x: Any) -> Any:
    return real(_absolute_vjp(t, z, x))


absolute = unary("absolute", np.absolute, _absolute_vjp, _absolute_jvp)
fabs = unary("fabs", np.fabs, lambda g, _z, x: g * _sign(x))

# Of a real number the sign is a step; of a complex one it is a direction, which turns.
_sign = constant("sign", lambda x: np.sign(x))


def _direction_vjp(g: Any, z: Any, x: Any) -> Any:
    """``(g - conj(u) Re(g u)) / |x|`` for ``u = x / |x|``."""
    return masked_divide(subtract(g, multiply(conj(z), real(multiply(g, z)))), absolute(x))


def _direction_jvp(t: Any, z: Any, x: Any) -> Any:
    """``(t - u Re(t conj(u))) / |x|``: what is across the direction."""
    return masked_divide(subtract(t, multiply(z, real(multiply(t, conj(z))))), absolute(x))


def _direction(x: Any) -> Any:
    """``x / |x|``, which is NumPy's sign of a complex number, but not yet that of CuPy."""
    xp = backend_of(x).xp
    if xp is np:
        return np.sign(x)
    size = xp.abs(x)
    return x / xp.where(size == 0, size.dtype.type(1), size)


direction = unary("direction", _direction, _direction_vjp, _direction_jvp)


def sign(x: Any) -> Any:
    """``x / |x|``, and 0 at 0: -1, 0 or 1 of a real number."""
    return (direction if is_complex(x) else _sign)(x)


def angle(z: Any) -> Any:
    """The argument of a complex number, in (-pi, pi]."""
    if not hasattr(z, "dtype"):
        z = np.asarray(z)
    return atan2(imag(z), real(z))


def compose(re: Any, im: Any) -> Any:
    """``re + i im``."""
    return add(re, multiply(im, 1j))
