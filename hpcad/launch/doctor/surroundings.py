"""Faults of what surrounds the ranks: the start, files, scratch space, clocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hpcad.launch.doctor.facts import SHARED_MEMORY, Facts, Place
from hpcad.launch.doctor.finding import WARNING, Finding, found

#: Types of file systems that all nodes share.
SHARED = (
    "nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "panfs", "wekafs", "pvfs2"
)  # fmt: skip
_SLOW_START = 10.0  # seconds
_SCRATCH = 1 << 30  # bytes
_SHARED_MEMORY = 128 << 20  # bytes for each rank of a node
_CLOCK = 0.1  # seconds


def slow_start(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Ranks that needed long to load Python and the packages."""
    slow = [each for each in facts if sum(each.seconds.values()) > _SLOW_START]
    if not slow:
        return
    worst = max(slow, key=lambda each: sum(each.seconds.values()))
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in worst.seconds.items())
    shared = worst.package_files.startswith(SHARED)
    kind = f" from {worst.package_files}, which all nodes read at once" if shared else ""
    change = (
        "copy the environment to a disk of each node once, before the ranks start: `srun "
        "--ntasks-per-node=1 hpcad env broadcast $TMPDIR/env` reads it once and sends it by MPI "
        "(`sbcast` of a tar file does the same by hand), and start from there; or start from a "
        "container image, which is one file"
        if shared
        else "start once more, with files in memory; if it stays so, look at the disk that the "
        "packages lie on, and at what else runs on these hosts"
    )
    yield found(
        "slow start",
        WARNING,
        f"loading Python and packages took up to {sum(worst.seconds.values()):.1f} s "
        f"({parts}){kind}",
        slow,
        change,
    )


def file_locking(facts: Sequence[Facts]) -> Iterator[Finding]:
    """HDF5 locks files, on a file system of the network."""
    ranks = [each for each in facts if each.hdf5_files.startswith(SHARED) and locks(each)]
    if ranks:
        yield found(
            "file locking",
            WARNING,
            f"HDF5 locks the files that it opens, and this directory is on {ranks[0].hdf5_files}: "
            "where locks are not served there, opening a file fails or hangs",
            ranks,
            "export HDF5_USE_FILE_LOCKING=FALSE before the job starts",
        )


def locks(facts: Facts) -> bool:
    """Whether HDF5 insists on locks; it does unless told otherwise."""
    setting = facts.settings.get("HDF5_USE_FILE_LOCKING", "").upper()
    return setting not in ("FALSE", "0", "BEST_EFFORT")


def little_scratch(facts: Sequence[Facts]) -> Iterator[Finding]:
    """No directory for temporary files, or little room in the best of them."""
    poor = [each for each in facts if _most(_scratch(each)) < _SCRATCH]
    if not poor:
        return
    worst = min(poor, key=lambda each: _most(_scratch(each)))
    shown = ", ".join(_told(place) for place in _scratch(worst)) or "no directory"
    yield found(
        "little scratch",
        WARNING,
        f"there is less than {_SCRATCH >> 30} GiB for temporary files: {shown}",
        poor,
        "set TMPDIR to a directory of the node with room, or ask the batch system for some "
        "(`--tmp=SIZE`); remove what earlier jobs have left",
    )


def little_shared_memory(facts: Sequence[Facts]) -> Iterator[Finding]:
    """``/dev/shm`` has too little room for sums in shared memory."""
    ranks_of = Counter(each.node for each in facts)
    poor = [
        each
        for each in facts
        if ranks_of[each.node] > 1
        and _most(_shared_memory(each)) < _SHARED_MEMORY * ranks_of[each.node]
    ]
    if poor:
        worst = min(poor, key=lambda each: _most(_shared_memory(each)))
        yield found(
            "little shared memory",
            WARNING,
            f"{', '.join(_told(place) for place in _shared_memory(worst)) or 'no /dev/shm'}, with "
            f"{ranks_of[worst.node]} ranks on the node: sums in shared memory may not find room",
            poor,
            "remove what aborted jobs left in /dev/shm, and give containers more (`--shm-size`, "
            "or the host's own /dev/shm)",
        )


def clocks(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Hosts whose time of day differs from that of rank 0's host."""
    wrong = [each for each in facts if abs(each.clock) - each.clock_error > _CLOCK]
    if wrong:
        worst = max(wrong, key=lambda each: abs(each.clock))
        way = "ahead of" if worst.clock > 0 else "behind"
        yield found(
            "clock",
            WARNING,
            f"the time of day is up to {abs(worst.clock):.3g} s {way} that of rank 0's host: times "
            "in logs and of files do not fit together",
            wrong,
            "tell the administrators that the clocks of these hosts are not synchronised (NTP)",
        )


def _scratch(facts: Facts) -> list[Place]:
    return [place for place in facts.places if place.name != SHARED_MEMORY]


def _shared_memory(facts: Facts) -> list[Place]:
    return [place for place in facts.places if place.name == SHARED_MEMORY]


def _most(places: Sequence[Place]) -> int:
    return max((place.free or 0 for place in places), default=0)


def _told(place: Place) -> str:
    if place.free is None:
        return f"{place.path} cannot be written"
    return f"{place.path} has {place.free / 2**20:,.0f} MiB free"
