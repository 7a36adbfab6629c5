"""Planted faults, and launches that look like one and are none."""

from __future__ import annotations

from dataclasses import replace

from hpcad.launch.doctor.facts import Facts, Gpu, Place

from .healthy import GIB, HEALTHY, VERSIONS, cluster, every, only, rank, scratch


def own_gpu(each: Facts) -> Facts:
    """As with ``--gpus-per-task=1``: one is visible, the same for local ranks 0 and 1."""
    return replace(each, gpus=[each.gpus[max(1, each.local_rank)]])


def asking(how: str, **changes) -> list[Facts]:
    return every(settings={"OMP_NUM_THREADS": "8", "HPCAD_DEVICE_COMMUNICATOR": how}, **changes)


def slower_inside(facts: list[Facts], node: int) -> list[Facts]:
    """The messages between the ranks of a node take ten times as long."""
    return [
        replace(f, inside=[replace(link, bandwidth=1e9, undisturbed=1e9) for link in f.inside])
        if f.node == node
        else f
        for f in facts
    ]


def from_and_to(node: int, nodes: int, factors: tuple[float, float]) -> dict:
    others = [other for other in range(nodes) if other != node]
    return {pair: factors for other in others for pair in ((node, other), (other, node))}


ALL = list(range(8))
# Name, severity, facts, kind of the finding, its ranks, words that it must say.
FAULTS: list[tuple[str, str, list[Facts], list[int], list[str]]] = [
    (
        "shared GPU",
        "error",
        [own_gpu(f) if f.node == 1 else f for f in HEALTHY],
        [4, 5],
        ["0000:1a:00.0", "--gpus-per-task=1"],
    ),
    (
        "no GPU",
        "error",
        [replace(f, device="gpu", gpus=[] if f.rank == 3 else f.gpus) for f in HEALTHY],
        [3],
        ["1 of 8 ranks see none"],
    ),
    ("no GPU", "warning", only([6], gpus=[]), [6], ["falls back to CPUs"]),
    (
        "not GPU-aware",
        "error",
        asking("mpi", gpu_aware=False, gpu_aware_how="it says no"),
        ALL,
        ["it says no", "MPICH_GPU_SUPPORT_ENABLED"],
    ),
    ("not GPU-aware", "warning", every(gpu_aware=False, nccl=""), ALL, ["no NCCL"]),
    (
        "overlapping cores",
        "error",
        only([2], cores=list(range(12, 20))),
        [1, 2],
        ["rank 1 on 8-15; rank 2 on 12-19", "--cpu-bind"],
    ),
    (
        "crowded cores",
        "error",
        only([0, 1], cores=[0], settings={}, blas_threads=1),
        [0, 1],
        ["2 ranks share 1 core (0)"],
    ),
    (
        "too many threads",
        "error",
        only([5], settings={"OMP_NUM_THREADS": "16"}),
        [5],
        ["16 threads on 8 cores (8-15)", "OMP_NUM_THREADS=16"],
    ),
    (
        "too many threads",
        "error",
        only([5], settings={}, blas_threads=32),
        [5],
        ["32 threads on 8 cores"],
    ),
    (
        "too many threads",
        "error",
        only([2, 3], cores=list(range(16, 28))),
        [2, 3],
        ["2 ranks would start 16 threads on 12 cores"],
    ),
    (
        "threads on one core",
        "error",
        only([7], cores=[24]),
        [7],
        ["up to 8 threads", "--cpus-per-task"],
    ),
    (
        "idle cores",
        "warning",
        [replace(f, cores=[f.local_rank], settings={}, blas_threads=1) for f in HEALTHY],
        ALL,
        ["one core each, of 32"],
    ),
    (
        "unbound ranks",
        "warning",
        every(cores=list(range(32)), numa=[0, 1]),
        ALL,
        ["NUMA nodes 0-1"],
    ),
    (
        "mixed MPI",
        "error",
        only([4, 5], mpi="MPICH 4.2.0"),
        [4, 5],
        ["MPI is MPICH 5.0.2 on most ranks, and MPICH 4.2.0"],
    ),
    (
        "mixed numpy",
        "error",
        only([4], versions=VERSIONS | {"numpy": "1.26.4"}),
        [4],
        ["numpy is 2.1.0 on most ranks, and 1.26.4"],
    ),
    (
        "mixed hpcad",
        "error",
        only([1], versions=VERSIONS | {"hpcad": "0.0.9"}),
        [1],
        ["hpcad is 0.1.0", "0.0.9"],
    ),
    ("mixed NCCL", "error", only([1], nccl="2.19.3"), [1], ["NCCL is 2.27.5", "2.19.3"]),
    (
        "uneven ranks",
        "warning",
        [replace(f, size=7, promised=7) for f in HEALTHY[:7]],
        [0, 1, 2, 3],
        ["3 to 4 ranks", "--ntasks-per-node"],
    ),
    (
        "slow start",
        "warning",
        only([3], seconds={"start": 9.0, "numpy": 8.0, "hpcad": 40.5}),
        [3],
        ["57.5 s", "hpcad 40.5 s", "lustre", "hpcad env broadcast"],
    ),
    (
        "slow start",
        "warning",
        only([3], package_files="ext4", seconds={"start": 57.0}),
        [3],
        ["57.0 s", "look at the disk"],
    ),
    (
        "file locking",
        "warning",
        every(hdf5_files="nfs4"),
        ALL,
        ["nfs4", "HDF5_USE_FILE_LOCKING=FALSE"],
    ),
    (
        "little scratch",
        "warning",
        only([4], places=scratch(1 << 20)),
        [4],
        ["/scratch has 1 MiB free", "TMPDIR"],
    ),
    (
        "little scratch",
        "warning",
        only([4], places=scratch(None)),
        [4],
        ["/scratch cannot be written"],
    ),
    (
        "little shared memory",
        "warning",
        only([4], places=scratch(9 * GIB, 64 << 20)),
        [4],
        ["/dev/shm has 64 MiB free", "--shm-size"],
    ),
    ("clock", "warning", only([4, 5], clock=-3.2), [4, 5], ["3.2 s behind", "NTP"]),
    (
        "worlds apart",
        "error",
        [replace(rank(0), size=1, problem="...")],
        [0],
        ["promised 8 ranks, but MPICH 5.0.2 made a world of 1", "--mpi=pmi2"],
    ),
    (
        "no MPI",
        "error",
        [replace(rank(0), size=0, problem="mpi4py finds no library")],
        [0],
        ["mpi4py finds no library"],
    ),
    (
        "slow link",
        "warning",
        cluster(slow={(1, 3): (0.05, 1), (3, 1): (0.06, 1)}),
        [4, 12],
        ["n1 <-> n3: 1.", "median of the other 18 directions is 2", "--exclude"],
    ),
    (
        "slow link",
        "warning",
        cluster(slow={(1, 3): (0.2, 1)}),
        [4, 12],
        ["n1 -> n3: 4", "the other 19 directions"],
    ),
    (
        "slow link",
        "warning",
        cluster(slow={(0, 2): (1, 200), (2, 0): (1, 200)}),
        [0, 8],
        ["n0 <-> n2", " us; the median"],
    ),
    (
        "slow host",
        "warning",
        cluster(slow=from_and_to(2, 5, (0.1, 1))),
        [8],
        ["n2 (rank 8) sends at", "n2 (rank 8) receives at", "--exclude=n2`"],
    ),
    (
        "slow host",
        "warning",
        cluster(3, slow=from_and_to(2, 3, (0.1, 1))),
        [8],
        ["n2 (rank 8) sends at", "to 2 others"],
    ),
    (
        "slow host",
        "warning",
        cluster(slow={(4, other): (0.1, 1) for other in range(4)}),
        [16],
        ["n4 (rank 16) sends at", "to 4 others", "other 16 directions"],
    ),
    (
        "slow inside a host",
        "warning",
        slower_inside(cluster(), 3),
        [12, 13, 14, 15],
        ["n3: 1 GB/s", "the median of all hosts is 10 GB/s"],
    ),
]

