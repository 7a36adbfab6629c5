"""Another dtype than the stored one: only on demand, and never with a silently wrong number."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from hpcad.errors import CheckpointError


def convert(name: str, array: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Return `array` as `dtype`, or itself when it has it.

    Rounding is what a conversion between floats is for; anything worse is refused.

    Parameters
    ----------
    name
        For the message.

    Raises
    ------
    CheckpointError
        The kinds differ (floats to integers, numbers to booleans), a finite value would become
        infinite, or an integer would change.
    """
    target = np.dtype(dtype)
    if array.dtype == target:
        return array
    if not np.can_cast(array.dtype, target, "same_kind") or array.dtype == bool:
        raise CheckpointError(
            f"array {name!r} has dtype {array.dtype} in the checkpoint, which cannot become "
            f"{target} without a loss of meaning"
        )
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        result = array.astype(target)
    if _changed(array, result):
        raise CheckpointError(
            f"array {name!r} of the checkpoint holds values ({array.dtype}) that {target} cannot "
            "hold; convert it to a wider dtype"
        )
    return result


def _changed(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a finite float became infinite, or an integer another one."""
    if before.dtype.kind == "f":
        return not bool(np.isfinite(after[np.isfinite(before)]).all())
    if after.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # 2**64 in float is no integer of 64 bits
            return bool((after.astype(before.dtype) != before).any())
    return bool((after != before).any() or ((after < 0) != (before < 0)).any())
