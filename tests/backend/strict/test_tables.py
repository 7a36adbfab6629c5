"""The tables of what CuPy has are true, where CuPy is installed (it needs no GPU for that)."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
import scipy.special

from hpcad.backend.strict import tables

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")


def functions(module):
    for name in dir(module):
        found = getattr(module, name)
        if not name.startswith("_") and callable(found) and not isinstance(found, type):
            yield name, found


@pytest.mark.parametrize("chapter", tables.LACKING)
def test_functions_that_cupy_lacks(chapter):
    theirs = np if chapter == "numpy" else getattr(np, chapter)
    ours = cupy if chapter == "numpy" else getattr(cupy, chapter)
    lacking = {name for name, _ in functions(theirs) if not hasattr(ours, name)}
    assert lacking - {"test"} == tables.LACKING[chapter]


def test_special_functions_of_cupy():
    library = importlib.import_module("cupyx.scipy.special")
    has = {name for name, _ in functions(library) if hasattr(scipy.special, name)}
    assert has >= tables.SPECIAL


def parameters(function):
    try:
        return set(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return None


@pytest.mark.parametrize("name", [n for n in tables.KEYWORDS if "." not in n])
def test_keyword_arguments_that_cupy_lacks(name):
    chapter = next(c for c in ("fft", "linalg", "") if hasattr(getattr(np, c, np), name))
    theirs, ours = (getattr(getattr(m, chapter, m), name) for m in (np, cupy))
    assert tables.KEYWORDS[name] <= (parameters(theirs) or tables.KEYWORDS[name])
    assert not tables.KEYWORDS[name] & parameters(ours)


def test_functions_without_complex_versions():
    special = importlib.import_module("cupyx.scipy.special")
    for name in tables.REAL_ONLY:
        function = getattr(cupy, name, None) or getattr(special, name)
        assert not any(set(kind.split("->")[0]) & set("FD") for kind in function.types)


def test_methods_of_cupy():
    assert all(hasattr(cupy.ndarray, name) for name in tables.METHODS)


def test_cupy_passes_on_functions_about_types():
    kept = {name for name, found in functions(cupy) if getattr(np, name, None) is found}
    assert kept >= {"broadcast_shapes", "promote_types", "issubdtype", "isdtype"}
