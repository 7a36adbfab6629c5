"""The drawing of a graph as SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from hpcad.autodiff.seeing.graph import Graph
from hpcad.autodiff.seeing.layout import Layout, arrange
from hpcad.autodiff.seeing.nodes import Node, captions

HEIGHT = 50.0  # of a node
STEP = 88.0  # from layer to layer
MARGIN = 16.0
HEAD = 46.0  # for legend and totals

FILL = {
    "input": ("#dbeafe", "#2563eb"),
    "parameter": ("#dcfce7", "#15803d"),
    "constant": ("#f3f4f6", "#9ca3af"),
    "operation": ("#ffffff", "#6b7280"),
}
RESULT = "#d97706"

_STYLE = (
    "text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;fill:#111827}"
    ".n{font-size:12px;font-weight:bold;text-anchor:middle}"
    ".d{font-size:10px;text-anchor:middle;fill:#4b5563}"
    ".l{font-size:11px}"
    "path{fill:none;stroke:#6b7280;stroke-width:1.1}"
)


def draw(graph: Graph) -> str:
    """Return the graph as an SVG document."""
    layout = arrange([_width(node) for node in graph.nodes], [node.inputs for node in graph.nodes])
    left = min((p.x - p.width / 2 for p in layout.places), default=0.0) - MARGIN
    right = max((p.x + p.width / 2 for p in layout.places), default=0.0) + MARGIN
    legend = "".join(_legend(graph, left + MARGIN))
    right = max(right, left + 2 * MARGIN + max(6.0 * len(graph.totals()), 380.0))
    depth = HEAD + 2 * MARGIN + max(0, len(layout.layers) - 1) * STEP + HEIGHT
    edges = "".join(_edges(layout))
    boxes = "".join(
        _box(node, p.x, _top(p.layer), p.width)
        for node, p in zip(graph.nodes, layout.places, strict=False)  # points come after nodes
    )
    size = f"{right - left:.0f}", f"{depth:.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="{left:.1f} 0 {size[0]} {size[1]}"><style>{_STYLE}</style>'
        f'<rect x="{left:.1f}" width="{size[0]}" height="{size[1]}" fill="#fff"/>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#6b7280;stroke:none"/>'
        f"</marker></defs>{legend}{edges}{boxes}</svg>"
    )


def _top(layer: int) -> float:
    return HEAD + MARGIN + layer * STEP


def _width(node: Node) -> float:
    name, *details = captions(node)
    return max(64.0, 7.6 * len(name) + 18, *(5.7 * len(text) + 18 for text in details))


def _box(node: Node, x: float, top: float, width: float) -> str:
    name, *details = captions(node)
    fill, stroke = FILL[node.kind]
    line = 1.2
    if node.results:
        stroke, line = RESULT, 2.4
    corner = 4 if node.kind == "operation" else HEIGHT / 2 if node.kind == "input" else 12
    tip = f"v{node.number} = {node.call}" if node.kind == "operation" else node.call
    if node.kind == "operation":
        tip += f"\n{node.line}\n{node.line.text}"
    rows = [f'<text class="n" x="{x:.1f}" y="{top + 16:.1f}">{escape(name)}</text>']
    rows += [
        f'<text class="d" x="{x:.1f}" y="{top + 30 + 13 * i:.1f}">{escape(text)}</text>'
        for i, text in enumerate(details)
    ]
    return (
        f'<g><title>{escape(tip)}</title><rect x="{x - width / 2:.1f}" y="{top:.1f}" '
        f'width="{width:.1f}" height="{HEIGHT:.0f}" rx="{corner}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="{line}"/>{"".join(rows)}</g>'
    )


def _edges(layout: Layout) -> Iterator[str]:
    """Curves from the lower side of a node to the upper side of another."""
    arriving: dict[int, list[list[int]]] = defaultdict(list)
    for way in layout.ways:
        arriving[way[-1]].append(way)
    for end, ways in arriving.items():
        place = layout.places[end]
        ways.sort(key=lambda way: layout.places[way[-2]].x)
        spread = min(18.0, (place.width - 24) / max(1, len(ways) - 1))
        for k, way in enumerate(ways):
            port = place.x + spread * (k - (len(ways) - 1) / 2)
            yield _curve(layout, way, port)


def _curve(layout: Layout, way: list[int], port: float) -> str:
    x, y = layout.places[way[0]].x, _top(layout.places[way[0]].layer) + HEIGHT
    parts = [f"M{x:.1f} {y:.1f}"]
    for i in way[1:]:
        place = layout.places[i]
        last = i == way[-1]
        nx, ny = (port if last else place.x), _top(place.layer)
        bend = (ny - y) / 2
        parts.append(f"C{x:.1f} {y + bend:.1f} {nx:.1f} {ny - bend:.1f} {nx:.1f} {ny:.1f}")
        if not last:
            ny += HEIGHT
            parts.append(f"V{ny:.1f}")
        x, y = nx, ny
    return f'<path d="{"".join(parts)}" marker-end="url(#tip)"/>'


def _legend(graph: Graph, left: float) -> Iterator[str]:
    x = left
    kinds = [kind for kind in FILL if any(node.kind == kind for node in graph.nodes)]
    for kind in [*kinds, "result"]:
        fill, stroke = FILL.get(kind, ("#ffffff", RESULT))
        yield (
            f'<rect x="{x:.1f}" y="12" width="12" height="12" rx="3" fill="{fill}" '
            f'stroke="{stroke}"/><text class="l" x="{x + 17:.1f}" y="22">{kind}</text>'
        )
        x += 32 + 6.6 * len(kind)
    yield f'<text class="l" x="{left:.1f}" y="42">{escape(graph.totals())}</text>'
