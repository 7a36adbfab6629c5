"""Short ways to write down elementwise primitives.

In the rules: g the cotangent (or tangent: the Jacobian is diagonal), z the answer, x and y the
arguments. An underscore marks what a rule does not need, and what is therefore not kept for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.half import is_inexact
from hpcad.primitives.precision import weak
from hpcad.primitives.shapes import broadcast


def unary(name: str, value: Any, rule: Any, jvp: Any = "same") -> Primitive:
    """A function of one argument; its VJP rule is its JVP rule unless another is given."""
    return Primitive(name, value, broadcast, [rule], jvp=jvp if isinstance(jvp, str) else [jvp])


def binary(name: str, value: Any, rule_x: Any, rule_y: Any) -> Primitive:
    """A function of two arguments, with a rule (or None: no derivative) for each."""
    return Primitive(name, weak(value), broadcast, [rule_x, rule_y], jvp="same")


def constant(name: str, value: Any) -> Primitive:
    """A step function: its derivative is zero wherever it exists."""
    return Primitive(name, value, broadcast, constant=True)


def floating(x: Any) -> Any:
    """``x`` as an array of floating point (integers and booleans become float64)."""
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    return x if is_inexact(x.dtype) else x.astype(np.float64)


def is_complex(x: Any) -> bool:
    """Whether an array, a tensor or a number is of a complex type."""
    dtype = getattr(x, "dtype", None)
    return np.iscomplexobj(x) if dtype is None else dtype.kind == "c"
