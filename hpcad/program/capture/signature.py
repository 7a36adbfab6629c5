"""The signature of a call: what a program may take for granted about its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.pytree import Structure, flatten
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import is_device_array
from hpcad.backend.half import is_bfloat16
from hpcad.errors import ConfigError

ARRAYS = (np.ndarray, np.generic)
PLAIN = (np.ndarray, np.memmap)  # other kinds of arrays have operations of their own


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an input of the program: an array, a NumPy scalar, a tensor."""
    if isinstance(leaf, Tensor):
        return not isinstance(leaf, Parameter)  # which a program knows by itself
    return isinstance(leaf, ARRAYS) or is_device_array(leaf)


def is_differentiated(leaf: Any) -> bool:
    """Whether somebody around the call follows the leaf."""
    return isinstance(leaf, Tensor) and leaf.level >= CAPTURED and is_array(leaf)


def foreign(leaves: list[Any]) -> str | None:
    """Why arrays among the arguments cannot be inputs of a program."""
    for leaf in leaves:
        array = value_of(leaf)
        if isinstance(array, np.ndarray):
            if type(array) not in PLAIN:
                return f"an argument is a {type(array).__name__}, which has operations of its own"
            if array.dtype.kind in "OV" and not is_bfloat16(array.dtype):
                return f"an argument is an array of dtype {array.dtype}"
    return None


def of_call(args: Any, kwargs: Any) -> tuple[Any, list[Any], Structure]:
    """The key under which a program is kept, the leaves of the arguments, and their structure.

    Raises
    ------
    ConfigError
        An argument that is no array cannot be compared.
    """
    leaves, structure = flatten((args, kwargs))
    parts: list[Any] = []
    arrays = []
    for leaf in leaves:
        if type(leaf) is np.ndarray:
            parts.append((leaf.shape, leaf.dtype))
            arrays.append(id(leaf))
        elif is_array(leaf):
            level = leaf.level if isinstance(leaf, Tensor) else None
            parts.append((type(leaf), tuple(leaf.shape), leaf.dtype, level))
            arrays.append(id(leaf))
        elif isinstance(leaf, Parameter):
            parts.append((Parameter, id(leaf)))
        elif isinstance(leaf, (float, complex)):
            parts.append((type(leaf), repr(leaf)))  # 0.0 is equal to -0.0, and NaN to nothing
        else:
            parts.append((type(leaf), leaf))
    if len(set(arrays)) < len(arrays):
        parts.append(tuple(map(arrays.index, arrays)))  # which of them are the same object
    key = (structure, tuple(parts))
    try:
        hash(key)
    except TypeError as error:
        raise ConfigError(
            f"an argument of a compiled function is neither an array nor hashable ({error}); pass "
            "arrays, or trees of them, and settings that can be compared"
        ) from error
    return key, leaves, structure
