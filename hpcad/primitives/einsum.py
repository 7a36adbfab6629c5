"""Einstein summation of any number of arrays, as a sequence of contractions of two.

``numpy.einsum_path`` finds an order with few operations, once for all arrays of the same shapes.
Each step is a :data:`~hpcad.primitives.contraction.contract`, so derivatives pass through the
same order of steps, and every sum of products is a GEMM.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from hpcad.errors import ShapeError
from hpcad.primitives import reduction
from hpcad.primitives.contraction import LETTERS, contract, diagonal
from hpcad.primitives.elementwise import cast
from hpcad.primitives.layout import reshape, transpose
from hpcad.primitives.shapes import as_array

Term = tuple[Any, str]  # an array and the labels of its axes
SEARCHED = 5  # arrays up to which every order is tried


def einsum(*operands: Any, optimize: Any = True) -> Any:
    """Evaluate the Einstein summation convention.

    Parameters
    ----------
    *operands
        ``einsum("ij,jk->ik", a, b)``, or with lists of integers, ``einsum(a, [0, 1], b, [1, 2],
        [0, 2])``. Without an arrow the answer has the labels that occur once, in alphabetical
        order. ``...`` stands for axes that are broadcast; a label twice in one term takes a
        diagonal; a length of 1 is broadcast.
    optimize : bool, str or path
        The order of the products: True for the best of all orders of up to five arrays, and a
        greedy choice for more; False for left to right; else as in ``numpy.einsum_path``.

    Returns
    -------
    array
    """
    terms, out = parse(operands)
    dtype = np.result_type(*(x.dtype for x, _ in terms))
    sizes = _sizes(terms)
    missing = set(out) - set(sizes)
    if missing or len(set(out)) < len(out):
        raise ShapeError(
            f"einsum: the answer has labels {out!r}; each must occur there once, and in a term"
        )
    terms = [_distinct(x, labels, sizes) for x, labels in terms]
    for several in _path(terms, out, optimize):
        taken = [terms.pop(i) for i in sorted(several, reverse=True)][::-1]
        terms.append(_together(taken, terms, out))
    answer, labels = _summed(*terms[0], keep=set(out))
    if labels != out:
        answer = transpose(answer, [labels.index(label) for label in out])
    return answer if answer.dtype == dtype else cast(answer, dtype=dtype)


def parse(operands: Sequence[Any]) -> tuple[list[Term], str]:
    """Terms and labels of the answer, with letters in place of ellipses."""
    if not operands:
        raise ShapeError("einsum needs a string of subscripts and arrays")
    if isinstance(operands[0], str):
        inputs, arrow, out = operands[0].replace(" ", "").partition("->")
        subscripts: list[str] = inputs.split(",")
        arrays = list(operands[1:])
        explicit = out if arrow else None
    else:
        pairs = len(operands) // 2
        subscripts = [_from_list(given) for given in operands[1 : 2 * pairs : 2]]
        arrays = list(operands[: 2 * pairs : 2])
        explicit = _from_list(operands[-1]) if len(operands) % 2 else None
    if len(subscripts) != len(arrays):
        raise ShapeError(f"einsum: {len(subscripts)} terms in the subscripts, {len(arrays)} arrays")
    arrays = [as_array(x) for x in arrays]
    counts = tuple(len(x.shape) for x in arrays)
    labels, out = _letters(tuple(subscripts), explicit, counts)
    return list(zip(arrays, labels, strict=True)), out


@lru_cache(maxsize=1024)
def _letters(
    subscripts: tuple[str, ...], explicit: str | None, ndims: tuple[int, ...]
) -> tuple[list[str], str]:
    """The labels of every axis of the terms and of the answer."""
    _check_letters(subscripts, explicit)
    counts = [_ellipsis_axes(labels, n) for labels, n in zip(subscripts, ndims, strict=True)]
    used = set("".join(subscripts)) | set(explicit or "")
    free = [label for label in LETTERS if label not in used]
    dots = "".join(free[: max(counts)])
    filled = [
        labels.replace("...", dots[len(dots) - count :])
        for labels, count in zip(subscripts, counts, strict=True)
    ]
    if explicit is None:
        flat = "".join(subscripts).replace("...", "")
        explicit = "..." + "".join(sorted(c for c in set(flat) if flat.count(c) == 1))
    elif "..." not in explicit and dots:
        raise ShapeError("einsum: the terms have an ellipsis, so the answer needs one, too")
    return filled, explicit.replace("...", dots)


def _from_list(labels: Sequence[Any]) -> str:
    return "".join("..." if label is Ellipsis else LETTERS[label] for label in labels)


def _check_letters(subscripts: Sequence[str], explicit: str | None) -> None:
    for labels in (*subscripts, explicit or ""):
        rest = labels.replace("...", "", 1)
        if not all(label in LETTERS for label in rest):
            raise ShapeError(f"einsum: labels are letters, with one '...' at most; got {labels!r}")


def _ellipsis_axes(labels: str, ndim: int) -> int:
    named = len(labels.replace("...", ""))
    if named > ndim or (named < ndim and "..." not in labels):
        raise ShapeError(f"einsum: the labels {labels!r} do not fit an array of {ndim} axes")
    return ndim - named


def _sizes(terms: Sequence[Term]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for x, labels in terms:
        for label, size in zip(labels, x.shape, strict=True):
            known = sizes.get(label, 1)
            if known != size and 1 not in (known, size):
                raise ShapeError(f"einsum: label {label!r} has lengths {known} and {size}")
            sizes[label] = size if known == 1 else known
    return sizes


def _distinct(x: Any, labels: str, sizes: dict[str, int]) -> Term:
    """Without the axes that broadcast, and with the diagonal in place of two equal labels."""
    kept = [i for i, label in enumerate(labels) if x.shape[i] == sizes[label]]
    if len(kept) < len(labels):
        x = reshape(x, [x.shape[i] for i in kept])
        labels = "".join(labels[i] for i in kept)
    for label in sorted(set(labels)):
        while labels.count(label) > 1:
            first, second = labels.index(label), labels.rindex(label)
            rest = [i for i in range(len(labels)) if i not in (first, second)]
            x = diagonal(transpose(x, [*rest, first, second]))
            labels = "".join(labels[i] for i in rest) + label
    return x, labels


def _path(terms: Sequence[Term], out: str, optimize: Any) -> Sequence[Sequence[int]]:
    """Which terms to multiply next; the product becomes the last term."""
    if len(terms) < 3 or optimize is False:
        return [tuple(range(len(terms)))]
    how = optimize
    if how is True:
        how = "optimal" if len(terms) <= SEARCHED else "greedy"
    subscripts = ",".join(labels for _, labels in terms) + "->" + out
    shapes = tuple(tuple(x.shape) for x, _ in terms)
    return _numpy_path(subscripts, shapes, how if isinstance(how, str) else tuple(how))


@lru_cache(maxsize=1024)
def _numpy_path(subscripts: str, shapes: tuple[tuple[int, ...], ...], how: Any) -> Any:
    """NumPy looks at the shapes alone, so the arrays need no memory."""
    hollow = [np.broadcast_to(np.float64(0), shape) for shape in shapes]
    given = list(how) if how[0] == "einsum_path" else how
    return np.einsum_path(subscripts, *hollow, optimize=given)[0][1:]


def _together(taken: Sequence[Term], others: Sequence[Term], out: str) -> Term:
    """The product of the taken terms, summed over what nobody else needs."""
    outside = set(out).union(*(labels for _, labels in others))
    x, labels = taken[0]
    for i in range(1, len(taken)):
        y, more = taken[i]
        later = outside.union(*(other for _, other in taken[i + 1 :]))
        x, labels = _summed(x, labels, keep=later | set(more))
        y, more = _summed(y, more, keep=later | set(labels))
        both = labels + "".join(label for label in more if label not in labels)
        last = not others and i == len(taken) - 1
        kept = out if last else "".join(label for label in both if label in later)
        x = contract(x, y, left=labels, right=more, out=kept)
        labels = kept
    return x, labels


def _summed(x: Any, labels: str, keep: set[str]) -> Term:
    axes = tuple(i for i, label in enumerate(labels) if label not in keep)
    if axes:
        x = reduction.sum(x, axis=axes)
        labels = "".join(label for label in labels if label in keep)
    return x, labels
