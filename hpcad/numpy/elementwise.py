"""Elementwise functions: the names of the array API standard, and those NumPy has beyond it.

Derivatives of complex functions follow the convention of the package: the gradient of
``abs(z)**2`` at 1+2j is 2-4j.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.numpy.tables import of_one, of_two
from hpcad.primitives import elementwise as e


def _conj(x: Any) -> Any:
    """Of a real array a copy, as NumPy's."""
    real_number = not e.is_complex(x) and getattr(x, "dtype", None) != np.bool_
    return (e.positive if real_number else e.conj)(x)


# fmt: off

# -- arithmetic ---------------------------------------------------------------------------------

add        = of_two("add",        e.add,        "Sum", "1 and 1")
subtract   = of_two("subtract",   e.subtract,   "Difference", "1 and -1")
multiply   = of_two("multiply",   e.multiply,   "Product", "``x2`` and ``x1``")
divide     = of_two("divide",     e.divide,     "Quotient", "``1 / x2`` and ``-x1 / x2^2``")
negative   = of_one("negative",   e.negative,   "The number with its sign changed", "-1")
positive   = of_one("positive",   e.positive,   "The number itself", "1")
square     = of_one("square",     e.square,     "``x^2``", "``2 x``")
reciprocal = of_one("reciprocal", e.reciprocal, "``1 / x``", "``-1 / x^2``")
power      = of_two("power", e.power, "``x1`` to the power ``x2``",
                    "``x2 x1^(x2-1)`` and ``x1^x2 log(x1)`` (0 at ``x1 = 0``)")
sqrt       = of_one("sqrt",       e.sqrt,       "Square root", "``1 / (2 sqrt(x))``")
cbrt       = of_one("cbrt",       e.cbrt,       "Cube root, also of negative numbers",
                    "``1 / (3 cbrt(x)^2)``")
pow, true_divide = power, divide

# -- exponentials and logarithms ----------------------------------------------------------------

exp   = of_one("exp",   e.exp,   "Exponential function", "``exp(x)``")
exp2  = of_one("exp2",  e.exp2,  "``2^x``", "``2^x log(2)``")
expm1 = of_one("expm1", e.expm1, "``exp(x) - 1`` without cancellation near 0", "``exp(x)``")
log   = of_one("log",   e.log,   "Natural logarithm", "``1 / x``")
log2  = of_one("log2",  e.log2,  "Logarithm to base 2", "``1 / (x log(2))``")
log10 = of_one("log10", e.log10, "Logarithm to base 10", "``1 / (x log(10))``")
log1p = of_one("log1p", e.log1p, "``log(1 + x)`` without cancellation near 0", "``1 / (1 + x)``")
logaddexp  = of_two("logaddexp",  e.logaddexp,  "``log(exp(x1) + exp(x2))`` without overflow",
                    "``exp(x1 - z)`` and ``exp(x2 - z)``, ``z`` the answer")
logaddexp2 = of_two("logaddexp2", e.logaddexp2, "``log2(2^x1 + 2^x2)`` without overflow",
                    "``2^(x1 - z)`` and ``2^(x2 - z)``, ``z`` the answer")

# -- trigonometry -------------------------------------------------------------------------------

sin   = of_one("sin",   e.sin,   "Sine of an angle in radians", "``cos(x)``")
cos   = of_one("cos",   e.cos,   "Cosine of an angle in radians", "``-sin(x)``")
tan   = of_one("tan",   e.tan,   "Tangent of an angle in radians", "``1 + tan(x)^2``")
asin  = of_one("asin",  e.asin,  "Inverse sine, in radians", "``1 / sqrt(1 - x^2)``")
acos  = of_one("acos",  e.acos,  "Inverse cosine, in radians", "``-1 / sqrt(1 - x^2)``")
atan  = of_one("atan",  e.atan,  "Inverse tangent, in radians", "``1 / (1 + x^2)``")
sinh  = of_one("sinh",  e.sinh,  "Hyperbolic sine", "``cosh(x)``")
cosh  = of_one("cosh",  e.cosh,  "Hyperbolic cosine", "``sinh(x)``")
tanh  = of_one("tanh",  lambda x: (e.complex_tanh if e.is_complex(x) else e.tanh)(x),
               "Hyperbolic tangent", "``1 - tanh(x)^2``")
