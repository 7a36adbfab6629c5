"""What was measured of the network, in a few lines below the table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from hpcad.launch.doctor.facts import Facts, Link, Sum

_LONG = 1 << 10  # bytes, from which a rate says something


def bus_bandwidth(found: Sum, ranks: int) -> float:
    """Bytes per second times 2 (n - 1) / n."""
    return found.nbytes / found.seconds * 2 * (ranks - 1) / ranks


def network(facts: Sequence[Facts]) -> list[str]:
    """The lines; none where nothing was measured."""
    between = [link for each in facts for link in each.links]
    inside = [link for each in facts for link in each.inside]
    lines = []
    if between:
        lines.append(f"links between hosts  {_spread(between)}")
    if inside:
        lines.append(f"links inside hosts   {_spread(inside)}")
    if any(each.links_cut for each in facts):
        lines.append("                     time ran out; --links all measures every link")
    for where in dict.fromkeys(found.where for found in facts[0].sums):
        lines.append(f"allreduce in {where}")
        lines += [_sum(found, facts[0].size) for found in facts[0].sums if found.where == where]
    if facts[0].device_problem:
        lines.append(f"allreduce on devices was not measured: {facts[0].device_problem}")
    return ["", *lines] if lines else []


def _spread(links: Sequence[Link]) -> str:
    rates = [link.bandwidth / 1e9 for link in links]
    late = [1e6 * link.latency for link in links]
    return (
        f"{len(links)} directions: {min(rates):.3g} to {max(rates):.3g} GB/s, median "
        f"{statistics.median(rates):.3g}; {min(late):.3g} to {max(late):.3g} us, median "
        f"{statistics.median(late):.3g}"
    )


def _sum(found: Sum, ranks: int) -> str:
    text = f"  {found.nbytes:>8} bytes  {1e6 * found.seconds:>9.1f} us"
    if found.nbytes < _LONG:
        return text
    rates = (found.nbytes / found.seconds / 1e9, bus_bandwidth(found, ranks) / 1e9)
    return f"{text}  {rates[0]:.3g} GB/s, bus bandwidth {rates[1]:.3g} GB/s"
