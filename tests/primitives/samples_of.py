"""Gathers the sample arguments of every primitive from the files in ``samples/``.

Each of those files, named after one of ``hpcad/primitives/``, defines ``SAMPLES``: a dictionary
from the name of a primitive to a list of ``(arguments, parameters)``. A primitive without samples
fails the tests.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def gather(name: str = "SAMPLES") -> dict[str, Any]:
    """Return the union of the dictionaries ``name`` of all files."""
    found: dict[str, Any] = {}
    for path in sorted((Path(__file__).parent / "samples").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"samples_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entries = getattr(module, name, {})
        twice = set(found) & set(entries)
        if twice:
            raise ValueError(f"{path}: {sorted(twice)} have {name} in another file, too")
        found.update(entries)
    return found
