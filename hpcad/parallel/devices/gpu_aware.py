"""Does the MPI library take addresses of device memory? Yes only where something says so.

A wrong yes crashes the job, or worse, sends what lies at that address in host memory; a wrong no
costs a copy. So the answer is no unless the library itself, or what was built with it, says yes.

=================  =================================================================================
library            what counts as a yes
=================  =================================================================================
Open MPI           ``MPIX_Query_cuda_support()`` returns 1; where the library has no such function,
                   ``ompi_info`` beside it says that it was built with CUDA
MPICH              ``MPIX_GPU_query_support`` says so for CUDA, and ``MPIR_CVAR_ENABLE_GPU`` is not
                   0
Cray MPICH         ``MPICH_GPU_SUPPORT_ENABLED=1`` and the library's part for CUDA
                   (``libmpi_gtl_cuda``) is loaded
others             nothing
any                ``HPCAD_GPU_AWARE=1`` (and ``0`` is a no)
=================  =================================================================================

Not yet proven on a GPU. Sources: the manual pages of ``MPIX_Query_cuda_support`` (Open MPI) and
``MPIX_GPU_query_support`` (MPICH, where CUDA has the number 0), and HPE's ``intro_mpi``.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError

_MPIX_GPU_SUPPORT_CUDA = 0
_OMPI_INFO_LINE = "mpi_built_with_cuda_support:value:true"
_OMPI_INFO_SECONDS = 20
_MAPS = Path("/proc/self/maps")


@dataclass(frozen=True)
class Verdict:
    """Whether MPI may be given device memory.

    Attributes
    ----------
    aware : bool
    how : str
        How that is known: "MPICH's MPIX_GPU_query_support says no".
    """

    aware: bool
    how: str


def gpu_aware(environ: Mapping[str, str], version: str) -> Verdict:
    """The verdict for the MPI library of this process. MPI must be initialised.

    Parameters
    ----------
    environ : mapping
    version : str
        ``MPI.Get_library_version()``.

    Raises
    ------
    ConfigError
        ``HPCAD_GPU_AWARE`` is neither 0 nor 1.
    """
    files = loaded_files()
    path = next((file for file in files if Path(file).name.startswith("libmpi.so")), "")
    path = path or next((file for file in files if Path(file).name.startswith("libmpi")), "")
    library = ctypes.CDLL(path) if path else None
    return judge(environ, version, library, files, lambda: ompi_info(path))


def judge(
    environ: Mapping[str, str],
    version: str,
    library: Any,
    files: list[str],
    info: Callable[[], str],
) -> Verdict:
    """The verdict, given all that it depends on.

    Parameters
    ----------
    library : ctypes.CDLL or None
        The MPI library.
    files : list of str
        Loaded into this process.
    info : callable
        Returns what ``ompi_info --parsable --all`` prints; empty where there is none.
    """
    wish = environ.get("HPCAD_GPU_AWARE", "")
    if wish not in ("", "0", "1"):
        raise ConfigError(f"HPCAD_GPU_AWARE={wish!r} is not understood; set it to 0 or 1, or not")
    if wish:
        return Verdict(wish == "1", f"HPCAD_GPU_AWARE={wish}")
    if "open mpi" in version.lower():
        return _open_mpi(library, info)
    if "cray" in version.lower():
        return _cray(environ, files)
    if version.lower().startswith("mpich"):
        return _mpich(environ, library)
    name = version.split("\n")[0].strip()[:60] or "the MPI library"
    return Verdict(False, f"{name} offers no way to ask that is known here")


def _open_mpi(library: Any, info: Callable[[], str]) -> Verdict:
    ask = getattr(library, "MPIX_Query_cuda_support", None)
    if ask is not None:
        yes = ask() == 1
        return Verdict(yes, f"Open MPI's MPIX_Query_cuda_support says {'yes' if yes else 'no'}")
    text = info()
    if _OMPI_INFO_LINE in text:
        return Verdict(True, "ompi_info says that Open MPI was built with CUDA")
    if text:
        return Verdict(False, "ompi_info does not say that Open MPI was built with CUDA")
    return Verdict(False, "Open MPI has neither MPIX_Query_cuda_support nor ompi_info")


def _cray(environ: Mapping[str, str], files: list[str]) -> Verdict:
    if environ.get("MPICH_GPU_SUPPORT_ENABLED", "") != "1":
        return Verdict(False, "Cray MPICH, but MPICH_GPU_SUPPORT_ENABLED is not 1")
    if not any("libmpi_gtl_cuda" in Path(file).name for file in files):
        return Verdict(False, "Cray MPICH, but its library libmpi_gtl_cuda is not loaded")
    return Verdict(True, "Cray MPICH with MPICH_GPU_SUPPORT_ENABLED=1 and libmpi_gtl_cuda")


def _mpich(environ: Mapping[str, str], library: Any) -> Verdict:
    if environ.get("MPIR_CVAR_ENABLE_GPU", "") == "0":
        return Verdict(False, "MPIR_CVAR_ENABLE_GPU=0")
    ask = getattr(library, "MPIX_GPU_query_support", None)
    if ask is None:
        return Verdict(False, "MPICH has no MPIX_GPU_query_support")
    answer = ctypes.c_int(0)
    failed = ask(ctypes.c_int(_MPIX_GPU_SUPPORT_CUDA), ctypes.byref(answer))
    yes = failed == 0 and answer.value != 0
    return Verdict(yes, f"MPICH's MPIX_GPU_query_support says {'yes' if yes else 'no'}")


def loaded_files() -> list[str]:
    """Paths of the libraries that are loaded into this process; empty where Linux does not tell."""
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:
        return []
    paths = [line.split(maxsplit=5)[5] for line in lines if line.count("/")]
    return list(dict.fromkeys(path for path in paths if ".so" in path))


def ompi_info(library: str) -> str:
    """What the ``ompi_info`` of the installation that a library belongs to prints."""
    program = Path(library).resolve().parent.parent / "bin" / "ompi_info"
    if not library or not program.is_file():
        return ""
    try:
        done = subprocess.run(
            [program, "--parsable", "--all"],
            capture_output=True,
            text=True,
            timeout=_OMPI_INFO_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
