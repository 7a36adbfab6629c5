"""Faults of the network: slow hosts and slow links, by name."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from hpcad.launch.doctor.facts import Facts
from hpcad.launch.doctor.finding import WARNING, Finding, found
from hpcad.launch.doctor.network.slow import SlowEnd, Way, slow_ends, slow_ways

_SHOWN = 8
_LEAST_NODES = 3
_INSIDE = 1 / 3  # of the median of the nodes


def ways_of(facts: Sequence[Facts]) -> list[Way]:
    """The links between nodes that were measured, one direction each."""
    return [
        Way(each.rank, link.peer, link.latency, link.bandwidth, link.undisturbed)
        for each in facts
        for link in each.links
    ]


def slow_hosts(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Hosts whose links are all slow."""
    ways = ways_of(facts)
    slow = slow_ways(ways)
    ends, _ = slow_ends(ways, slow)
    if not ends:
        return
    by_rank = {each.rank: each for each in facts}
    hosts = [by_rank[rank] for rank in dict.fromkeys(end.rank for end in ends)]
    names = ",".join(dict.fromkeys(each.host for each in hosts))
    yield found(
        "slow host",
        WARNING,
        f"all links of a host are slow: {_some(_end_told(end, by_rank) for end in ends)}; "
        f"{_others(ways, slow)}",
        hosts,
        f"leave these hosts out (`sbatch --exclude={names}`) and tell the administrators; or see "
        "which network card the MPI library takes there (UCX_NET_DEVICES, FI_PROVIDER), and "
        "whether it is up at its full rate",
    )


def slow_links(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Slow links between hosts whose other links are not slow."""
    ways = ways_of(facts)
    slow = slow_ways(ways)
    _, rest = slow_ends(ways, slow)
    if not rest:
        return
    by_rank = {each.rank: each for each in facts}
    both: dict[tuple[int, int], list[Way]] = {}
    for way in sorted(rest, key=lambda way: way.bandwidth):
        both.setdefault((min(way.source, way.target), max(way.source, way.target)), []).append(way)
    ends = sorted({rank for pair in both for rank in pair})
    yield found(
        "slow link",
        WARNING,
        f"links are slow: {_some(_link_told(pair, by_rank) for pair in both.values())}; "
        f"{_others(ways, slow)}",
        (by_rank[rank] for rank in ends),
        "measure every link (`hpcad doctor --links all`); if these stay slow, leave one host of "
        "each out (`sbatch --exclude=HOST`), and tell the administrators, who can look at the "
        "cables and switches between them",
    )


def slow_inside(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Nodes in which messages are slow, compared with the other nodes."""
    rates: dict[int, list[float]] = {}
    for each in facts:
        rates.setdefault(each.node, []).extend(link.undisturbed for link in each.inside)
    typical = {node: statistics.median(found) for node, found in rates.items() if found}
    if len(typical) < _LEAST_NODES:
        return
    usual = statistics.median(typical.values())
    slow = {node: rate for node, rate in typical.items() if rate < _INSIDE * usual}
    if not slow:
        return
    names = {each.node: each.host for each in reversed(facts)}
    told = _some(f"{names[node]}: {_rate(rate)}" for node, rate in sorted(slow.items()))
    yield found(
        "slow inside a host",
        WARNING,
        f"messages between ranks of one host are slow: {told}; the median of all hosts is "
        f"{_rate(usual)}",
        (each for each in facts if each.node in slow),
        "see what else runs on these hosts and how their ranks are bound; leave them out "
        "(`sbatch --exclude=HOST`) if it stays so",
    )


def _end_told(end: SlowEnd, by_rank: dict[int, Facts]) -> str:
    middle = statistics.median(way.bandwidth for way in end.ways)
    late = statistics.median(way.latency for way in end.ways)
    verb, word = ("sends", "to") if end.sends else ("receives", "from")
    count = len(end.ways)
    return (
        f"{by_rank[end.rank].host} (rank {end.rank}) {verb} at {_rate(middle)}, {_time(late)}, "
        f"{word} {count} others"
    )


def _link_told(ways: Sequence[Way], by_rank: dict[int, Facts]) -> str:
    first = ways[0]
    arrow = "<->" if len(ways) == 2 else "->"
    rates = " and ".join(_rate(way.bandwidth) for way in ways)
    names = f"{by_rank[first.source].host} {arrow} {by_rank[first.target].host}"
    return f"{names}: {rates}, {_time(first.latency)}"


def _others(ways: Sequence[Way], slow: Sequence[Way]) -> str:
    bad = set(slow)
    good = [way for way in ways if way not in bad]
    rate = statistics.median(way.bandwidth for way in good)
    late = statistics.median(way.latency for way in good)
    return f"the median of the other {len(good)} directions is {_rate(rate)}, {_time(late)}"


def _some(texts: Iterator[str]) -> str:
    every = list(texts)
    more = f", and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return "; ".join(every[:_SHOWN]) + more


def _rate(bandwidth: float) -> str:
    return f"{bandwidth / 1e9:.3g} GB/s"


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:.3g} us"
