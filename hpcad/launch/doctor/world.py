"""Faults of the world: ranks that do not find one another, or are not alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hpcad.launch.doctor.facts import Facts
from hpcad.launch.doctor.finding import ERROR, WARNING, Finding, found


def no_common_world(facts: Sequence[Facts]) -> Iterator[Finding]:
    """The launcher promised other ranks than MPI delivers, or there is no MPI at all."""
    first = facts[0]
    if first.promised is not None and first.size and first.promised != first.size:
        yield found(
            "worlds apart",
            ERROR,
            f"{first.launcher} promised {first.promised} ranks, but {first.mpi} made a world of "
            f"{first.size}: each process believes that it is alone, and does the whole work",
            facts,
            "start it with the mpirun that belongs to the MPI library of this environment, or "
            "under Slurm with `srun --mpi=pmi2` (MPICH) or `srun --mpi=pmix` (Open MPI)",
        )
    elif first.problem:
        yield found(
            "no MPI",
            ERROR,
            f"the ranks did not come to a common world: {first.problem}",
            facts,
            "load the MPI library that belongs to this launcher, or set what the sentence names",
        )


def uneven_ranks(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Some nodes have more ranks than others."""
    counts = Counter(each.node for each in facts)
    most = max(counts.values())
    if most == min(counts.values()):
        return
    full = [each for each in facts if counts[each.node] == most]
    yield found(
        "uneven ranks",
        WARNING,
        f"nodes have {min(counts.values())} to {most} ranks: the fullest ones are the slowest, and "
        "sums cannot be made inside the nodes first",
        full,
        "ask for as many ranks on every node: `--ntasks-per-node` (Slurm) or `-ppn` (mpirun)",
    )


def mixed_versions(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Ranks with other versions than most."""
    for name in dict.fromkeys(name for each in facts for name in _versions(each)):
        counts = Counter(_versions(each).get(name, "none") for each in facts)
        if len(counts) == 1:
            continue
        usual = counts.most_common(1)[0][0]
        others = [each for each in facts if _versions(each).get(name, "none") != usual]
        theirs = sorted({_versions(each).get(name, "none") for each in others})
        yield found(
            f"mixed {name}",
            ERROR,
            f"{name} is {usual} on most ranks, and {', '.join(theirs)} on these",
            others,
            "start all ranks from one environment that all nodes see, with the same modules loaded",
        )


def _versions(facts: Facts) -> dict[str, str]:
    nccl = {"NCCL": facts.nccl} if facts.nccl else {}
    return {"MPI": facts.mpi, **nccl, **facts.versions}
