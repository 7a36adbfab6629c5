"""Where NVIDIA's libraries are: its wheels, a CUDA toolkit, or where the dynamic linker looks."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from hpcad.errors import DeviceError

_TOOLKITS = ("/usr/local/cuda", "/opt/cuda")
_MAJORS = (13, 12)


class Versioned(Protocol):
    """A loaded library."""

    @property
    def version(self) -> tuple[int, ...]: ...


Library = TypeVar("Library", bound=Versioned)


def find_library(
    name: str, load: Callable[[str], Library], variable: str, wish: str, newest: int | None
) -> Library | None:
    """The newest library of a name; None where there is none.

    Parameters
    ----------
    name : str
        Of the file, without its version: ``"libnvrtc.so"``.
    load : callable
        From a path to the library; raises OSError or AttributeError where that is another thing.
    variable, wish : str
        The environment variable that names one, and its value; where that is empty, the library
        is looked for in NVIDIA's wheels, in the CUDA toolkit (``CUDA_HOME``, ``CUDA_PATH``), and
        where the dynamic linker looks.
    newest : int or None
        The CUDA version (its first number) of the driver: older drivers refuse newer libraries.

    Raises
    ------
    DeviceError
        What is wished for cannot be loaded.
    """
    for path in [wish] if wish else _candidates(name):
        try:
            library = load(path)
        except (OSError, AttributeError) as error:
            if wish:
                raise DeviceError(
                    f"{variable}={wish} cannot be loaded as {name} ({error}); name the "
                    "file of a CUDA toolkit, or unset it"
                ) from error
            continue
        if newest is None or library.version[0] <= newest:
            return library
    return None


def _candidates(name: str) -> Iterator[str]:
    """Paths and names of libraries, those of newer toolkits first."""
    numbered = re.compile(rf"{re.escape(name)}\.(\d+)$")
    found: dict[str, int] = {}
    for folder in _folders():
        for path in folder.glob(f"{name}.*"):
            if matched := numbered.search(path.name):
                found[str(path)] = int(matched[1])
    yield from sorted(found, key=lambda path: -found[path])
    yield from (f"{name}.{major}" for major in _MAJORS)


def _folders() -> Iterator[Path]:
    wheels = importlib.util.find_spec("nvidia")
    for place in (wheels.submodule_search_locations or []) if wheels is not None else []:
        yield from Path(place).glob("*/lib")
    for setting in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(setting):
            yield Path(os.environ[setting], "lib64")
    yield from (Path(toolkit, "lib64") for toolkit in _TOOLKITS)
