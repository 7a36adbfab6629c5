"""Faults of cores and threads. Ranks with the same cores are a group, which shares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpcad.launch.doctor.facts import Facts
from hpcad.launch.doctor.finding import ERROR, WARNING, Finding, found, numbers

_FEWER_THREADS = (
    "set OMP_NUM_THREADS to the cores of a rank (under Slurm `export "
    "OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK`), or leave it unset: hpcad then divides the cores; or "
    "give each rank more cores with `--cpus-per-task`"
)
_BIND = (
    "bind each rank to cores of its own: `srun --cpus-per-task=C --cpu-bind=cores`, "
    "`mpirun --bind-to core --map-by slot:PE=C` (Open MPI), `mpirun -bind-to core:C` (MPICH); "
    "leave away masks set by hand (taskset, numactl)"
)
_MANY = 4  # cores of the host for each rank of a node, from which one core a rank is strange


def groups(facts: Sequence[Facts]) -> list[list[Facts]]:
    """The ranks of a node that may run on the same cores, group by group."""
    result: dict[tuple[int, tuple[int, ...]], list[Facts]] = {}
    for each in facts:
        result.setdefault((each.node, tuple(each.cores)), []).append(each)
    return list(result.values())


def overlapping(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Groups of a node that share some cores, and have others of their own."""
    for node in sorted({each.node for each in facts}):
        here = [group for group in groups(facts) if group[0].node == node]
        touched = [
            group
            for group in here
            if any(
                other is not group and not set(group[0].cores).isdisjoint(other[0].cores)
                for other in here
            )
        ]
        if not touched:
            continue
        ranks = sorted((each for group in touched for each in group), key=lambda each: each.rank)
        masks = "; ".join(
            f"rank {numbers(each.rank for each in group)} on {numbers(group[0].cores)}"
            for group in touched
        )
        yield found(
            "overlapping cores", ERROR, f"the cores of ranks overlap: {masks}", ranks, _BIND
        )


def crowded(facts: Sequence[Facts]) -> Iterator[Finding]:
    """More ranks than cores."""
    for group in groups(facts):
        count = len(group[0].cores)
        if len(group) > count:
            yield found(
                "crowded cores",
                ERROR,
                f"{len(group)} ranks share {_cores(count)} ({numbers(group[0].cores)})",
                group,
                f"start fewer ranks on a node, or {_BIND}",
            )


def more_threads_than_cores(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Ranks that start more threads, each or together, than they have cores."""
    for group in groups(facts):
        count = len(group[0].cores)
        threads = sum(each.threads for each in group)
        if len(group) > count or count == 1 or threads <= count:
            continue  # other rules, or no fault
        who = "a rank would start" if len(group) == 1 else f"{len(group)} ranks would start"
        yield found(
            "too many threads",
            ERROR,
            f"{who} {threads} threads on {_cores(count)} ({numbers(group[0].cores)})"
            f"{_because(group)}",
            group,
            _FEWER_THREADS,
        )


def threads_on_one_core(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Ranks that are pinned to one core and start several threads."""
    pinned = [g[0] for g in groups(facts) if len(g) == 1 and len(g[0].cores) == 1]
    ranks = [each for each in pinned if each.threads > 1]
    if ranks:
        yield found(
            "threads on one core",
            ERROR,
            f"ranks are pinned to one core, and would start up to "
            f"{max(each.threads for each in ranks)} threads there{_because(ranks)}",
            ranks,
            _FEWER_THREADS,
        )


def unbound(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Several ranks that wander between the same NUMA nodes."""
    ranks = [
        each
        for group in groups(facts)
        if 1 < len(group) <= len(group[0].cores) and len(group[0].numa) > 1
        for each in group
    ]
    if ranks:
        yield found(
            "unbound ranks",
            WARNING,
            f"ranks share the cores of NUMA nodes {numbers(ranks[0].numa)}, and may be moved away "
            "from their memory",
            ranks,
            _BIND,
        )


def one_core_of_many(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Ranks with one core each, on hosts that have many more and no batch system that says so."""
    per_node = {node: sum(each.node == node for each in facts) for node in {f.node for f in facts}}
    alone = [group[0] for group in groups(facts) if len(group) == 1]
    ranks = [
        each
        for each in alone
        if len(each.cores) == 1
        and each.threads == 1
        and each.host_cores >= _MANY * per_node[each.node]
        and "SLURM_CPUS_PER_TASK" not in each.settings
    ]
    if ranks:
        yield found(
            "idle cores",
            WARNING,
            f"ranks are pinned to one core each, of {ranks[0].host_cores} that the host has",
            ranks,
            "give each rank more: `--cpus-per-task` (Slurm), `--bind-to none` or "
            "`--map-by slot:PE=C` (Open MPI)",
        )


def _cores(count: int) -> str:
    return f"{count} core" if count == 1 else f"{count} cores"


def _because(ranks: Sequence[Facts]) -> str:
    """Which variables ask for so many threads."""
    asked = sorted(
        {
            f"{name}={value}"
            for each in ranks
            for name, value in each.settings.items()
            if name.endswith("_NUM_THREADS")
        }
    )
    return f"; {', '.join(asked)}" if asked else ""
