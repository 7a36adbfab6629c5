"""Trees of tensors of a tape, kept without holding the tape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.pytree import Structure, flatten
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import CONSTANT, Tensor, twin


@dataclass(frozen=True)
class _Tracked:
    """A tensor of the tape."""

    value: Any
    slot: int


@dataclass(frozen=True)
class _Fixed:
    """A constant tensor."""

    value: Any


@dataclass(frozen=True)
class _Paired:
    """A dual tensor."""

    trace: Any
    value: Any
    tangent: Any


@dataclass(frozen=True)
class Sealed:
    """A pytree whose tensors of one tape are stored as values and slots.

    Stored tensors would own the tape, which owns what is stored: such a ring would keep its
    arrays until the garbage collector comes.
    """

    leaves: list[Any]
    structure: Structure

    def open(self, tape: Tape) -> Any:
        """The tree as it was, in tensors of its own."""
        return self.structure.build(
            [_map(x, lambda t: Tensor(t.value, tape, t.slot, tape.level)) for x in self.leaves]
        )

    def enter(self, tape: Tape) -> tuple[Any, list[tuple[Tensor, int]]]:
        """The tree with new inputs of the tape in place of its tensors; those, and their slots."""
        entered: list[tuple[Tensor, int]] = []

        def enter(t: _Tracked) -> Tensor:
            x = Tensor(t.value, tape, tape._new_slot(t.value), tape.level)
            entered.append((x, x.slot))
            return x

        return self.structure.build([_map(x, enter) for x in self.leaves]), entered

    def values(self) -> list[Any]:
        """The values of the tensors, and the other leaves, in order."""
        return [value for leaf in self.leaves for value in _values(leaf)]

    def with_values(self, values: Iterable[Any]) -> Sealed:
        """Such a tree with other values; see :meth:`values`."""
        rest = iter(values)
        return Sealed([_with_values(leaf, rest) for leaf in self.leaves], self.structure)


def seal(tree: Any, tape: Tape) -> Sealed:
    leaves, structure = flatten(tree)
    return Sealed([_seal(x, tape) for x in leaves], structure)


def tensors_of(tree: Any, tape: Tape) -> list[Tensor]:
    """The tensors of the tape in a tree, in order; those inside of dual tensors, too."""
    return [t for leaf in flatten(tree)[0] for t in _tensors(leaf, tape)]


def _tensors(x: Any, tape: Tape) -> Iterator[Tensor]:
    if isinstance(x, Tensor) and hasattr(x, "tangent"):
        yield from _tensors(x.value, tape)
        yield from _tensors(x.tangent, tape)
    elif isinstance(x, Tensor) and x.follower is tape:
        yield x


def _seal(x: Any, tape: Tape) -> Any:
    # Assignment changes the tensor object, so none but parameters is stored or given out itself.
    if not isinstance(x, Tensor) or isinstance(x, Parameter):
        return x
    if hasattr(x, "tangent"):
        return _Paired(x.follower, _seal(x.value, tape), _seal(x.tangent, tape))
    if x.follower is tape:
        return _Tracked(x.value, x.slot)
    return _Fixed(x.value) if x.level == CONSTANT else twin(x)


def _values(x: Any) -> Iterator[Any]:
    if isinstance(x, _Paired):
        yield from _values(x.value)
        yield from _values(x.tangent)
    else:
        yield x.value if isinstance(x, _Tracked | _Fixed) else x


def _with_values(x: Any, values: Iterator[Any]) -> Any:
    if isinstance(x, _Paired):
        return _Paired(x.trace, _with_values(x.value, values), _with_values(x.tangent, values))
    value = next(values)
    if isinstance(x, _Tracked):
        return _Tracked(value, x.slot)
    return _Fixed(value) if isinstance(x, _Fixed) else value


def _map(x: Any, function: Any) -> Any:
    if isinstance(x, _Tracked):
        return function(x)
    if isinstance(x, _Paired):
        return x.trace.input(_map(x.value, function), _map(x.tangent, function))
    return Tensor(x.value) if isinstance(x, _Fixed) else twin(x)
