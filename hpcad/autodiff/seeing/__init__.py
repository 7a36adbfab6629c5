"""Looking at a differentiated program: where a NaN came from, its graph, its textbook table."""

from hpcad.autodiff.seeing.anomaly import anomaly
from hpcad.autodiff.seeing.expand import expand
from hpcad.autodiff.seeing.expansion import Expansion
from hpcad.autodiff.seeing.graph import Graph, graph
from hpcad.autodiff.seeing.nodes import Node

__all__ = ["Expansion", "Graph", "Node", "anomaly", "expand", "graph"]
