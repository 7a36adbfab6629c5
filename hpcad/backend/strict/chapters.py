"""NumPy's functions under the names of a module, for device arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from hpcad.backend.strict import dispatch, indexing, tables

_KEPT = tables.names(  # of NumPy's own, which CuPy passes on
    "broadcast_shapes can_cast errstate finfo iinfo isdtype issubdtype "
    "isscalar iterable promote_types s_ index_exp ndindex dtype typename"
)


class Chapter:
    """A module of NumPy's or SciPy's, whose functions become work of the device.

    Parameters
    ----------
    name : str
    module : module
    lacking : collection of str
        Functions that CuPy does not have.
    has : collection of str, optional
        All that it has.
    """

    def __init__(
        self, name: str, module: Any, lacking: Collection[str], has: Collection[str] | None = None
    ) -> None:
        self.__name__ = f"the strict device's {name}"
        self._module, self._lacking, self._has = module, lacking, has
        self._found: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return self.find(name)

    def find(self, name: str) -> Any:
        """What the module has under a name.

        Raises
        ------
        AttributeError
            CuPy has no such function.
        """
        if name in self._found:
            return self._found[name]
        missing = name in self._lacking or (self._has is not None and name not in self._has)
        if name.startswith("__") or missing or not hasattr(self._module, name):
            raise AttributeError(f"{self.__name__} has no {name!r}: CuPy has none")
        theirs = getattr(self._module, name)
        if isinstance(theirs, np.ufunc):
            theirs = Ufunc(theirs)
        elif name not in _KEPT and isinstance(theirs, _FUNCTIONS):
            theirs = _work(theirs)
        self._found[name] = theirs
        return theirs


class Ufunc:
    """A ufunc for device arrays, with those of its methods that CuPy has.

    Parameters
    ----------
    theirs : numpy.ufunc
    """

    def __init__(self, theirs: np.ufunc) -> None:
        self._theirs = theirs
        self.__name__, self.__doc__ = theirs.__name__, theirs.__doc__
        self.nin, self.nout = theirs.nin, theirs.nout

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        nin = self.nin
        if len(args) > nin:  # outputs may stand behind the inputs
            args, kwargs = args[:nin], kwargs | {"out": args[nin]}
        return self._apply("__call__", args, kwargs)

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        """All pairs."""
        return self._apply("outer", (a, b), kwargs)

    def reduce(self, *args: Any, **kwargs: Any) -> Any:
        """Along an axis."""
        return self._apply("reduce", args, kwargs)

    def accumulate(self, *args: Any, **kwargs: Any) -> Any:
        """Along an axis, with all intermediate results."""
        return self._apply("accumulate", args, kwargs)

    def reduceat(self, *args: Any, **kwargs: Any) -> Any:
        """Along an axis, in pieces."""
        return self._apply("reduceat", args, kwargs)

    def at(self, a: Any, indices: Any, *b: Any) -> None:
        """In place, at indices that may be repeated."""
        indexing.at(self._theirs, a, indices, *b)

    def _apply(self, method: str, args: Any, kwargs: Any) -> Any:
        out = kwargs.get("out")
        if out is None:
            kwargs.pop("out", None)
        elif not isinstance(out, tuple):
            kwargs["out"] = (out,)
        found = dispatch.ufunc(self._theirs, method, args, kwargs)
        if found is NotImplemented:
            raise TypeError(
                f"{self.__name__}: Unsupported type among {[type(x).__name__ for x in args]}; "
                "move host data with asarray() first"
            )
        return found


_FUNCTIONS = (FunctionType, BuiltinFunctionType, type(np.sum))


def _work(theirs: Any) -> Callable[..., Any]:
    """The function for device arrays."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return dispatch.call(theirs, args, kwargs)

    function.__name__, function.__doc__ = theirs.__name__, theirs.__doc__
    return function
