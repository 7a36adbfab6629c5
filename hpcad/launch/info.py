"""`hpcad info`: what this machine and environment offer, in the words of each library.

Nothing that is absent is an error here; the line then says what to install.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hpcad import __version__
from hpcad.errors import HpcadError
from hpcad.parallel.launcher import Launcher, detect

_PROBE_SECONDS = 30
_NO_MPI = "install one with `pip install mpich`, or load the site's (`module load ...`)"

# A library that cannot start ends its process instead of raising, so another one has to ask.
_PROBE = """
import json
from mpi4py import MPI
levels = {MPI.THREAD_SINGLE: "single", MPI.THREAD_FUNNELED: "funneled",
          MPI.THREAD_SERIALIZED: "serialized", MPI.THREAD_MULTIPLE: "multiple"}
print(json.dumps([MPI.Get_library_version(), levels[MPI.Query_thread()]]))
"""


def print_info() -> int:
    """Print one line per fact, on rank 0 only; return 0."""
    rows = collect()
    launcher = detect(os.environ)
    if launcher is None or launcher.rank in (None, 0):
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"{name:<{width}}  {value}")
    return 0


def collect() -> list[tuple[str, str]]:
    """Return (name, value) of every fact, in the order of printing."""
    launcher = detect(os.environ)
    return [
        ("hpcad", f"{__version__} in {os.path.dirname(os.path.dirname(__file__))}"),
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("NumPy", _package("numpy")),
        ("h5py", _h5py()),
        ("mpi4py", _package("mpi4py")),
        ("MPI", _mpi(launcher)),
        *_communicator(launcher),
        ("launcher", _describe(launcher)),
        ("devices", _devices()),
        ("BLAS", _blas()),
        ("host", f"{socket.gethostname()} ({platform.system()} {platform.release()})"),
        ("cores", f"{len(os.sched_getaffinity(0))} for this process, {os.cpu_count()} in all"),
    ]


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed; `pip install {name}`"


def _h5py() -> str:
    try:
        import h5py
    except ImportError as error:
        return f"cannot be imported ({error}); `pip install h5py`"
    return f"{h5py.__version__} with HDF5 {h5py.version.hdf5_version}"


def _mpi(launcher: Launcher | None) -> str:
    if launcher is None:
        return _probed_mpi()
    from hpcad.parallel import init

    try:
        world = init()
    except HpcadError as error:
        return f"unusable: {error}"
    return f"{world.mpi_library}, thread level {world.thread_level}, {world.size} ranks"


def _communicator(launcher: Launcher | None) -> list[tuple[str, str]]:
    """What several ranks would reduce with; nothing to say where there are none."""
    if launcher is None:
        return []
    from hpcad.parallel import init

    try:
        world = init()
    except HpcadError:
        return []  # the line before has said it
    return [("communicator", f"{world.communicator.kind}: {world.choice}")]


def _probed_mpi() -> str:
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
        # Libraries may print warnings before our line.
        library, level = json.loads(probe.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return f"the library did not start within {_PROBE_SECONDS} s; {_NO_MPI}"
    except (OSError, ValueError, IndexError):
        reason = (probe.stderr.strip().splitlines() or ["no message"])[-1]
        return f"no usable library ({reason}); {_NO_MPI}"
    first = library.strip("\0\n ").splitlines()[0]
    return f"{' '.join(first.split())}, thread level {level}"


def _describe(launcher: Launcher | None) -> str:
    if launcher is None:
        return "none (a plain process); start with `mpirun -n N hpcad ...` or `srun hpcad ...`"
    return f"{launcher.name}, {launcher.size or 'unknown number of'} ranks"


def _devices() -> str:
    if importlib.util.find_spec("cupy") is None:
        return "CPU; no CuPy for GPUs (`pip install 'hpcad[cuda12]'` or 'hpcad[cuda13]')"
    version = "that cannot be imported"
    try:
        import cupy

        version = cupy.__version__  # its wheels are named cupy-cuda12x and the like
        count = cupy.cuda.runtime.getDeviceCount()
        names = [_gpu_name(cupy, index) for index in range(count)]
    except Exception as error:  # noqa: BLE001  # CuPy fails in many ways where no driver is
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return f"CPU; CuPy {version} finds no GPU ({reason[0]})"
    return f"CPU; {count} GPU: {', '.join(names)}; CuPy {version}"


def _gpu_name(cupy: Any, index: int) -> str:
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def _blas() -> str:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.zeros(1)  # the library is loaded with NumPy
    found = [entry for entry in threadpool_info() if entry.get("user_api") == "blas"]
    if not found:
        return "unknown to threadpoolctl"
    return "; ".join(
        f"{entry['internal_api']} {entry.get('version') or ''}, {entry['num_threads']} threads"
        f" ({entry.get('architecture', 'generic')})"
        for entry in found
    )
