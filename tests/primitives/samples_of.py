"""Gathers the sample arguments of every primitive from the files in ``samples/``.

Each of those files, named after one of ``hpcad/primitives/`` or after several, defines

``SAMPLES``
    From the name of a primitive to a list of ``(arguments, parameters)``. The tests differentiate
    with respect to all arguments that are floating-point or complex arrays. A primitive without
    samples fails the tests.
``REFERENCES``
    From the name of a primitive to a function of the same arguments and parameters that finds the
    same value in another way. Every primitive has one, or
``CONSTRAINTS``
    from its name to a function of arguments, parameters and answer that returns pairs of arrays
    that are equal if the answer is right.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

# Arguments with respect to which hpcad.numpy refuses to differentiate.
REFUSED = {("gammainc", 0), ("gammaincc", 0)}


def gather(name: str = "SAMPLES") -> dict[str, Any]:
    """Return the union of the dictionaries ``name`` of all files."""
    found: dict[str, Any] = {}
    for path in sorted((Path(__file__).parent / "samples").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"samples_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entries = getattr(module, name, {})
        twice = set(found) & set(entries)
        if twice:
            raise ValueError(f"{path}: {sorted(twice)} have {name} in another file, too")
        found.update(entries)
    return found


class Sample:
    """A primitive, and arguments to call it with."""

    def __init__(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> None:
        self.primitive = primitive
        self.args = args
        self.params = params
        self.floating = [
            i
            for i, a in enumerate(args)
            if _kind(a) in ("f", "c") and (primitive.name, i) not in REFUSED
        ]

    def __call__(self, *xs: Any) -> Any:
        """The primitive as a function of its floating arguments."""
        full = list(self.args)
        for i, x in zip(self.floating, xs, strict=True):
            full[i] = x
        return self.primitive(*full, **self.params)

    @property
    def points(self) -> list[Any]:
        return [self.args[i] for i in self.floating]

    def in_single_precision(self) -> Sample:
        return Sample(self.primitive, tuple(map(_single, self.args)), self.params)


def as_tuple(answer: Any) -> tuple[Any, ...]:
    """The results of a primitive, one or several."""
    return answer if isinstance(answer, tuple) else (answer,)


def like(x: Any, rng: np.random.Generator) -> Any:
    """Random numbers of the shape and dtype of ``x``; zeros if it has no floating type."""
    v = rng.standard_normal(np.shape(x))
    if x.dtype.kind == "c":
        v = v + 1j * rng.standard_normal(np.shape(x))
    return np.asarray(v if x.dtype.kind in "fc" else v * 0, x.dtype)


def _kind(x: Any) -> str:
    return x.dtype.kind if isinstance(x, np.ndarray | np.generic) else ""


def _single(x: Any) -> Any:
    single = {"f": np.float32, "c": np.complex64}.get(_kind(x))
    return x if single is None else np.asarray(x, single)
