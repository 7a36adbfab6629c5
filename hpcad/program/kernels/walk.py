"""Loops over several axes as over one number, so that threads can share them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hpcad.program.kernels.nest import Axis
from hpcad.program.kernels.writer import Writer


def walk(
    writer: Writer,
    axes: Sequence[Axis],
    span: tuple[str, str],
    names: tuple[str, str],
    operands: Mapping[int, str],
    body: Callable[[], None],
    first: int = 0,
) -> None:
    """Write the loop over ``span`` (begin, end) of all combinations of indices of ``axes``.

    In the body the pointers ``<new><operand>`` stand at the element, counted from
    ``<old><operand>``, where ``names`` is (old, new), and ``i<first>``, ``i<first + 1>``, ... are
    the indices. Divisions are needed only where the last index starts anew.
    """
    begin, end = span
    last = f"i{first + len(axes) - 1}"
    if not axes:
        head = "" if begin.isdigit() and end.isdigit() else f"if ({begin} < {end})"
    elif len(axes) == 1:
        head = f"for (long {last} = {begin}; {last} < {end}; {last}++)"
    else:
        _walk_several(writer, axes, span, names, operands, body, first)
        return
    with writer.block(head):
        point(writer, operands, *names, axes, first)
        body()


def _walk_several(
    writer: Writer,
    axes: Sequence[Axis],
    span: tuple[str, str],
    names: tuple[str, str],
    operands: Mapping[int, str],
    body: Callable[[], None],
    first: int,
) -> None:
    begin, end = span
    n, last, extent = f"n{first}", f"i{first + len(axes) - 1}", axes[-1].extent
    with writer.block(f"for (long {n} = {begin}; {n} < {end};)"):
        writer.add(f"long {last} = {n} % {extent};")
        unflatten(writer, axes[:-1], f"{n} / {extent}", first)
        writer.add(f"const long left{first} = {extent} - {last}, rest{first} = {end} - {n};")
        least = f"(left{first} < rest{first} ? left{first} : rest{first})"
        writer.add(f"const long stop{first} = {n} + {least};")
        with writer.block(f"for (; {n} < stop{first}; {n}++, {last}++)"):
            point(writer, operands, *names, axes, first)
            body()


def unflatten(writer: Writer, axes: Sequence[Axis], number: str, first: int = 0) -> None:
    """Write the indices ``i<first>``, ... of element ``number`` of the flattened axes."""
    rest = number
    for k in range(len(axes) - 1, 0, -1):
        writer.add(f"const long i{first + k} = {_paren(rest)} % {axes[k].extent};")
        rest = f"{_paren(rest)} / {axes[k].extent}"
    if axes:
        writer.add(f"const long i{first} = {rest};")


def point(
    writer: Writer,
    operands: Mapping[int, str],
    old: str,
    new: str,
    axes: Sequence[Axis],
    first: int = 0,
) -> None:
    """Write the pointers ``new<operand>``: ``old<operand>`` moved on by the indices."""
    for operand, kind in operands.items():
        steps = "".join(
            f" + i{first + k} * {axis.strides[operand]}L"
            for k, axis in enumerate(axes)
            if axis.strides[operand]
        )
        writer.add(f"{kind}const {new}{operand} = {old}{operand}{steps};")


def along_row(stride: int) -> str:
    """The subscript of element ``j`` of the row."""
    return {0: "0", 1: "j"}.get(stride, f"j * {stride}L")


def _paren(text: str) -> str:
    return f"({text})" if " " in text else text
