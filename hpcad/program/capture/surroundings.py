"""What a function refers to by name, and whether it still is what it was.

A program keeps what it has met: the model that a global name stood for, an attribute
``self.scale``, the numbers in a list. Names in the code of the function, and of the user's
functions that those names lead to, tell where to look: globals, variables of enclosing functions,
attributes of objects, elements of short lists and dicts, arrays in constant tensors. (Attributes
of modules are watched by themselves.) What is reached in another way, through ``getattr`` or in
long containers, goes unseen.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import is_
from typing import Any

from hpcad.autodiff.conversion import CONSTANT
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.tensor import Tensor

LONGEST = 32  # elements of a list or dict that is looked into
MOST = 500  # things to look at
_NOTHING = object()
_NUMBERS = (bool, int, float, complex, str, bytes, type(None))
_OTHERS = {"hpcad", "numpy", "builtins", *sys.stdlib_module_names}  # whose functions never change


class Surroundings:
    """References of a function as they are now.

    Parameters
    ----------
    function : callable
    arguments : list
        Leaves of its arguments, whose attributes it may use.
    """

    def __init__(self, function: Any, arguments: list[Any]) -> None:
        self.places: list[tuple[Callable[..., Any], str, Any]] = []
        self.cells: list[tuple[Any, str, Any]] = []
        self.tensors: list[tuple[Tensor, Any]] = []
        self.containers: list[tuple[Callable[[], Iterable[Any]], list[Any]]] = []
        self._names: set[str] = set()
        self._seen: dict[int, Any] = {}
        self._objects: list[Any] = []
        self._guarded: set[tuple[int, str]] = set()
        for thing in (function, *arguments):
            self._meet(thing)
        before = -1
        while before != (before := len(self._names) + len(self._seen)) and self._size() < MOST:
            for thing in list(self._objects):
                self._look_into(thing)

    def changed(self) -> str | None:
        """What is no longer as it was, in words."""
        for get, name, value in self.places:
            if (now := get(name, _NOTHING)) is not value and not _equal(now, value):
                return f"{name!r} refers to something else"
        for cell, name, value in self.cells:
            if (now := _content(cell)) is not value and not _equal(now, value):
                return f"{name!r} refers to something else"
        for tensor, array in self.tensors:
            if tensor.value is not array:
                return f"a tensor of shape {tuple(tensor.shape)} was assigned to"
        for elements, known in self.containers:
            held = list(elements())
            if len(held) != len(known) or not all(map(is_, held, known)):
                return f"a list or dict of {len(known)} was changed"
        return None

    # -- finding references -------------------------------------------------------------------

    def _size(self) -> int:
        return len(self.places) + len(self.cells) + len(self.tensors)

    def _meet(self, thing: Any) -> None:
        """Something that a name stands for."""
        if id(thing) in self._seen or isinstance(thing, (*_NUMBERS, types.ModuleType)):
            return
        self._seen[id(thing)] = thing
        self._meet(getattr(thing, "__dict__", {}).get("__wrapped__"))
        if isinstance(thing, functools.partial):
            for part in (thing.func, *thing.args, *thing.keywords.values()):
                self._meet(part)
        elif isinstance(thing, types.MethodType):
            self._meet(thing.__self__)
            self._meet(thing.__func__)
        elif isinstance(thing, types.FunctionType):
            self._read(thing)
        elif isinstance(thing, Tensor):
            if thing.level == CONSTANT and not isinstance(thing, Parameter):
                self.tensors.append((thing, thing.value))
        elif isinstance(thing, (list, dict)):
            if len(thing) <= LONGEST:
                elements = thing.values if isinstance(thing, dict) else thing.__iter__
                self.containers.append((elements, list(elements())))
                self._meet_all(list(elements()))
        elif isinstance(thing, tuple):
            self._meet_all(thing)
        elif _is_module(thing) or all(map(_is_users, _kinds(thing))):
            self._objects.append(thing)

    def _meet_all(self, things: Any) -> None:
        for thing in things:
            self._meet(thing)

    def _read(self, function: types.FunctionType) -> None:
        """Names in the code of a function of the user's."""
        if not _is_users(function):
            return
        names = set(_names(function.__code__))
        self._names |= names
        for name in names & function.__globals__.keys():
            self._guard(function.__globals__, name)
        free = function.__code__.co_freevars
        for name, cell in zip(free, function.__closure__ or (), strict=True):
            self.cells.append((cell, name, _content(cell)))
            self._meet(_content(cell))
        self._meet_all(function.__defaults__ or ())
        self._meet_all((function.__kwdefaults__ or {}).values())

    def _look_into(self, thing: Any) -> None:
        """Attributes of an object that some name could mean."""
        own = vars(thing) if hasattr(thing, "__dict__") else {}
        if _is_module(thing):
            self._meet_all(list(own.values()))
        elif not isinstance(thing, type):
            for name in self._names & own.keys():
                self._guard(own, name)
        for kind in filter(_is_users, _kinds(thing)):
            for name in (self._names | {"__call__", "forward"}) & vars(kind).keys():
                found = vars(kind)[name]
                self._guard(vars(kind), name)
                if own is not vars(kind) and name not in own and not _is_module(thing):
                    self._guard(own, name)  # an attribute of its own would hide that of the class
                self._meet(getattr(found, "__func__", getattr(found, "fget", found)))

    def _guard(self, place: Mapping[str, Any], name: str) -> None:
        value = place.get(name, _NOTHING)
        if (id(place), name) in self._guarded or isinstance(value, types.ModuleType):
            return
        self._guarded.add((id(place), name))
        if not isinstance(value, (type, types.FunctionType)) or _is_users(value):
            self.places.append((place.get, name, value))
            self._meet(value)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty: it is assigned to later
        return _NOTHING


def _kinds(thing: Any) -> list[type]:
    kind = thing if isinstance(thing, type) else type(thing)
    return [each for each in kind.__mro__ if each is not object]


def _is_users(thing: Any) -> bool:
    """Whether a class or function is none of this package, of NumPy or of Python."""
    module = getattr(thing, "__module__", None) or ""
    return module.partition(".")[0] not in _OTHERS


def _is_module(thing: Any) -> bool:
    return any(kind.__module__ == "hpcad.nn.module" for kind in _kinds(thing))


def _equal(a: Any, b: Any) -> bool:
    """Whether two things are the same number or text; of other things only identity counts."""
    return type(a) is type(b) and isinstance(a, _NUMBERS) and repr(a) == repr(b)
