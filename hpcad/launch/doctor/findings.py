"""The verdict: all faults of a launch, a pure function of the facts of its ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcad.launch.doctor import cores, gpus, surroundings, world
from hpcad.launch.doctor.facts import Facts
from hpcad.launch.doctor.finding import ERROR, Finding, Rule
from hpcad.launch.doctor.network import verdict

#: In the order of printing. Findings of a rule that ask for the same change become one.
RULES: tuple[Rule, ...] = (
    world.no_common_world,
    world.uneven_ranks,
    world.mixed_versions,
    cores.overlapping,
    cores.crowded,
    cores.more_threads_than_cores,
    cores.threads_on_one_core,
    cores.unbound,
    cores.one_core_of_many,
    gpus.shared,
    gpus.absent,
    gpus.not_aware,
    surroundings.slow_start,
    surroundings.file_locking,
    surroundings.little_scratch,
    surroundings.little_shared_memory,
    surroundings.clocks,
    verdict.slow_hosts,
    verdict.slow_links,
    verdict.slow_inside,
)


def findings(facts: Sequence[Facts]) -> list[Finding]:
    """The faults of a launch, errors first; none for a healthy one.

    Parameters
    ----------
    facts : sequence of Facts
        Of all ranks, or of one that found no others.
    """
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in (finding for rule in RULES for finding in rule(facts)):
        alike.setdefault((finding.severity, finding.kind, finding.change), []).append(finding)
    merged = [_merged(group) for group in alike.values()]
    return sorted(merged, key=lambda finding: finding.severity != ERROR)


def _merged(group: list[Finding]) -> Finding:
    """One finding in place of many that differ in their numbers only, as on a thousand nodes."""
    first, more = group[0], len(group) - 1
    if not more:
        return first
    ranks = sorted({rank for each in group for rank in each.ranks})
    hosts = dict.fromkeys(host for each in group for host in each.hosts)
    what = f"{first.what} (and {more} more like this)"
    return replace(first, what=what, ranks=tuple(ranks), hosts=tuple(hosts))
