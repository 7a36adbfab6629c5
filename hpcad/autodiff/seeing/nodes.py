"""The nodes of a graph, made of the records of a tape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpcad.autodiff.options import options_text
from hpcad.autodiff.seeing.recording import Note, Recorded
from hpcad.autodiff.seeing.source import NOWHERE, Line
from hpcad.autodiff.tape import NO_SLOT, Record, as_tuple
from hpcad.autodiff.tensor import Tensor, value_of

KINDS = ("input", "parameter", "constant", "operation")
# Operations that compute nothing.
# fmt: off
MOVES = frozenset({
    "broadcast_to", "cast", "concatenate", "copy", "flip", "from_matrix_diagonal", "getitem",
    "imag", "index_set", "matrix_diagonal", "pad_zeros", "pick", "real", "rearrange", "reshape",
    "resize", "roll", "scatter", "split", "take_rows", "transpose", "tril", "triu", "unpool",
    "unstack", "where",
})
# fmt: on


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes
    ----------
    number : int
        Its place among the nodes; the node is called ``v<number>``.
    kind : str
        One of ``KINDS``.
    name : str
        Of the operation, argument or parameter.
    operands : tuple
        The arguments in order: the number of a node, or the text of a constant that is not an
        array.
    shapes, dtypes : tuple
        Of the answers (most operations have one).
    bytes : int
        Of the answers; 0 for a view of an argument.
    flops : int
        Of the GEMMs that it ran; where there were none, one per element of the largest array that
        it touched (0 where numbers are only moved).
    options : str
        Keyword arguments.
    line : Line
    results : tuple of str
        Which results of the function it is.
    """

    number: int
    kind: str
    name: str
    operands: tuple[int | str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    dtypes: tuple[str, ...] = ()
    bytes: int = 0
    flops: int = 0
    options: str = ""
    line: Line = NOWHERE
    results: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[int]:
        """Numbers of the nodes that it was computed from."""
        return [x for x in self.operands if isinstance(x, int)]

    @property
    def call(self) -> str:
        """The operation with its arguments."""
        if self.kind != "operation":
            return f"{self.kind} {self.name}".rstrip()
        parts = [f"v{x}" if isinstance(x, int) else x for x in self.operands]
        return f"{self.name}({', '.join(parts + ([self.options] if self.options else []))})"

    @property
    def types(self) -> str:
        shown = [f"{d}{list(s)}" for s, d in zip(self.shapes, self.dtypes, strict=True)]
        same = len(shown) > 1 and len(set(shown)) == 1
        return f"{len(shown)} x {shown[0]}" if same else ", ".join(shown)


def nodes_of(run: Recorded) -> list[Node]:
    """Inputs, parameters and constants, and a node for each record."""
    return _Builder(run).nodes


class _Builder:
    def __init__(self, run: Recorded) -> None:
        self.nodes: list[Node] = []
        self._of_slot: dict[int, int] = {}
        self._of_constant: dict[int, int] = {}
        for name, tensor in run.inputs:
            self._of_slot[tensor.slot] = self._source("input", name, tensor.value)
        for parameter, tensor in run.tape.parameters:
            self._of_slot[tensor.slot] = self._source("parameter", parameter.name, tensor.value)
        for row, note in zip(run.tape.records, run.tape.notes, strict=True):
            self._operation(row, note)
        for name, value in run.outputs:
            if isinstance(value, Tensor) and value.follower is run.tape:
                i = self._of_slot[value.slot]
                self.nodes[i] = replace(self.nodes[i], results=(*self.nodes[i].results, name))

    def _source(self, kind: str, name: str, value: Any) -> int:
        return self._append(kind, name, [value_of(value)], bytes=value_of(value).nbytes)

    def _append(self, kind: str, name: str, answers: Sequence[Any], **rest: Any) -> int:
        shapes = tuple(tuple(a.shape) for a in answers)
        dtypes = tuple(str(a.dtype) for a in answers)
        node = Node(len(self.nodes), kind, name, shapes=shapes, dtypes=dtypes, **rest)
        self.nodes.append(node)
        return node.number

    def _operation(self, row: Record, note: Note) -> None:
        primitive, out, ins, _, args, _, params = row
        operands = tuple(
            self._of_slot[slot] if slot != NO_SLOT else self._constant(value_of(arg))
            for slot, arg in zip(ins, args, strict=True)
        )
        answers = [value_of(a) for a in note.answers]
        arrays = [a for a in map(value_of, args) if hasattr(a, "nbytes")]
        view = all(any(_shares(a, b) for b in arrays) for a in answers)
        free = view or primitive.name in MOVES
        most = max((math.prod(a.shape) for a in [*answers, *arrays]), default=0)
        number = self._append(
            "operation",
            primitive.name,
            answers,
            operands=operands,
            bytes=0 if view else sum(a.nbytes for a in answers),
            flops=note.gemm_flops or (0 if free else most),
            options=options_text(params),
            line=note.line,
        )
        self._of_slot.update((slot, number) for slot in as_tuple(out))

    def _constant(self, value: Any) -> int | str:
        """An array is a node; a number, an index or nothing is part of the call."""
        if not hasattr(value, "nbytes") or not value.shape:
            return shortened(str(value))
        if id(value) not in self._of_constant:  # the tape keeps it alive, and so its id
            self._of_constant[id(value)] = self._source("constant", "", value)
        return self._of_constant[id(value)]


def _shares(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(np.may_share_memory(a, b))


def shortened(text: str, length: int = 24) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def captions(node: Node) -> tuple[str, str, str]:
    """What a drawing says in a node: its name, its type and size, its cost and line."""
    arrow = f" \u2192 {', '.join(node.results)}" if node.results else ""
    if node.kind != "operation":
        return (node.name or node.kind) + arrow, node.types, size(node.bytes)
    parts = ["\u00b7" if isinstance(x, int) else x for x in node.operands]
    parts = (parts if len(parts) > len(node.inputs) else []) + [node.options] * bool(node.options)
    extra = ", ".join(parts)
    name = node.name + (f" ({shortened(extra)})" if extra else "") + arrow
    cost = f"{count(node.flops)} FLOP" if node.flops else "view" if not node.bytes else ""
    return name, f"{node.types}, {size(node.bytes)}", f"{cost}, {node.line.short}".strip(", ")


def size(number: int) -> str:
    """Bytes in words."""
    return _scaled(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def count(number: int) -> str:
    """A count, shortened: 1234567 is 1.23 M."""
    return _scaled(number, 1000, ("", "k", "M", "G", "T", "P")).rstrip()


def _scaled(number: int, base: int, units: Sequence[str]) -> str:
    power = 0
    value = float(number)
    while value >= base and power < len(units) - 1:
        value, power = value / base, power + 1
    shown = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return f"{number} {units[0]}" if power == 0 else f"{shown} {units[power]}"
