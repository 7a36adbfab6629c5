"""The C compiler of this machine."""

from __future__ import annotations

import functools
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hpcad.backend.native.remembered import recall, remember

log = logging.getLogger(__name__)

HEADERS = Path(__file__).parent
LIMIT = 120.0  # seconds that one run of the compiler may take

# IEEE meaning is kept (no -ffast-math): a compiled step must equal NumPy's. Contraction would fuse
# a * b + c where the user wrote two roundings; nobody reads errno or the exception flags.
_FLAGS = (
    *("-std=gnu11", "-O3", "-fPIC", "-shared", "-pthread"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"),
)
_TUNINGS = (("-march=native",), ("-mcpu=native",), ())  # the first that the compiler understands
_SMALLEST = "#include <math.h>\ndouble hp_smallest(double x) { return floor(x); }\n"
_TRIED = (_FLAGS, _TUNINGS, _SMALLEST)
_SETTINGS = ("HPCAD_NATIVE", "HPCAD_CC", "CC", "PATH")


class CompilationError(Exception):
    """The compiler refused a source; the message is its own."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was seen to work.

    Attributes
    ----------
    command : tuple of str
    flags : tuple of str
    version : str
        What ``--version`` prints.
    """

    command: tuple[str, ...]
    flags: tuple[str, ...]
    version: str

    def compile(self, source: Path, library: Path, include: Sequence[Path] = ()) -> None:
        """Compile one C file to one shared library.

        Raises
        ------
        CompilationError
        """
        headers = [f"-I{directory}" for directory in include]
        _run([*self.command, *self.flags, *headers, str(source), "-o", str(library), "-lm"])


def find_compiler() -> Compiler | None:
    """The first that works of ``HPCAD_CC``, ``CC``, cc, gcc, clang and the wheel ``ziglang``.

    Each is tried on a file of one function, once: the cache on disk remembers which worked.

    Returns
    -------
    Compiler or None
        ``None`` where none works, or ``HPCAD_NATIVE`` is ``0``.
    """
    return _find(*(os.environ.get(setting, "") for setting in _SETTINGS))


@functools.cache
def _find(native: str, wish: str, cc: str, _path: str) -> Compiler | None:
    if native == "0":
        return None
    for command in _candidates(wish, cc):
        found = _tried(command)
        if found is not None:
            return found
        if command == tuple(shlex.split(wish)):
            log.warning("HPCAD_CC=%s does not compile; looking for another C compiler", wish)
    log.info("no C compiler works here (HPCAD_CC names one); computing with NumPy alone")
    return None


def _candidates(wish: str, cc: str) -> list[tuple[str, ...]]:
    named = [tuple(shlex.split(text)) for text in (wish, cc, "cc", "gcc", "clang")]
    found = [command for command in named if command and shutil.which(command[0])]
    if wish and named[0] not in found:
        log.warning("HPCAD_CC=%s is not to be found; looking for another C compiler", wish)
    if find_spec("ziglang") is not None:
        found.append((sys.executable, "-m", "ziglang", "cc"))
    return found


def _tried(command: tuple[str, ...]) -> Compiler | None:
    """``command`` as a compiler, with the flags it understands; ``None`` where it does not work."""
    facts = recall(command, _TRIED)
    if facts is not None and tuple(facts.get("tuning", "?")) in _TUNINGS:
        return Compiler(command, (*_FLAGS, *facts["tuning"]), str(facts.get("version")))
    try:
        version = _run([*command, "--version"])
    except CompilationError:
        return None
    for tuning in _TUNINGS:
        compiler = Compiler(command, (*_FLAGS, *tuning), version)
        if _compiles(compiler):
            remember(command, _TRIED, {"version": version, "tuning": tuning})
            return compiler
    return None


def _compiles(compiler: Compiler) -> bool:
    with tempfile.TemporaryDirectory(prefix="hpcad-") as directory:
        source = Path(directory, "smallest.c")
        source.write_text(_SMALLEST)
        try:
            compiler.compile(source, Path(directory, "smallest.so"))
        except CompilationError as refusal:
            log.debug("%s: %s", shlex.join(compiler.command), refusal)
            return False
    return True


def _run(command: list[str]) -> str:
    """What ``command`` printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilationError(str(error)) from error
    if done.returncode != 0:
        raise CompilationError(f"{shlex.join(command)}\n{done.stderr or done.stdout}".rstrip())
    return done.stdout