asinh = of_one("asinh", e.asinh, "Inverse hyperbolic sine", "``1 / sqrt(x^2 + 1)``")
acosh = of_one("acosh", e.acosh, "Inverse hyperbolic cosine", "``1 / sqrt(x^2 - 1)``")
atanh = of_one("atanh", e.atanh, "Inverse hyperbolic tangent", "``1 / (1 - x^2)``")
atan2 = of_two("atan2", e.atan2, "Angle of the point (x2, x1) from the positive axis, in radians",
               "``x2 / r^2`` and ``-x1 / r^2`` with ``r = hypot(x1, x2)``; 0 at the origin")
hypot = of_two("hypot", e.hypot, "``sqrt(x1^2 + x2^2)`` without overflow",
               "``x1 / hypot`` and ``x2 / hypot``; 0 at the origin")
sinc  = of_one("sinc",  e.sinc,  "``sin(pi x) / (pi x)``, and 1 at 0",
               "``(cos(pi x) - sinc(x)) / x``, and 0 at 0")
deg2rad = of_one("deg2rad", lambda x: e.multiply(x, math.pi / 180), "Degrees as radians",
                 "``pi / 180``")
rad2deg = of_one("rad2deg", lambda x: e.multiply(x, 180 / math.pi), "Radians as degrees",
                 "``180 / pi``")
radians, degrees = deg2rad, rad2deg
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh

# -- parts, magnitude, direction ----------------------------------------------------------------

absolute = of_one("absolute", e.absolute, "Absolute value", "``sign(x)``, of a complex number "
                  "``conj(x) / |x|``; 0 at 0")
fabs     = of_one("fabs",     e.fabs,     "Absolute value of a real number", "``sign(x)``")
sign     = of_one("sign",     e.sign,     "-1, 0 or 1; of a complex number ``x / |x|``",
                  "0; a complex direction turns")
real     = of_one("real",     e.real,     "Real part", "1 along the real axis")
imag     = of_one("imag",     e.imag,     "Imaginary part", "1 along the imaginary axis")
conj     = of_one("conj", _conj,          "Complex conjugate", "the conjugate of the tangent")
copysign = of_two("copysign", e.copysign, "The size of ``x1`` with the sign of ``x2``",
                  "-1 or 1, and 0 at ``x1 = 0``; 0 in ``x2``")
signbit  = of_one("signbit",  e.signbit,  "Whether the number is negative or -0")
abs, conjugate = absolute, conj

# -- rounding -----------------------------------------------------------------------------------

ceil  = of_one("ceil",  e.ceil,  "Smallest whole number that is not less")
floor = of_one("floor", e.floor, "Largest whole number that is not greater")
trunc = of_one("trunc", e.trunc, "Whole part, rounded towards 0")
rint  = of_one("rint",  e.rint,  "Nearest whole number, ties to even")
fix   = trunc
floor_divide = of_two("floor_divide", e.floor_divide, "``floor(x1 / x2)``")
remainder    = of_two("remainder", e.remainder, "``x1 - x2 floor(x1 / x2)``, of the sign of ``x2``",
                      "1 and ``-floor(x1 / x2)``")
fmod         = of_two("fmod",      e.fmod,      "``x1 - x2 trunc(x1 / x2)``, of the sign of ``x1``",
                      "1 and ``-trunc(x1 / x2)``")
nextafter    = of_two("nextafter", e.nextafter, "Next number after ``x1`` towards ``x2``",
                      "1 and 0")
ldexp        = of_two("ldexp",     e.ldexp,     "``x1 2^x2`` for integer ``x2``", "``2^x2``")
mod = remainder

# -- comparison and selection -------------------------------------------------------------------

equal         = of_two("equal",         e.equal,         "``x1 == x2``")
not_equal     = of_two("not_equal",     e.not_equal,     "``x1 != x2``")
greater       = of_two("greater",       e.greater,       "``x1 > x2``")
greater_equal = of_two("greater_equal", e.greater_equal, "``x1 >= x2``")
less          = of_two("less",          e.less,          "``x1 < x2``")
less_equal    = of_two("less_equal",    e.less_equal,    "``x1 <= x2``")
isfinite      = of_one("isfinite",      e.isfinite,      "Whether neither infinite nor NaN")
isinf         = of_one("isinf",         e.isinf,         "Whether infinite")
isnan         = of_one("isnan",         e.isnan,         "Whether NaN")
maximum = of_two("maximum", e.maximum, "The larger of two; NaN if one is NaN",
                 "1 for the larger, 0 for the other, 1/2 each at a tie")
