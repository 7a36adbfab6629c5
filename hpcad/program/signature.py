"""The signature of a call: what a program may take for granted about its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED, CONSTANT
from hpcad.autodiff.pytree import Structure, flatten
from hpcad.autodiff.tensor import Tensor
from hpcad.errors import ConfigError

ARRAYS = (np.ndarray, np.generic)


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an input of the program: an array, a NumPy scalar, a constant tensor."""
    return isinstance(leaf, ARRAYS) or isinstance(leaf, Tensor) or _on_device(leaf)


def _on_device(leaf: Any) -> bool:
    return type(leaf).__module__.partition(".")[0] == "cupy"


def is_differentiated(leaf: Any) -> bool:
    """Whether somebody around the call follows the leaf."""
    return isinstance(leaf, Tensor) and leaf.level != CONSTANT and leaf.level >= CAPTURED


def of_call(args: Any, kwargs: Any) -> tuple[Any, list[Any], Structure]:
    """The key under which a program is kept, the leaves of the arguments, and their structure.

    Raises
    ------
    ConfigError
        An argument that is no array cannot be compared.
    """
    leaves, structure = flatten((args, kwargs))
    parts = []
    for leaf in leaves:
        if type(leaf) is np.ndarray:
            parts.append((leaf.shape, leaf.dtype))
        elif is_array(leaf):
            parts.append((type(leaf), tuple(leaf.shape), leaf.dtype))
        else:
            parts.append((type(leaf), leaf))
    key = (structure, tuple(parts))
    try:
        hash(key)
    except TypeError as error:
        raise ConfigError(
            f"an argument of a compiled function is neither an array nor hashable ({error}); pass "
            "arrays, or trees of them, and settings that can be compared"
        ) from error
    return key, leaves, structure
