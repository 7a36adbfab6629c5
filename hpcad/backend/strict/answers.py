"""What functions on device arrays return: views of what was given, or new arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.backend.strict.known import current_stream
from hpcad.backend.strict.memory import MemoryPointer
from hpcad.backend.strict.work import enqueue

if TYPE_CHECKING:
    from hpcad.backend.strict.arrays import ndarray


def answer_of(name: str, again: Callable[[], Any], answer: Any, inputs: list[Any]) -> Any:
    """The answer as device arrays: views of the arguments, or new ones that the work fills."""
    flat: list[Any] = []
    build = _flatten(answer, flat)
    out: list[Any] = []
    fresh: list[int] = []
    for i, x in enumerate(flat):
        source = next((y for y in inputs if _is_view(x, y)), None)
        if source is not None:
            out.append(view_of(source, x))
        elif isinstance(x, np.ndarray | np.generic) or type(x) in _NUMBERS:
            fresh.append(i)
            out.append(new_like(np.asarray(x)))
        else:
            out.append(x)
    if any(out[i].size for i in fresh):  # for nothing, no kernel is launched
        _fill(name, again, flat, out, fresh, inputs)
    return build(iter(out))


def _fill(
    name: str, again: Callable[[], Any], flat: Any, out: Any, fresh: list[int], inputs: list[Any]
) -> None:
    """One piece of work that writes all new arrays."""
    targets = {i: out[i].raw for i in fresh}
    capturing = current_stream().capture is not None

    def run() -> None:
        found = flat
        if capturing:
            found = []
            _flatten(again(), found)
        for i, target in targets.items():
            target[...] = found[i]

    reads, writes = [x.span() for x in inputs], [out[i].span() for i in fresh]
    enqueue(name, reads, writes, run)


_NUMBERS = (bool, int, float, complex)


def _flatten(answer: Any, flat: list[Any]) -> Callable[[Any], Any]:
    """Append the parts of an answer; return what builds it again from others."""
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        parts = [_flatten(each, flat) for each in answer]
        return lambda found: type(answer)(*[part(found) for part in parts])
    if type(answer) in (tuple, list):
        parts = [_flatten(each, flat) for each in answer]
        return lambda found: type(answer)([part(found) for part in parts])
    flat.append(answer)
    return next


def _is_view(x: Any, source: ndarray) -> bool:
    if not isinstance(x, np.ndarray) or x.size == 0 or source.size == 0:
        return False
    address: int = x.ctypes.data
    memory = source.data.mem
    return memory.ptr <= address < memory.ptr + max(memory.size, 1)


def view_of(source: ndarray, raw: np.ndarray) -> ndarray:
    """A device array of the same memory, seen as ``raw`` sees the storage."""
    array: Any = object.__new__(type(source))
    array.base = source
    memory = source.data.mem
    address = raw.ctypes.data if raw.size else source.data.ptr
    array.data = MemoryPointer(memory, address - memory.ptr)
    array._lie(raw.shape, raw.dtype, array.data, raw.strides)
    return array


def new_like(like: np.ndarray) -> ndarray:
    """A new array of that shape, type and order of axes."""
    from hpcad.backend.strict.arrays import ndarray

    if like.flags.c_contiguous or not like.flags.f_contiguous:
        return ndarray(like.shape, like.dtype)
    return ndarray(like.shape, like.dtype, order="F")