HARMLESS: dict[str, list[Facts]] = {
    "one GPU each": [replace(f, gpus=[f.gpus[f.local_rank]]) for f in HEALTHY],
    "parts of one GPU": [
        replace(f, gpus=[Gpu("H100", "0000:0a:00.0", f"MIG-{f.local_rank}")]) for f in HEALTHY
    ],
    "one GPU that nobody uses": every(device="cpu", gpus=[Gpu("T4", "0000:0a:00.0")]),
    "no GPU anywhere": every(gpus=[], nccl="", gpu_aware=False),
    "NCCL instead of GPU-aware MPI": every(gpu_aware=False),
    "unbound on one NUMA node": every(cores=list(range(32)), numa=[0]),
    "two ranks share the cores of a socket": [
        replace(f, cores=list(range(16 * f.numa[0], 16 * f.numa[0] + 16))) for f in HEALTHY
    ],
    "one core each, as asked": [
        replace(f, cores=[f.local_rank], settings={"SLURM_CPUS_PER_TASK": "1"}, blas_threads=1)
        for f in HEALTHY
    ],
    "nested threads": every(settings={"OMP_NUM_THREADS": "8,2"}),
    "no locks on NFS": every(
        hdf5_files="nfs4", settings={"OMP_NUM_THREADS": "8", "HDF5_USE_FILE_LOCKING": "FALSE"}
    ),
    "locks where they work": every(
        hdf5_files="nfs4", settings={"OMP_NUM_THREADS": "8", "HDF5_USE_FILE_LOCKING": "best_effort"}
    ),
    "a clock that cannot be read better": only([4], clock=0.3, clock_error=0.25),
    "a launcher that promises nothing": every(promised=None),
    "links that differ as routes do": cluster(),
    "links at half of their rate": cluster(slow={(1, 3): (0.5, 2), (3, 1): (0.5, 2)}),
    "two hosts, which have nothing to be compared with": cluster(2, slow={(0, 1): (0.01, 1)}),
    "a latency that is long for this network, and short": cluster(slow={(0, 1): (1, 90)}),
    "temporary files in memory": every(
        places=[
            Place("$TMPDIR", "/dev/shm", "tmpfs", 9 * GIB),
            Place("/dev/shm", "/dev/shm", "tmpfs", 9 * GIB),
        ]
    ),
}
