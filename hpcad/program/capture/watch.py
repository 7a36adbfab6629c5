"""Arrays that plain NumPy code may change behind the back of a capture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hpcad.autodiff.guard import fingerprint


class Watch:
    """Fingerprints of the arrays that a call uses.

    Parameters
    ----------
    before : Watch, optional
        Of the call before: what it used is as it was then, or the user has changed it between
        the calls; but if it changes before this call uses it, the function itself did that.
    """

    def __init__(self, before: Watch | None = None) -> None:
        self._seen: dict[int, tuple[np.ndarray, int]] = {}
        known = before._seen.values() if before is not None else ()
        self._expected = {id(array): (array, fingerprint(array)) for array, _ in known}

    def add(self, array: Any) -> bool:
        """Watch an array from now on; False if it has changed since the call began."""
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            return True
        digest = fingerprint(array)
        expected = self._seen.get(id(array)) or self._expected.get(id(array))
        self._seen[id(array)] = (array, digest)
        return expected is None or expected[1] == digest

    def arrays(self) -> Iterator[np.ndarray]:
        for array, _ in self._seen.values():
            yield array

    def changed(self) -> Iterator[np.ndarray]:
        """The arrays that are not as they were when the call first used them."""
        for array, digest in self._seen.values():
            if fingerprint(array) != digest:
                yield array
