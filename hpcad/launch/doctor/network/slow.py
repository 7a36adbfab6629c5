"""Which links are slow, compared with the others of the same launch; a pure function of the times.

What is usual: of each rank the upper quartile of its links, and of these the median. A link that
works is nearly as good as any other, and a host whose links are all slow must not change what is
compared with; so this holds while fewer than half of the hosts are slow, even where a slow host
spoils half of the links of the others. A link is slow below 0.3 of the usual bandwidth, both as
measured and without the waits for a core; or with ten times the usual latency and 250 us more,
which no switch adds. Neighbours on one switch and far ends of a machine differ by less than two,
and links that share a cable for a moment by two or three; a card at half of its width is therefore
not found, and one at a quarter, or messages that go over Ethernet instead, are.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

BANDWIDTH = 0.3  # of the usual one
LATENCY = 10.0  # times the usual one
LATENCY_MORE = 250e-6  # seconds
_LEAST_ENDS = 3  # two have nothing to be compared with
_ALL = 0.75  # share of the links of a host that makes it the host's fault


@dataclass(frozen=True)
class Way:
    """One direction of a link: ranks, and what :class:`~hpcad.launch.doctor.facts.Link` has."""

    source: int
    target: int
    latency: float
    bandwidth: float
    undisturbed: float


@dataclass(frozen=True)
class SlowEnd:
    """A rank with hardly any way of one direction that is not slow.

    Attributes
    ----------
    rank : int
    sends : bool
        Whether these are the ways from it, or to it.
    ways : tuple of Way
    """

    rank: int
    sends: bool
    ways: tuple[Way, ...]


def slow_ways(ways: Sequence[Way]) -> list[Way]:
    """The slow ones, in their order; none where fewer than three ranks are compared."""
    ends = sorted({end for way in ways for end in (way.source, way.target)})
    if len(ends) < _LEAST_ENDS:
        return []
    of: dict[int, list[Way]] = {end: [] for end in ends}
    for way in ways:
        of[way.source].append(way)
        of[way.target].append(way)
    bandwidth = _usual(of, lambda way: -way.bandwidth)
    undisturbed = _usual(of, lambda way: -way.undisturbed)
    latency = _usual(of, lambda way: way.latency)
    return [
        way
        for way in ways
        if (-way.bandwidth > BANDWIDTH * bandwidth and -way.undisturbed > BANDWIDTH * undisturbed)
        or way.latency > max(LATENCY * latency, latency + LATENCY_MORE)
    ]


def slow_ends(ways: Sequence[Way], slow: Iterable[Way]) -> tuple[list[SlowEnd], list[Way]]:
    """Tell slow hosts from slow links.

    The rank with the largest share of slow ways in a direction is named first, and what it explains
    is set aside, so that its partners are not blamed for it.

    Returns
    -------
    ends : list of SlowEnd
    rest : list of Way
        Slow ways that no slow end explains.
    """
    rest, others, ends = list(slow), list(ways), []
    while rest:
        of_rest, of_all = _counted(rest), _counted(others)
        end = max(of_rest, key=lambda end: (of_rest[end] / of_all[end], of_rest[end], -end[0]))
        if of_rest[end] < max(2, _ALL * of_all[end]):
            break
        ends.append(SlowEnd(*end, tuple(way for way in rest if end in _ends(way))))
        rest = [way for way in rest if end not in _ends(way)]
        others = [way for way in others if end not in _ends(way)]
    return ends, rest


def _usual(ways_of: Mapping[int, Sequence[Way]], cost: Callable[[Way], float]) -> float:
    """The median over the ranks of the cost that a quarter of a rank's ways do not exceed."""
    return statistics.median(sorted(map(cost, ways))[len(ways) // 4] for ways in ways_of.values())


def _counted(ways: Iterable[Way]) -> Counter[tuple[int, bool]]:
    return Counter(end for way in ways for end in _ends(way))


def _ends(way: Way) -> tuple[tuple[int, bool], tuple[int, bool]]:
    return (way.source, True), (way.target, False)
