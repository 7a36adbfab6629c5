"""Looking at a differentiated program: where a NaN came from, its graph, its textbook table."""

from hpcad.autodiff.seeing.anomaly import anomaly
from hpcad.autodiff.seeing.expand import Expansion, expand
from hpcad.autodiff.seeing.graph import Graph, Node, graph

__all__ = ["Expansion", "Graph", "Node", "anomaly", "expand", "graph"]
