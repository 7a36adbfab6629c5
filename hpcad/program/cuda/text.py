"""Pieces of CUDA C++ that several generators write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from hpcad.program.kernels.writer import Writer


@contextlib.contextmanager
def unrolled(text: Writer, head: str) -> Iterator[None]:
    """A loop whose trip count is constant: its arrays then live in registers."""
    text.add("#pragma unroll")
    with text.block(head):
        yield


def coordinates(
    text: Writer, kind: str, number: str, names: Sequence[str], extents: Sequence[int]
) -> None:
    """Declare the coordinates of a running number, the last of which runs fastest.

    Divisions are by constants, which compilers turn into products.
    """
    rest, divisor = number, 1
    for place in range(len(names) - 1, -1, -1):
        value = rest if divisor == 1 else f"{rest} / {divisor}"
        text.add(
            f"const {kind} {names[place]} = "
            + (value if place == 0 else f"{value} % {extents[place]}")
            + ";"
        )
        divisor *= extents[place]


def offset(strides: Sequence[int], names: Sequence[str]) -> str:
    """The place in an operand as a sum of products; ``0`` if it does not move."""
    terms = [
        name if stride == 1 else f"{name} * {stride}"
        for stride, name in zip(strides, names, strict=True)
        if stride != 0
    ]
    return " + ".join(terms) or "0"


def running(names: Sequence[str], extents: Sequence[int]) -> str:
    """The running number of coordinates, the last of which runs fastest."""
    number = "0"
    for name, extent in zip(names, extents, strict=True):
        number = name if number == "0" else f"({number} * {extent} + {name})"
    return number
