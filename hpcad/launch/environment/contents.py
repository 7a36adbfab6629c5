"""What belongs to an environment: its own files, and the packages that it has elsewhere.

A package that was installed in editable mode stays where it is developed. The environment names
that place in a ``.pth`` file, one path a line, or in the ``MAPPING`` of a finder that setuptools
writes. A copy needs these files too: they are packed below ``editable/``, each place by its number.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcad.errors import LaunchError

EDITABLE = "editable"
_MAPPING = re.compile(r"^MAPPING(?:: [^=]+)? = (\{.*\})$", re.MULTILINE)
_SKIPPED = {".git", ".hg"}


@dataclass(frozen=True)
class Contents:
    """What is to be packed.

    Attributes
    ----------
    root : Path
        The environment.
    files : list of (str, Path)
        Name in the copy, and where it lies: files, links and directories, sorted by name.
    outside : dict
        Places outside of the environment that it names, and what they are called in the copy.
    """

    root: Path
    files: list[tuple[str, Path]]
    outside: dict[str, str]


def contents_of(root: Path) -> Contents:
    """List an environment.

    Raises
    ------
    LaunchError
        It is no virtual environment.
    """
    if not (root / "pyvenv.cfg").is_file():
        raise LaunchError(
            f"{root} is no virtual environment (it has no pyvenv.cfg): name one with "
            "--environment; environments of conda are moved by conda-pack"
        )
    outside = _outside(root)
    files = [(name, path) for name, path in below(root, "")]
    if outside:
        files.append((EDITABLE, root))  # a directory
    for place, name in outside.items():
        files += _packages(Path(place), name)
    return Contents(root, sorted(files), outside)


def pth_files(root: Path) -> list[Path]:
    """The files of an environment that name places by lines."""
    return sorted(root.glob("lib/python*/site-packages/*.pth"))


def finders(root: Path) -> list[Path]:
    """The files of an environment that name places in a MAPPING."""
    return sorted(root.glob("lib/python*/site-packages/__editable__*_finder.py"))


def _outside(root: Path) -> dict[str, str]:
    named: list[str] = []
    for path in pth_files(root):
        lines = path.read_text(encoding="utf-8").splitlines()
        named += [line for line in lines if os.path.isabs(line) and os.path.isdir(line)]
    for path in finders(root):
        for found in _MAPPING.finditer(path.read_text(encoding="utf-8")):
            named += [
                place for place in ast.literal_eval(found[1]).values() if os.path.isabs(place)
            ]
    real = os.path.realpath(root)
    foreign = [p for p in named if not os.path.realpath(p).startswith(real + os.sep)]
    return {place: f"{EDITABLE}/{i}" for i, place in enumerate(dict.fromkeys(foreign))}


def _packages(place: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The modules of a place: itself, where it is one, else those right below it."""
    if place.is_file() or (place / "__init__.py").is_file():
        yield name, place
        yield from below(place, f"{name}/") if place.is_dir() else ()
        return
    yield name, place
    for child in sorted(place.iterdir()):
        if child.suffix == ".py" and child.is_file():
            yield f"{name}/{child.name}", child
        elif (child / "__init__.py").is_file():
            yield f"{name}/{child.name}", child
            yield from below(child, f"{name}/{child.name}/")


def is_lasting(name: str) -> bool:
    """Not compiled by Python, which writes that anew whenever it likes."""
    return "__pycache__" not in name.split("/")


def lasting(files: Iterable[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Those that Python did not compile."""
    return [(name, path) for name, path in files if is_lasting(name)]


def below(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """All that lies below a folder; links are not followed."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name in _SKIPPED:
            continue
        yield prefix + entry.name, Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from below(Path(entry.path), f"{prefix}{entry.name}/")
