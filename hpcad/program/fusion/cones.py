"""Cones: what has to be computed, and loaded, to get one value inside of a loop nest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.half import is_half, named
from hpcad.primitives.shapes import axes_of
from hpcad.program.fusion.groups import (
    Group,
    Key,
    NodeSpec,
    Way,
    contiguous_through,
    layout_through,
)
from hpcad.program.instruction import Instruction, Value
from hpcad.program.kernels.scalars import (
    HALVES,
    OPERANDS,
    computed_in,
    cost,
    fusable,
    result_dtype,
)
from hpcad.program.views import Layout, Views

ROW_REDUCTIONS = {"sum": "row_sum", "max": "row_max", "min": "row_min"}
REDUCED = ("float32", "float64")
FINE = ("nextafter",)  # which depend on the precision that numbers are kept in
MOST_REPEATED = 64  # additions: what costs more to compute again is stored


class Barrier(Exception):  # noqa: N818  (a way out of the walk, and no error)
    """A value must be stored, because the loop cannot look through it."""

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


class Elementwise:
    """Which instructions kernels can hold.

    Parameters
    ----------
    views : Views
    """

    def __init__(self, views: Views) -> None:
        self.views = views
        self._known: dict[Instruction, NodeSpec | None] = {}

    def of(self, value: Value) -> Instruction | None:
        """The elementwise instruction that makes a value, if one does."""
        if value.origin != "result":
            return None
        instruction = value.source
        return instruction if self.node(instruction) is not None else None

    def node(self, instruction: Instruction) -> NodeSpec | None:
        """The node of an elementwise instruction, its arguments as values; None for others."""
        if instruction not in self._known:
            self._known[instruction] = _node_of(instruction)
        return self._known[instruction]


def _node_of(instruction: Instruction) -> NodeSpec | None:
    """What is said of half precision in :mod:`hpcad.program.kernels.scalars` is done here.

    The arguments keep their types; the node has the one that it is computed in.
    """
    if not isinstance(instruction.op, Primitive) or len(instruction.outs) != 1:
        return None
    name, out = instruction.name, instruction.out
    args = [a for a in instruction.args if a is not None]
    if len(args) != len(instruction.args) or out.size == 0:
        return None
    dtypes = _argument_dtypes(args)
    exponent = args[1] if name == "power" and isinstance(args[1], int) else None
    if dtypes is None or str(out.dtype) not in OPERANDS or set(instruction.params) - {"dtype"}:
        return None
    computed, dtype = [computed_in(d) for d in dtypes], computed_in(str(out.dtype))
    if not fusable(name, computed, exponent):
        return None
    if name.startswith("cast"):
        if str(out.dtype) in HALVES and dtypes[0] != str(out.dtype):
            name = f"round_{out.dtype}"
    elif result_dtype(name, computed) != dtype:
        return None
    if name in FINE and computed != dtypes:
        return None
    return NodeSpec(name, tuple(zip(args, dtypes, strict=True)), dtype)


def _argument_dtypes(args: list[Any]) -> list[str] | None:
    """The dtypes of arguments, Python numbers taking that of the arrays (NEP 50)."""
    arrays = [a.dtype for a in args if isinstance(a, Value)]
    numbers = [a.dtype for a in args if isinstance(a, Value) and a.dtype != np.bool_]
    found = []
    for arg in args:
        if isinstance(arg, Value):
            found.append(str(arg.dtype))
        elif isinstance(arg, (bool, int, float)) and arrays:
            dtype = _beside(arg, numbers or arrays)
            if dtype is None:
                return None
            found.append(dtype)
        else:
            return None
    return found


def _beside(number: Any, dtypes: list[Any]) -> str | None:
    """The dtype of a number beside arrays."""
    try:
        common = np.result_type(*dtypes)
        return str(common if is_half(common) else np.result_type(common, number))
    except (OverflowError, TypeError):  # out of range; types that have nothing in common
        return None


def row_reduction(instruction: Instruction) -> str | None:
    """The node of a reduction along the last axis, if it is one that kernels can hold."""
    found = reduced_axes(instruction)
    if found is None or found != (len(instruction.args[0].shape) - 1,):
        return None
    return ROW_REDUCTIONS[instruction.name]


def reduced_axes(instruction: Instruction) -> tuple[int, ...] | None:
    """The axes of a reduction that kernels can hold."""
    if instruction.name not in ROW_REDUCTIONS or not isinstance(instruction.args[0], Value):
        return None
    x = instruction.args[0]
    if x.dtype != instruction.out.dtype or computed_in(x.dtype.name) not in REDUCED:
        return None
    if x.size == 0 or not x.shape:
        return None
    axes = axes_of(instruction.params["axis"], len(x.shape))
    if instruction.name != "sum" and axes != (len(x.shape) - 1,):
        return None
    return axes or None


@dataclass
class Cone:
    """What a group needs for one more node.

    Attributes
    ----------
    nodes : dict
        New nodes, in an order in which they can be computed.
    loads : list of Value
        The values that are read from memory, old and new.
    stored : list of Value
        Values that another group computes and has to store.
    """

    nodes: dict[Key, NodeSpec] = field(default_factory=dict)
    loads: list[Value] = field(default_factory=list)
    stored: list[Value] = field(default_factory=list)


class ConeBuilder:
    """Finds cones.

    Parameters
    ----------
    elementwise : Elementwise
    in_memory : set of Value
        Values that are stored, or will be, because something other than a kernel reads them.
    computed : dict of Value to Group
        Where a value was computed first.
    """

    def __init__(
        self, elementwise: Elementwise, in_memory: set[Value], computed: dict[Value, Group]
    ) -> None:
        self.elementwise = elementwise
        self.views = elementwise.views
        self.in_memory = in_memory
        self.computed = computed

    def build(self, key: Key, extents: tuple[int, ...], group: Group | None) -> Cone:
        """The cone of one node, in a group or in a new one."""
        cone = Cone()
        known = group.nodes if group is not None else {}
        stack: list[tuple[Key, NodeSpec | None, Value | None]] = [(key, None, None)]
        while stack:
            key, spec, owner = stack.pop()
            if spec is not None:
                cone.nodes[key] = spec
                continue
            if key in known or key in cone.nodes:
                continue
            spec, arguments, owner = self._open(key, extents, cone, group, owner)
            if not arguments:
                cone.nodes[key] = spec
                continue
            stack.append((key, spec, owner))
            stack.extend((argument, None, owner) for argument in arguments)
        return cone

    def _open(
        self, key: Key, extents: tuple[int, ...], cone: Cone, group: Group | None,
        owner: Value | None,
    ) -> tuple[NodeSpec, tuple[Key, ...], Value | None]:  # fmt: skip
        """A node, the nodes it needs, and the value that is stored if the loop gets stuck."""
        value, way = key
        if not isinstance(value, Value):
            number, dtype = value
            return _literal(number, dtype), (), owner
        number = literal_number(value)
        if number is not None:
            return _literal(number, str(value.dtype)), (), owner
        instruction = None if value in self.in_memory else self.elementwise.of(value)
        if instruction is not None and not self._stored_elsewhere(value, group, cone):
            if way and owner is None:
                owner = value
            spec = self.elementwise.node(instruction)
            args = tuple(self.key(a, d, value, way) for a, d in spec.args)  # type: ignore[union-attr]
            return NodeSpec(spec.op, args, spec.dtype), args, owner  # type: ignore[union-attr]
        row = self._row(value, way, extents, group)
        if row is not None:
            argument = self.key(row.args[0], "", None, ())
            reduction, dtype = row_reduction(row), computed_in(str(value.dtype))
            return NodeSpec(reduction, (argument,), dtype), (argument,), owner  # type: ignore[arg-type]
        self._load(value, way, extents, cone, owner)
        return NodeSpec("load", (), computed_in(str(value.dtype))), (), owner

    def key(self, arg: Any, dtype: str, out: Value | None, way: Way) -> Key:
        """How the loop looks at an argument of something that it looks at in a certain way."""
        if not isinstance(arg, Value):
            return ((arg, dtype), ())
        base, path = self.views.origin(arg)
        whole: Way = path
        if out is not None and arg.shape != out.shape:
            whole = (*whole, out.shape)
        return (base, (*whole, *way))

    def _stored_elsewhere(self, value: Value, group: Group | None, cone: Cone) -> bool:
        """Whether to read a value that another group computed, rather than compute it again."""
        home = self.computed.get(value)
        if home is None or home is group:
            return False
        if self._is_cheap(value):
            return False
        cone.stored.append(value)
        return True

    def _is_cheap(self, value: Value) -> bool:
        """Whether it costs few operations, and reads no more memory than the value itself."""
        total, large, seen = 0, set(), set()
        stack = [value]
        while stack:
            here = stack.pop()
            if here in seen or literal_number(here) is not None:
                continue
            seen.add(here)
            instruction = None if here in self.in_memory else self.elementwise.of(here)
            if instruction is None:
                if 4 * here.size >= value.size:
                    large.add(here)
                continue
            total += cost(instruction.name)
            if total > MOST_REPEATED or len(large) > 1:
                return False
            stack += [self.views.origin(a)[0] for a in instruction.args if isinstance(a, Value)]
        return len(large) <= 1

    def _row(
        self, value: Value, way: Way, extents: tuple[int, ...], group: Group | None
    ) -> Instruction | None:
        """The reduction along the row that makes a value, if this loop can hold it."""
        if value.origin != "result" or value in self.in_memory:
            return None
        home = self.computed.get(value)
        instruction = value.source
        if (home is not None and home is not group) or row_reduction(instruction) is None:
            return None
        if instruction.args[0].shape != extents:
            return None
        seen = contiguous_through(value, way)
        natural = Layout.contiguous(value.shape, value.dtype)
        expected = (*natural.strides, 0)
        if seen is None or seen.shape not in (extents, (*value.shape, 1)):
            return None
        pairs = zip(seen.shape, seen.strides, expected, strict=True)
        return instruction if all(n == 1 or s == e for n, s, e in pairs) else None

    def _load(
        self, value: Value, way: Way, extents: tuple[int, ...], cone: Cone, owner: Value | None
    ) -> None:
        seen = contiguous_through(value, way)
        if seen is not None:
            try:
                seen.broadcast(extents)
            except ValueError:
                seen = None
        if seen is None:
            if owner is None:
                raise ValueError(f"{value} cannot be looked at by {way}")
            raise Barrier(owner)
        cone.loads.append(value)
        if value.origin == "result" and value not in self.in_memory:
            cone.stored.append(value)


def _literal(number: Any, dtype: str) -> NodeSpec:
    """A constant; one of half precision is rounded, as NumPy rounds it."""
    if dtype in HALVES:
        with np.errstate(over="ignore", under="ignore"):
            number = float(np.asarray(number, named(dtype)))
    return NodeSpec("literal", (), computed_in(dtype), number)


def literal_number(value: Value) -> Any:
    """The number that a literal of one element is, else None."""
    if value.origin == "literal" and value.size == 1 and isinstance(value.source, np.ndarray):
        return value.source.reshape(())[()].item()
    return None


def broadcast_layout(layout: Layout, way: Way, extents: tuple[int, ...]) -> Layout:
    """A layout as the loop sees it."""
    seen = layout_through(layout, way)
    if seen is None:
        raise ValueError(f"a layout {layout} cannot be looked at by {way}")
    return seen.broadcast(extents)
