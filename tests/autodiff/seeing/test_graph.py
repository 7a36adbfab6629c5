"""graph(f)(x) shows every operation with its shapes, bytes, FLOPs and line."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import nn
from hpcad.autodiff import PRIMITIVES
from hpcad.autodiff.seeing.layout import GAP, POINT, arrange
from hpcad.autodiff.seeing.nodes import MOVES
from hpcad.autodiff.state import STATE
from hpcad.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def textbook(x1, x2):
    return hnp.log(x1) + x1 * x2 - hnp.sin(x2)


def network(params, x):
    hidden = hnp.tanh(x @ params["w"] + params["b"])
    return {"loss": (hidden**2).sum(), "first": hidden[0]}


PARAMS = {"w": np.ones((3, 4)), "b": np.zeros(4)}
X = np.ones((2, 3))


def test_operations_are_listed_in_order_with_their_arguments():
    graph = hpcad.graph(textbook)(2.0, 5.0)
    assert [node.call for node in graph.nodes] == [
        "input x1",
        "input x2",
        "log(v0)",
        "multiply(v0, v1)",
        "add(v2, v3)",
        "sin(v1)",
        "subtract(v4, v5)",
    ]
    assert [node.results for node in graph.nodes][-2:] == [(), ("y",)]


def test_shapes_bytes_and_flops():
    graph = hpcad.graph(network)(PARAMS, X)
    by_name = {node.name: node for node in graph.nodes}
    product = by_name["matmul"]
    assert product.shapes == ((2, 4),)
    assert product.dtypes == ("float64",)
    assert product.bytes == 2 * 4 * 8
    assert product.flops == 2 * 2 * 3 * 4  # counted where the product is computed
    assert by_name["tanh"].flops == 8
    assert by_name["sum"].flops == 8  # of the array that is summed
    assert by_name["getitem"].flops == 0
    assert by_name["getitem"].bytes == 0  # a view
    assert by_name["params['w']"].kind == "input"
    assert graph.bytes == sum(node.bytes for node in graph.nodes)
    assert graph.flops == 24 * 2 + 8 * 4


def test_results_are_named_by_their_place():
    graph = hpcad.graph(network)(PARAMS, X)
    named = {node.name: node.results for node in graph.nodes if node.results}
    assert named == {"sum": ("y['loss']",), "getitem": ("y['first']",)}


def test_each_node_knows_its_line():
    graph = hpcad.graph(network)(PARAMS, X)
    lines = {node.name: node.line for node in graph.operations}
    assert lines["tanh"].file == __file__
    assert lines["tanh"].text.startswith("hidden = hnp.tanh(")
    assert lines["sum"].number == lines["tanh"].number + 1


def test_inputs_parameters_and_constants_are_told_apart():
    layer = nn.Linear(3, 2)
    layer.initialize(seed=0)
    weights = np.arange(2.0)
    labels = np.array([0, 1])

    def loss(x, labels):
        scaled = layer.weight * 2.0  # from parameters alone
        return ((layer(x) * weights) * 0.5)[labels].sum() + scaled.sum()

    ambient = STATE.ambient()
    before = ambient and len(ambient.records)
    graph = hpcad.graph(loss)(X, labels)
    kinds = {kind: [n.name for n in graph.nodes if n.kind == kind] for kind in
             ("input", "parameter", "constant")}  # fmt: skip
    assert kinds["input"] == ["x"]
    assert sorted(kinds["parameter"]) == ["bias", "weight"]
    assert len(kinds["constant"]) == 1
    assert "multiply" in [n.name for n in graph.operations]
    assert any("0.5" in node.operands for node in graph.operations)
    assert layer.weight.grad is None
    assert STATE.ambient() is ambient
    assert ambient is None or len(ambient.records) == before


def test_an_operation_with_several_answers_is_one_node():
    graph = hpcad.graph(lambda x: hnp.unstack(x)[1] * 2.0)(np.ones((3, 2)))
    (node,) = [n for n in graph.operations if len(n.shapes) == 3]
    assert node.types == "3 x float64[2]"


def test_a_gradient_has_a_graph_of_its_own():
    graph = hpcad.graph(hpcad.grad(lambda x: (hnp.sin(x) ** 2).sum()))(np.ones(3))
    assert {"sin", "cos"} <= {node.name for node in graph.operations}


def test_text_is_a_table_with_totals():
    lines = hpcad.graph(network)(PARAMS, X).text().splitlines()
    row = next(line for line in lines if "matmul" in line)
    assert re.match(r"v3 +matmul\(v2, v0\) +float64\[2, 4\] +64 B +48  test_graph.py:\d+ ", row)
    assert lines[-2] == "6 operations, 440 B, 80 floating-point operations"


def test_dot_has_every_node_and_edge():
    graph = hpcad.graph(textbook)(2.0, 5.0)
    text = graph.dot()
    assert text.count("[shape=") == len(graph.nodes)
    edges = set(re.findall(r"(v\d+ -> v\d+);", text))
    assert edges == {f"v{i} -> v{n.number}" for n in graph.nodes for i in n.inputs}


def test_quotes_in_names_are_escaped_in_dot():
    text = hpcad.graph(lambda p: p['a"b'] * 2.0)({'a"b': 1.0}).dot()
    assert '\\"' in text


def test_svg_is_well_formed_and_shows_every_node():
    graph = hpcad.graph(network)(PARAMS, X)
    root = ElementTree.fromstring(graph.svg())
    titles = [t.text for t in root.iter(f"{SVG}title")]
    assert len(titles) == len(graph.nodes)
    assert any("hidden = hnp.tanh" in title for title in titles)
    paths = root.findall(f"{SVG}path")
    assert len(paths) == sum(len(set(node.inputs)) for node in graph.nodes)
    assert graph._repr_svg_() == graph.svg()


def boxes(svg):
    for group in ElementTree.fromstring(svg).findall(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        yield tuple(float(rect.get(key)) for key in ("x", "y", "width", "height"))


def random_inputs(seed, count):
    rng = np.random.default_rng(seed)
    return [
        [] if v < 4 else sorted({int(u) for u in rng.integers(max(0, v - 12), v, 2)})
        for v in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_nodes_of_a_layer_do_not_overlap_and_edges_run_downwards(seed):
    inputs = random_inputs(seed, 80)
    layout = arrange([40.0 + 3 * (v % 7) for v in range(80)], inputs)
    for layer in layout.layers:
        for a, b in pairwise(layer):
            left, right = layout.places[a], layout.places[b]
            assert right.x - left.x >= (left.width + right.width) / 2 + GAP - 1e-6
    for v, sources in enumerate(inputs):
        assert all(layout.places[u].layer < layout.places[v].layer for u in sources)
    for way in layout.ways:
        layers = [layout.places[i].layer for i in way]
        assert layers == list(range(layers[0], layers[-1] + 1))
        assert all(layout.places[i].width == POINT for i in way[1:-1])


def test_boxes_in_the_drawing_do_not_overlap():
    def f(x):
        parts = [hnp.sin(x * k) for k in range(1, 6)]
        return sum(parts) * parts[0] - parts[4]

    found = list(boxes(hpcad.graph(f)(np.ones(2)).svg()))
    for i, (x, y, w, h) in enumerate(found):
        for x2, y2, w2, h2 in found[:i]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_a_chain_is_drawn_straight():
    found = list(boxes(hpcad.graph(lambda x: hnp.exp(hnp.sin(hnp.cos(x))))(1.0).svg()))
    assert np.ptp([x + w / 2 for x, _, w, _ in found]) < 0.5


def test_long_graphs_are_written_quickly():
    def f(x):
        for _ in range(2000):
            x = hnp.sin(x) * 1.1
        return x

    graph = hpcad.graph(f)(1.0)
    start = time.perf_counter()
    assert graph.text().count("\n") > 4000
    assert time.perf_counter() - start < 3.0
    graph.svg()  # no recursion


def test_save_chooses_the_form_by_the_name(tmp_path):
    graph = hpcad.graph(textbook)(2.0, 5.0)
    for suffix, form in ((".svg", graph.svg), (".dot", graph.dot), (".txt", graph.text)):
        path = tmp_path / f"graph{suffix}"
        graph.save(path)
        assert path.read_text(encoding="utf-8") == form() + "\n"
    with pytest.raises(ConfigError, match=r"use \.svg, \.dot or \.txt"):
        graph.save(tmp_path / "graph.png")


def test_a_function_of_nothing_has_an_empty_graph():
    graph = hpcad.graph(lambda: 1.0)()
    assert graph.nodes == []
    ElementTree.fromstring(graph.svg())
    assert "0 operations" in graph.text()


def test_operations_that_only_move_numbers_exist():
    assert set(PRIMITIVES) >= MOVES


def test_indices_are_written_as_in_the_program():
    graph = hpcad.graph(lambda x: x[1:, ..., ::2].sum())(np.ones((3, 2, 4)))
    assert graph.operations[0].call == "getitem(v0, [1:, ..., ::2])"


def test_an_error_leaves_no_state_behind():
    with pytest.raises(ZeroDivisionError):
        hpcad.graph(lambda x: x * (1 // 0))(1.0)
    assert STATE.depth == 0
    assert STATE.traces == []
    p = hpcad.Parameter(np.array(2.0))
    (p * p).backward()
    assert p.grad == 4.0
