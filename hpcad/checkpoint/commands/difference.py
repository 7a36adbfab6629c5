"""`hpcad ckpt diff`: where two checkpoints differ, and by how much."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.checkpoint.commands.inspection import chosen
from hpcad.checkpoint.reading.reader import Reader, open_checkpoint

DIFFERENT = 1  # the exit code, as of diff(1)
_BLOCK = 1 << 20  # elements that are compared at once
_SHOWN = 40  # characters of a value


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart.

    Attributes
    ----------
    elements : int
        How many differ; NaN equals NaN.
    absolute : float
        Largest |a - b|.
    relative : float
        Largest |a - b| / max(|a|, |b|), from 0 to 2. Both are infinite where only one is finite.
    """

    elements: int
    absolute: float
    relative: float


def compare(a: np.ndarray, b: np.ndarray) -> Difference:
    """Return how far two arrays of one shape are apart. Dtypes may differ."""
    elements, absolute, relative = 0, 0.0, 0.0
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for begin in range(0, flat_a.size, _BLOCK):
        block = slice(begin, begin + _BLOCK)
        found = _compare_block(flat_a[block], flat_b[block])
        elements += found.elements
        absolute, relative = max(absolute, found.absolute), max(relative, found.relative)
    return Difference(elements, absolute, relative)


def diff_checkpoints(arguments: argparse.Namespace) -> int:
    """Print the differences of two checkpoints; 0 where there are none, 1 otherwise."""
    first, second = chosen(arguments.first)[0], chosen(arguments.second)[0]
    lines = list(differences(first, second, state=not arguments.arrays_only))
    print(f"a  {first}\nb  {second}")
    print("\n".join(lines) if lines else "equal: all arrays bitwise, and the state")
    return DIFFERENT if lines else 0


def differences(first: Path, second: Path, *, state: bool = True) -> Iterator[str]:
    """Yield one line for each difference; memory for two arrays is enough."""
    with open_checkpoint(first) as a, open_checkpoint(second) as b:
        lines = [*_array_lines(a, b)]
        if state:
            lines += _state_lines(a.state, b.state)
    yield from lines


def _array_lines(a: Reader, b: Reader) -> Iterator[str]:
    in_a, in_b = ({spec.name: spec for spec in reader.arrays} for reader in (a, b))
    width = max((len(name) for name in in_a.keys() | in_b.keys()), default=0)
    for name in sorted(in_a.keys() | in_b.keys()):
        if name not in in_a or name not in in_b:
            yield f"{name:<{width}}  only in {'b' if name in in_b else 'a'}"
        elif in_a[name].shape != in_b[name].shape:
            yield f"{name:<{width}}  shape {in_a[name].shape} in a, {in_b[name].shape} in b"
        elif text := _values_line(a.read(name), b.read(name)):
            yield f"{name:<{width}}  {text}"


def _values_line(a: np.ndarray, b: np.ndarray) -> str:
    if a.dtype == b.dtype and np.array_equal(_bytes(a), _bytes(b)):
        return ""
    found = compare(a, b)
    text = (
        f"max abs {found.absolute:.3e}  max rel {found.relative:.3e}  "
        f"{found.elements} of {a.size} elements differ"
    )
    if a.dtype != b.dtype:
        text += f"  dtype {a.dtype} in a, {b.dtype} in b"
    return text if found.elements or a.dtype != b.dtype else f"{text} (but bits do: zeros or NaN)"


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def _compare_block(a: np.ndarray, b: np.ndarray) -> Difference:
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        return _compare_integers(a, b)
    a, b = a.astype(np.float64), b.astype(np.float64)
    differ = (a != b) & ~(np.isnan(a) & np.isnan(b))
    a, b = a[differ], b[differ]
    if not a.size:
        return Difference(0, 0.0, 0.0)
    with np.errstate(all="ignore"):
        absolute = np.abs(a - b)
        relative = absolute / np.maximum(np.abs(a), np.abs(b))
    absolute[~np.isfinite(absolute)] = np.inf
    relative[~np.isfinite(relative)] = np.inf
    return Difference(int(differ.sum()), float(absolute.max()), float(relative.max()))


def _compare_integers(a: np.ndarray, b: np.ndarray) -> Difference:
    """In Python's integers where they differ: float64 would lose 64 bits."""
    differ = a != b
    pairs = list(zip(a[differ].tolist(), b[differ].tolist(), strict=True))
    distances = [abs(x - y) for x, y in pairs]
    relative = [d / max(abs(x), abs(y)) for d, (x, y) in zip(distances, pairs, strict=True)]
    return Difference(len(pairs), float(max(distances, default=0)), max(relative, default=0.0))


def _state_lines(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    flat_a, flat_b = dict(_leaves(a)), dict(_leaves(b))
    lines = []
    for key in sorted(flat_a.keys() | flat_b.keys()):
        x, y = (_shown(flat[key]) if key in flat else "absent" for flat in (flat_a, flat_b))
        if json.dumps(flat_a.get(key)) != json.dumps(flat_b.get(key)) or x != y:
            lines.append(f"state {key}: {x} in a, {y} in b")
    return lines


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested objects as ``a.b.c``."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
