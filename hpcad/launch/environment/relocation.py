"""Make a copied environment know where it is now.

A virtual environment names its own place in the first lines of its scripts, in the scripts that
activate it, and in links; and other places, of editable packages, in ``.pth`` files and finders.
Programs in machine code are left as they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hpcad.launch.environment.contents import finders, pth_files

_HEAD = 8192  # bytes in which a program in machine code has a zero


def relocate(folder: Path, old: Path, new: Path, outside: Mapping[str, str]) -> None:
    """Rewrite the copy that lies in ``folder``, so that it works as ``new``.

    Parameters
    ----------
    folder : Path
        Where the copy is while it is made.
    old, new : Path
        Where the environment was, and where the copy will be.
    outside : mapping
        Places of editable packages, and their names in the copy.
    """
    # `bin` may be named by the path that was given or by the real one.
    names = dict.fromkeys((str(old), os.path.realpath(old)), str(new))
    for path in sorted((folder / "bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            _replace(path, names)
    _replace(folder / "pyvenv.cfg", names)
    places = {place: str(new / name) for place, name in outside.items()}
    for path in pth_files(folder):
        lines = path.read_text(encoding="utf-8").splitlines()
        _write(path, "\n".join(places.get(line, line) for line in lines).encode() + b"\n")
    for path in finders(folder):
        _replace(path, {repr(place): repr(name) for place, name in places.items()})
    _relink(folder, old, new)


def _replace(path: Path, names: Mapping[str, str]) -> None:
    data = path.read_bytes()
    if b"\0" in data[:_HEAD]:
        return
    for old, new in names.items():
        data = data.replace(os.fsencode(old), os.fsencode(new))
    _write(path, data)


def _write(path: Path, data: bytes) -> None:
    if data != path.read_bytes():
        path.write_bytes(data)  # keeps the mode


def _relink(folder: Path, old: Path, new: Path) -> None:
    """Links that name the old place in full."""
    for parent, directories, files in os.walk(folder):
        for name in [*directories, *files]:
            path = os.path.join(parent, name)
            if os.path.islink(path):
                target = os.readlink(path)
                if target.startswith(f"{old}{os.sep}"):
                    os.unlink(path)
                    os.symlink(f"{new}{target[len(str(old)) :]}", path)
