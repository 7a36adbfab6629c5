"""A layered layout of an acyclic graph.

The steps of K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual understanding of hierarchical
system structures", IEEE Trans. SMC 11, 1981: layers by longest path; a point in every layer that
an edge passes; orders by barycentres; places by least squares without overlaps.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 12
GAP = 22.0
POINT = 6.0  # width of a place where an edge passes a layer


@dataclass
class Place:
    """A node, or a point on a long edge.

    Attributes
    ----------
    width : float
    layer : int
    x : float
        Centre.
    above, below : list of int
        Neighbours in the layers above and below.
    """

    width: float
    layer: int
    x: float = 0.0
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


@dataclass
class Layout:
    """Places of the nodes, then of the points; the way of each edge.

    Attributes
    ----------
    places : list of Place
    layers : list of list of int
        Places of each layer, from left to right.
    ways : list of list of int
        For each edge, the places it runs through, from above.
    """

    places: list[Place]
    layers: list[list[int]]
    ways: list[list[int]]


def arrange(widths: Sequence[float], inputs: Sequence[Sequence[int]]) -> Layout:
    """Lay out nodes of the given widths; ``inputs`` are numbers of earlier nodes."""
    places = [Place(w, d) for w, d in zip(widths, _depths(inputs), strict=True)]
    ways = []
    for v, sources in enumerate(inputs):
        for u in dict.fromkeys(sources):
            way = [u]
            for layer in range(places[u].layer + 1, places[v].layer):
                places.append(Place(POINT, layer))
                way.append(len(places) - 1)
            way.append(v)
            ways.append(way)
            for a, b in pairwise(way):
                places[a].below.append(b)
                places[b].above.append(a)
    layers: list[list[int]] = [[] for _ in range(1 + max((p.layer for p in places), default=-1))]
    for i, place in enumerate(places):
        layers[place.layer].append(i)
    layers = _ordered(places, layers)
    _spread(places, layers)
    return Layout(places, layers, ways)


def _depths(inputs: Sequence[Sequence[int]]) -> list[int]:
    """Longest path from a source; sources stand just above their first use."""
    depths = [0] * len(inputs)
    first: dict[int, int] = {}
    for v, sources in enumerate(inputs):
        depths[v] = 1 + max((depths[u] for u in sources), default=-1)
        for u in sources:
            first[u] = min(first.get(u, depths[v]), depths[v])
    return [
        max(0, first.get(v, 1) - 1) if not sources else d
        for v, (d, sources) in enumerate(zip(depths, inputs, strict=True))
    ]


# -- order in the layers ------------------------------------------------------------------


def _ordered(places: list[Place], layers: list[list[int]]) -> list[list[int]]:
    best, least = layers, _crossings(places, layers)
    for sweep in range(SWEEPS):
        if not least:
            break
        downwards = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        at = {i: float(k) for layer in layers for k, i in enumerate(layer)}
        for layer in layers if downwards else layers[::-1]:
            centre = {}
            for i in layer:
                near = places[i].above if downwards else places[i].below
                centre[i] = sum(at[j] for j in near) / len(near) if near else at[i]
            layer.sort(key=centre.__getitem__)
            at.update((i, float(k)) for k, i in enumerate(layer))
        found = _crossings(places, layers)
        if found < least:
            best, least = layers, found
    return best


def _crossings(places: list[Place], layers: list[list[int]]) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        at = {i: k for k, i in enumerate(lower)}
        seen: list[int] = []
        for i in upper:
            ends = sorted(at[j] for j in places[i].below)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


# -- places in the layers -----------------------------------------------------------------


def _spread(places: list[Place], layers: list[list[int]]) -> None:
    """Pull each place to the mean of its neighbours, and long edges straight."""
    for layer in layers:
        _settle(places, layer, [0.0] * len(layer))
    for sweep in range(2 * SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers if downwards else layers[::-1]:
            wanted = []
            for i in layer:
                near = places[i].above if downwards else places[i].below
                if places[i].width == POINT:
                    near = places[i].above + places[i].below
                near = near or places[i].above or places[i].below
                wanted.append(sum(places[j].x for j in near) / len(near) if near else places[i].x)
            _settle(places, layer, wanted)


def _settle(places: list[Place], layer: list[int], wanted: list[float]) -> None:
    """The places nearest to the wanted ones (least squares) that keep order and distance.

    With offsets that take out the distances this is isotonic regression: neighbours that are in
    each other's way are pooled at their mean.
    """
    offset, offsets = 0.0, []
    for k, i in enumerate(layer):
        if k:
            offset += (places[layer[k - 1]].width + places[i].width) / 2 + GAP
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # weighted mean, weight, members
    for i, want, shift in zip(layer, wanted, offsets, strict=True):
        weight = 1.0 if places[i].width > POINT else 8.0
        mean, members = want - shift, 1
        while pools and pools[-1][0] > mean:
            other, other_weight, other_members = pools.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, members = weight + other_weight, members + other_members
        pools.append((mean, weight, members))
    flat = [mean for mean, _, members in pools for _ in range(members)]
    for i, mean, shift in zip(layer, flat, offsets, strict=True):
        places[i].x = mean + shift
