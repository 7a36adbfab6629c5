"""Guards: nobody changes an array behind the tape unseen.

A tape keeps references to arrays that belong to the user: the primals of a transform and the
constants that a rule will need. Were one of them changed in place before the backward pass, the
derivative would be that of another function. So the tape takes a fingerprint when it captures an
array and compares it when the array is needed. A hash reads memory once, at about its bandwidth;
unlike a read-only flag it sees changes through older views, and leaves the user's array alone.

Device arrays are not guarded: a fingerprint would have to synchronise. Parameters among the
captured have a version, which stands for the fingerprint.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
        An array (or parameter) that nobody else holds can only die, not change.
    digest : int
        Of a parameter its version.
    user : str
        Which operation captured it first, and on which line.
    """

    __slots__ = ("__weakref__", "array", "digest", "user")

    def __init__(self, array: Any, user: str) -> None:
        self.array = weakref.ref(array)
        self.digest = fingerprint(array)
        self.user = f"{user} at {user_line()}"

    def verify(self) -> None:
        """Raise if the array has changed since."""
        array = self.array()
        if array is None or fingerprint(array) == self.digest:
            return
        if not isinstance(array, np.ndarray):
            raise DifferentiationError(array.change_message(self.digest, self.user))
        raise DifferentiationError(
            f"an array of shape {array.shape} and dtype {array.dtype} was changed in place "
            f"after {self.user} had captured it, and before the derivative was taken; pass "
            "a copy of it, or change it after the backward pass (hpcad.unguarded() turns "
            "this check off)"
        )


_digest: Any = xxhash.xxh3_64_intdigest


def fingerprint(array: Any) -> int:
    """64-bit XXH3 hash of the elements; of a parameter its version."""
    try:
        return _digest(array)  # C-contiguous arrays, and to try is quicker than to ask
    except (ValueError, TypeError):
        pass
    if not isinstance(array, np.ndarray):
        return array.version
    flat = array.T if array.flags.f_contiguous else np.ascontiguousarray(array)
    try:
        return _digest(flat)
    except ValueError:  # a dtype that buffers do not know
        return _digest(flat.reshape(-1).view(np.uint8))


def operand(x: Any) -> Any:
    """A constant that is neither number, tensor nor plain array, as one of these.

    Raises
    ------
    DifferentiationError
        It is a masked array or a matrix, for which functions of the same name mean other things.
    """
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())
    if isinstance(x, (np.matrix, masked)):
        raise DifferentiationError(
            f"a {type(x).__name__} cannot take part in what is differentiated, because its "
            "operations differ from those of arrays; pass np.asarray(x)"
            + (" or x.filled(0), and the mask with where()" if isinstance(x, masked) else "")
        )
    return np.asarray(x) if isinstance(x, np.ndarray) else np.array(x)


def user_line() -> str:
    """``file:line`` of the innermost frame outside this package."""
    frame = user_frame()
    if frame is None:
        return "an unknown line"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
