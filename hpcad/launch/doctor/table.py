"""The facts of all ranks in one table; what is the same on all of them is said once, above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpcad.launch.doctor.facts import THREAD_VARIABLES, Facts, Place
from hpcad.launch.doctor.finding import Finding, numbers

#: Name of a column, and its text for a rank.
COLUMNS: tuple[tuple[str, Callable[[Facts], str]], ...] = (
    ("rank", lambda f: str(f.rank)),
    ("host", lambda f: f.host),
    ("local", lambda f: str(f.local_rank)),
    ("cores", lambda f: numbers(f.cores)),
    ("NUMA", lambda f: numbers(f.numa)),
    ("threads", lambda f: str(f.threads)),
    ("start s", lambda f: f"{sum(f.seconds.values()):.2f}"),
    ("clock ms", lambda f: f"{1e3 * f.clock:+.3f} +-{1e3 * f.clock_error:.3f}"),
    ("GPU", lambda f: _gpu(f)),
    ("launcher", lambda f: f"{f.launcher}, {f.promised or 'unknown number of'} ranks promised"),
    ("MPI", lambda f: f"{f.mpi}, {f.size} ranks, threads {f.thread_level}"),
    ("GPU-aware", lambda f: f"{'yes' if f.gpu_aware else 'no'}: {f.gpu_aware_how}"),
    ("NCCL", lambda f: f.nccl or "none"),
    ("thread settings", lambda f: _thread_settings(f)),
    ("visible GPUs", lambda f: _visible(f)),
    ("HDF5 locking", lambda f: f"{_locking(f)}, files on {f.hdf5_files or '?'}"),
    ("packages on", lambda f: f.package_files or "?"),
    ("temporary", lambda f: ", ".join(_place(place) for place in f.places)),
    ("versions", lambda f: ", ".join(f"{name} {text}" for name, text in f.versions.items())),
)
_ALWAYS_IN_TABLE = ("rank", "host", "local", "cores", "NUMA", "threads", "start s", "clock ms")


def table(facts: Sequence[Facts]) -> list[str]:
    """The lines of the table."""
    same: list[tuple[str, str]] = []
    columns: list[list[str]] = []
    for name, text in COLUMNS:
        cells = [text(each) for each in facts]
        if name in _ALWAYS_IN_TABLE or len(set(cells)) > 1:
            columns.append([name, *cells])
        else:
            same.append((name, cells[0]))
    wide = max(len(name) for name, _ in same) if same else 0
    widths = [max(map(len, column)) for column in columns]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return [*(f"{name:<{wide}}  {text}" for name, text in same), "", *rows]


def told(finding: Finding) -> list[str]:
    """A finding in lines."""
    hosts = ", ".join(finding.hosts[:8]) + (", ..." if len(finding.hosts) > 8 else "")
    ranks = "rank" if len(finding.ranks) == 1 else "ranks"
    return [
        f"{finding.severity}: {finding.what}",
        f"  where:  {ranks} {numbers(finding.ranks)} on {hosts}",
        f"  change: {finding.change}",
    ]


def _gpu(facts: Facts) -> str:
    return f"{facts.gpu.bus} {facts.gpu.part}".strip() if facts.gpu else "none"


def _visible(facts: Facts) -> str:
    seen = ", ".join(f"{gpu.name} {gpu.bus}" for gpu in facts.gpus) or "none"
    told_by = facts.settings.get("CUDA_VISIBLE_DEVICES")
    return seen if told_by is None else f"{seen} (CUDA_VISIBLE_DEVICES={told_by})"


def _thread_settings(facts: Facts) -> str:
    names = (*THREAD_VARIABLES, "OMP_PROC_BIND", "OMP_PLACES")
    asked = [f"{name}={facts.settings[name]}" for name in names if name in facts.settings]
    return ", ".join([*asked, f"BLAS {facts.blas_threads}"])


def _locking(facts: Facts) -> str:
    return facts.settings.get("HDF5_USE_FILE_LOCKING", "on (no setting)")


def _place(place: Place) -> str:
    if place.free is None:
        return f"{place.path} cannot be written"
    name = place.name if place.name == place.path else f"{place.name}={place.path}"
    return f"{name} {place.free / 2**30:.0f} GiB free on {place.kind or '?'}"
