"""Guards: nobody changes an array behind the tape unseen.

A tape keeps references to arrays that belong to the user: the primals of a transform and the
constants that a rule will need. Were one of them changed in place before the backward pass, the
derivative would be that of another function. So the tape takes a fingerprint when it captures an
array and compares it when the array is needed. A hash reads memory once, at about its bandwidth;
unlike a read-only flag it sees changes through older views, and leaves the user's array alone.

Device arrays are not guarded: a fingerprint would have to synchronise.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import xxhash

from hpcad.autodiff.state import STATE
from hpcad.errors import DifferentiationError, user_frame


@contextmanager
def unguarded() -> Iterator[None]:
    """Capture arrays without fingerprints; changing one in place then goes unseen."""
    before = STATE.guarding
    STATE.guarding = False
    try:
        yield
    finally:
        STATE.guarding = before


class Guard:
    """The fingerprint of one captured array.

    Attributes
    ----------
    array : weak reference
        An array that nobody else holds can only die, not change.
    digest : int
    user : str
        Which operation captured it first, and on which line.
    """

    __slots__ = ("__weakref__", "array", "digest", "user")

    def __init__(self, array: np.ndarray, user: str) -> None:
        self.array = weakref.ref(array)
        self.digest = fingerprint(array)
        self.user = f"{user} at {user_line()}"

    def verify(self) -> None:
        """Raise if the array has changed since."""
        array = self.array()
        if array is not None and fingerprint(array) != self.digest:
            raise DifferentiationError(
                f"an array of shape {array.shape} and dtype {array.dtype} was changed in place "
                f"after {self.user} had captured it, and before the derivative was taken; pass "
                "a copy of it, or change it after the backward pass (hpcad.unguarded() turns "
                "this check off)"
            )


def fingerprint(array: np.ndarray) -> int:
    """64-bit XXH3 hash of the elements."""
    flags = array.flags
    if flags.c_contiguous:
        flat = array
    elif flags.f_contiguous:
        flat = array.T
    else:
        flat = np.ascontiguousarray(array)
    if flat.dtype.kind in "OMm":  # no buffer of their own
        return 0
    return xxhash.xxh3_64_intdigest(flat)  # type: ignore[arg-type]  # an array is a buffer


def user_line() -> str:
    """``file:line`` of the innermost frame outside this package."""
    frame = user_frame()
    if frame is None:
        return "an unknown line"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