minimum = of_two("minimum", e.minimum, "The smaller of two; NaN if one is NaN",
                 "1 for the smaller, 0 for the other, 1/2 each at a tie")
fmax    = of_two("fmax",    e.fmax,    "The larger of two; the number if the other is NaN",
                 "1 for the larger, 0 for the other, 1/2 each at a tie")
fmin    = of_two("fmin",    e.fmin,    "The smaller of two; the number if the other is NaN",
                 "1 for the smaller, 0 for the other, 1/2 each at a tie")
heaviside = of_two("heaviside", e.heaviside, "0 below 0, 1 above 0, and ``x2`` at 0",
                   "0; in ``x2`` it is 1 at 0")

# -- logic and bits -----------------------------------------------------------------------------

logical_and = of_two("logical_and", e.logical_and, "Whether both are true")
logical_or  = of_two("logical_or",  e.logical_or,  "Whether at least one is true")
logical_xor = of_two("logical_xor", e.logical_xor, "Whether exactly one is true")
logical_not = of_one("logical_not", e.logical_not, "Whether false")
bitwise_and = of_two("bitwise_and", e.bitwise_and, "Bits that are set in both")
bitwise_or  = of_two("bitwise_or",  e.bitwise_or,  "Bits that are set in at least one")
bitwise_xor = of_two("bitwise_xor", e.bitwise_xor, "Bits that are set in exactly one")
bitwise_invert      = of_one("bitwise_invert", e.bitwise_invert, "All bits flipped")
bitwise_left_shift  = of_two("bitwise_left_shift", e.bitwise_left_shift, "``x1 2^x2`` by bits")
bitwise_right_shift = of_two("bitwise_right_shift", e.bitwise_right_shift,
                             "``floor(x1 / 2^x2)`` by bits")
bitwise_count = of_one("bitwise_count", e.bitwise_count, "Number of bits set in ``|x|``")
invert = bitwise_not = bitwise_invert
left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
# fmt: on

# fmt: off
__all__: list[str] = [
                    "abs",
                    "absolute",
                    "acos",
                    "acosh",
                    "add",
                    "arccos",
                    "arccosh",
                    "arcsin",
                    "arcsinh",
                    "arctan",
                    "arctan2",
                    "arctanh",
                    "asin",
                    "asinh",
                    "atan",
                    "atan2",
                    "atanh",
                    "bitwise_and",
                    "bitwise_count",
                    "bitwise_invert",
                    "bitwise_left_shift",
                    "bitwise_not",
                    "bitwise_or",
                    "bitwise_right_shift",
                    "bitwise_xor",
                    "cbrt",
                    "ceil",
                    "conj",
                    "conjugate",
                    "copysign",
                    "cos",
                    "cosh",
                    "deg2rad",
                    "degrees",
                    "divide",
                    "equal",
                    "exp",
                    "exp2",
                    "expm1",
                    "fabs",
                    "fix",
                    "floor",
                    "floor_divide",
                    "fmax",
                    "fmin",
                    "fmod",
                    "greater",
                    "greater_equal",
                    "heaviside",
                    "hypot",
                    "imag",
                    "invert",
                    "isfinite",
                    "isinf",
                    "isnan",
                    "ldexp",
                    "left_shift",
                    "less",
                    "less_equal",
                    "log",
                    "log1p",
                    "log2",
                    "log10",
                    "logaddexp",
                    "logaddexp2",
                    "logical_and",
                    "logical_not",
                    "logical_or",
                    "logical_xor",
                    "maximum",
                    "minimum",
                    "mod",
                    "multiply",
                    "negative",
                    "nextafter",
                    "not_equal",
                    "positive",
                    "pow",
                    "power",
                    "rad2deg",
                    "radians",
                    "real",
                    "reciprocal",
                    "remainder",
                    "right_shift",
                    "rint",
                    "sign",
                    "signbit",
                    "sin",
                    "sinc",
                    "sinh",
                    "sqrt",
                    "square",
                    "subtract",
                    "tan",
                    "tanh",
                    "true_divide",
                    "trunc",
]
# fmt: on
