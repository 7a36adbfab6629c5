"""A healthy launch, and ways to change the facts of its ranks."""

from __future__ import annotations

from dataclasses import replace

from hpcad.launch.doctor.facts import Facts, Gpu, Link, Place

GIB = 1 << 30
VERSIONS = {"Python": "3.12.3", "hpcad": "0.1.0", "numpy": "2.1.0", "mpi4py": "4.0.1"}


def rank(number: int) -> Facts:
    """Rank ``number`` of a healthy launch: 2 nodes with 4 GPUs and 2 NUMA nodes of 16 cores."""
    node, local = divmod(number, 4)
    return Facts(
        rank=number,
        size=8,
        local_rank=local,
        node=node,
        host=f"n{node}",
        launcher="srun (Slurm)",
        promised=8,
        cores=list(range(8 * local, 8 * local + 8)),
        numa=[local // 2],
        host_cores=32,
        blas_threads=8,
        settings={"OMP_NUM_THREADS": "8"},
        gpus=[Gpu("H100", f"0000:{i}a:00.0") for i in range(4)],
        device="auto",
        mpi="MPICH 5.0.2",
        thread_level="multiple",
        gpu_aware=True,
        gpu_aware_how="MPICH's MPIX_GPU_query_support says yes",
        nccl="2.27.5",
        versions=dict(VERSIONS),
        hdf5_files="ext4",
        package_files="lustre",
        places=[
            Place("/tmp", "/tmp", "ext4", 50 * GIB),
            Place("/dev/shm", "/dev/shm", "tmpfs", 9 * GIB),
        ],
        seconds={"start": 0.4, "numpy": 0.3, "hpcad": 0.8},
        clock=2e-5,
        clock_error=1e-5,
    )


HEALTHY = [rank(number) for number in range(8)]


def every(**changes) -> list[Facts]:
    return [replace(each, **changes) for each in HEALTHY]


def only(ranks: list[int], **changes) -> list[Facts]:
    return [replace(each, **changes) if each.rank in ranks else each for each in HEALTHY]


def scratch(free: int | None, shared: int = 9 * GIB) -> list[Place]:
    return [
        Place("$TMPDIR", "/scratch", "ext4", free),
        Place("/dev/shm", "/dev/shm", "tmpfs", shared),
    ]


def cluster(nodes: int = 5, slow: dict[tuple[int, int], tuple[float, float]] | None = None):
    """A healthy launch of more nodes, with its links measured.

    Parameters
    ----------
    slow : dict
        Of (from node, to node) to factors of the bandwidth and of the latency.
    """

    def link(source: int, target: int) -> Link:
        rate, late = (slow or {}).get((source, target), (1.0, 1.0))
        noise = 1 + 0.3 * ((7 * source + 3 * target) % 10) / 10  # as routes and neighbours differ
        bandwidth = 24e9 / noise * rate
        return Link(4 * target, 2e-6 * noise * late, bandwidth, bandwidth)

    def inside(number: int) -> list[Link]:
        first = number - number % 4
        return [Link(r, 1e-6, 10e9, 10e9) for r in range(first, first + 4) if r != number]

    return [
        replace(
            rank(number),
            size=4 * nodes,
            promised=4 * nodes,
            inside=inside(number),
            links=[link(number // 4, t) for t in range(nodes) if t != number // 4]
            if number % 4 == 0
            else [],
        )
        for number in range(4 * nodes)
    ]
