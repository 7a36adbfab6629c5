"""What one rank knows about its place in the launch; travels between ranks as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """A GPU that a rank sees.

    Attributes
    ----------
    name : str
    bus : str
        PCI bus id, the same for every process of the host.
    part : str
        Which part of a GPU that is divided (MIG); empty for a whole one.
    """

    name: str
    bus: str
    part: str = ""


@dataclass(frozen=True)
class Place:
    """A directory for temporary files.

    Attributes
    ----------
    name : str
        How it was found: ``"$TMPDIR"``, ``"/dev/shm"``.
    path : str
    kind : str
        Type of its file system; empty where that is unknown.
    free : int or None
        Bytes that can still be written; None where the directory is absent or read-only.
    """

    name: str
    path: str
    kind: str
    free: int | None


@dataclass(frozen=True)
class Link:
    """The way from this rank to another one.

    Attributes
    ----------
    peer : int
        The other rank.
    latency : float
        Seconds of a message of 8 bytes; half of a round trip.
    bandwidth : float
        Bytes per second of long messages.
    undisturbed : float
        The same without the time in which one of the two ranks waited for a core: what it could
        be on hosts that do nothing else, or more. Links are compared by this.
    """

    peer: int
    latency: float
    bandwidth: float
    undisturbed: float


@dataclass(frozen=True)
class Sum:
    """An allreduce of all ranks.

    Attributes
    ----------
    where : str
        In which memory, and by what.
    nbytes : int
        Of the array of a rank.
    seconds : float
        Of the slowest rank, the best of a few.
    """

    where: str
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class Facts:
    """One rank.

    Attributes
    ----------
    rank, size, local_rank, node : int
        As MPI has them. Where MPI gave no common world, ``rank`` and ``local_rank`` are the
        launcher's, and ``size`` is that of this process's own world; 0 without an MPI library.
    host, launcher : str
    promised : int or None
        Ranks that the launcher promised; None where it does not say, or there is none.
    problem : str
        Why there is no common world; empty where there is.
    cores, numa : list of int
        On which this rank may run, and the NUMA nodes they belong to.
    host_cores : int
        Of the whole host.
    blas_threads : int
        That the BLAS libraries of this rank will start, as they say themselves.
    settings : dict
        Environment variables that decide something here, as far as they are set.
    gpus : list of Gpu
        That this rank sees. Rank ``local_rank`` takes the one of that number, modulo their count.
    device : str
        What the job asks for: ``"cpu"``, ``"gpu"`` or ``"auto"``.
    mpi, thread_level : str
        ``"none"`` without MPI.
    gpu_aware : bool
    gpu_aware_how : str
        How that is known.
    nccl : str
        Version; empty where CuPy finds none.
    versions : dict
        Of Python, hpcad and the libraries below it.
    hdf5_files, package_files : str
        Types of the file systems of the current directory and of the installed packages.
    places : list of Place
    seconds : dict
        What the start took: ``"start"`` from the process's start to here, then the imports
        of ``"numpy"`` and of ``"hpcad"``.
    clock, clock_error : float
        By how many seconds this host's time of day is ahead of rank 0's, and how far off that may
        be.
    links, inside : list of Link
        To ranks of other nodes, and of this one; empty where they were not measured.
    links_cut : bool
        Whether time ran out before all links that were to be measured were.
    sums : list of Sum
        On rank 0 alone; empty where they were not measured.
    device_problem : str
        Why sums on devices could not be measured; empty where they could, or there are none.
    """

    rank: int
    size: int
    local_rank: int
    node: int
    host: str
    launcher: str
    promised: int | None
    cores: list[int]
    numa: list[int]
    host_cores: int
    blas_threads: int
    problem: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    gpus: list[Gpu] = field(default_factory=list)
    device: str = "cpu"
    mpi: str = "none"
    thread_level: str = "none"
    gpu_aware: bool = False
    gpu_aware_how: str = ""
    nccl: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    hdf5_files: str = ""
    package_files: str = ""
    places: list[Place] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    clock: float = 0.0
    clock_error: float = 0.0
    links: list[Link] = field(default_factory=list)
    inside: list[Link] = field(default_factory=list)
    links_cut: bool = False
    sums: list[Sum] = field(default_factory=list)
    device_problem: str = ""

    @property
    def gpu(self) -> Gpu | None:
        """The GPU that this rank computes on; None where it sees none."""
        return self.gpus[self.local_rank % len(self.gpus)] if self.gpus else None

    @property
    def threads(self) -> int:
        """Threads that this rank will start: the most that BLAS or a variable says."""
        asked = [_first_number(self.settings.get(name, "")) for name in THREAD_VARIABLES]
        return max(self.blas_threads, *asked)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """The same facts again."""
        gpus = [Gpu(**each) for each in data["gpus"]]
        places = [Place(**each) for each in data["places"]]
        links = {name: [Link(**each) for each in data[name]] for name in ("links", "inside")}
        sums = [Sum(**each) for each in data["sums"]]
        return cls(**{**data, "gpus": gpus, "places": places, "sums": sums, **links})


SHARED_MEMORY = "/dev/shm"  # name and path of that place
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _first_number(text: str) -> int:
    """The 4 of ``"4,2"``, threads of the outermost level; 0 where that is no number."""
    word = text.partition(",")[0].strip()
    return int(word) if word.isdecimal() else 0
