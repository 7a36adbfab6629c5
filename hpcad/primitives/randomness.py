"""Random numbers as a primitive, so that a program draws anew whenever it runs.

They are a function (:mod:`hpcad.backend.random`): of a key, the global ids of samples, and the
number of the step. Ids and step are arguments like other arrays; the key is a parameter.
"""

from __future__ import annotations

from typing import Any

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import get_backend, to_host
from hpcad.backend.random import Key, rows_of


def _uniform_rows(
    ids: Any, step: Any, *, key: Key, width: int, dtype: Any, device: str = "cpu"
) -> Any:
    """Uniform numbers in [0, 1) of samples, independent of who computes them.

    Parameters
    ----------
    ids : array of int, shape (n,)
        Global sample ids.
    step : int or array of int, shape ()
    key : two integers below 2**32
        Of a :class:`~hpcad.backend.Stream`.
    width : int
        Numbers per sample.
    dtype : dtype
    device : str
        Where they are wanted; see :func:`hpcad.backend.get_backend`.

    Returns
    -------
    array, shape (n, width)
    """
    return get_backend(device).asarray(rows_of(key, to_host(ids), width, dtype, int(step)))


uniform_rows = Primitive(
    "uniform_rows",
    _uniform_rows,
    lambda ids, _step, *, width, **_: (*ids, width),
    constant=True,
)
