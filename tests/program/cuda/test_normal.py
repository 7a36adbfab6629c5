"""Kernels are brought to few loops, and wide loads are used where memory allows them."""

from __future__ import annotations

import pytest

from hpcad.program.cuda.generate import generate
from hpcad.program.cuda.graph import Graph
from hpcad.program.cuda.lanes import widest
from hpcad.program.cuda.normal import normalise
from hpcad.program.cuda.parts import CudaKernel
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

from .samples import cross_entropy, layer_norm_backward, softmax, transposed_add


def copy(extents, source, target, dtype="float32", nodes=(), reduce=None):
    """A kernel that stores what it loads."""
    operands = (Operand(dtype, source), Operand(dtype, target))
    nodes = (Node("load", (), dtype, 0), *nodes)
    return Kernel(extents, operands, (), nodes, (Store(len(nodes) - 1, 1, reduce),))


def width(kernel):
    graph = Graph(normalise(kernel))
    return widest(graph, any_length=len(graph.kernel.extents) == 1)


def test_axes_that_are_walked_as_one_are_merged():
    assert normalise(copy((2, 3, 4), (12, 4, 1), (12, 4, 1))).extents == (24,)
    assert normalise(copy((2, 3, 4), (0, 4, 1), (12, 4, 1))).extents == (2, 12)
    assert normalise(copy((2, 1, 4), (8, 0, 1), (4, 9, 1))).extents == (2, 4)


def test_rows_with_reductions_stay_rows():
    assert normalise(softmax(6, 8, "float32")).extents == (6, 8)
    assert normalise(layer_norm_backward(2, 3, 8, "float32")).extents == (6, 8)


def test_an_axis_whose_index_is_asked_for_stays():
    index = (Node("index", (), "int64", 1), Node("cast", (1,), "float32"))
    kernel = copy((2, 3, 4), (12, 4, 1), (12, 4, 1), nodes=index)
    assert normalise(kernel).extents == (2, 3, 4)
    assert normalise(copy((5, 1, 4), (4, 4, 1), (4, 4, 1), nodes=index)).extents == (20,)


def test_the_row_is_what_is_written_contiguously():
    kernel = copy((3, 5), (5, 1), (1, 3))
    assert normalise(kernel).extents == (5, 3)
    assert normalise(kernel).operands[1].strides == (3, 1)


def test_a_reduction_of_single_elements_is_no_reduction():
    kernel = copy((6, 1), (1, 1), (1, 1), nodes=(Node("row_sum", (0,), "float32"),))
    assert normalise(kernel).extents == (6,)
    assert [node.op for node in normalise(kernel).nodes] == ["load", "cast"]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (copy((100,), (1,), (1,)), 4),
        (copy((101,), (1,), (1,)), 4),  # the last element is loaded alone
        (copy((100,), (1,), (1,), "float64"), 2),
        (copy((100,), (2,), (1,)), 4),  # the store is still wide
        (copy((100,), (2,), (2,)), 1),
        (copy((8, 10), (0, 1), (10, 1)), 2),
        (copy((8, 13), (0, 1), (13, 1)), 1),
        (copy((8, 12), (13, 1), (13, 1)), 1),  # rows begin anywhere
        (transposed_add(8, 12, "float32"), 4),
        (softmax(3, 1000, "float32"), 4),
        (cross_entropy(3, 65, "float32"), 1),
    ],
)
def test_sixteen_bytes_are_loaded_at_once_where_strides_allow_it(kernel, expected):
    assert width(kernel) == expected


def test_a_wide_kernel_has_a_narrow_sibling_for_other_addresses():
    code = generate(copy((100,), (1,), (1,)), "copied")
    assert [variant.alignment for variant in code.variants] == [(16, 16), (4, 4)]
    assert len(generate(copy((100,), (2,), (2,)), "copied").variants) == 1


def launches(code: CudaKernel):
    return [launch.entry for launch in code.variants[0].launches]


def test_scratch_memory_is_asked_for_only_where_teams_share_a_sum():
    rows = generate(copy((4, 96), (96, 1), (1, 0), reduce="sum"), "rows")
    columns = generate(copy((400, 96), (96, 1), (0, 1), reduce="sum"), "columns")
    assert (rows.scratch, launches(rows)) == (0, ["rows_v4"])
    assert columns.scratch == 50 * 96 * 4 + 0
    assert launches(columns) == ["columns_v4", "columns_v4_finish"]


def test_nothing_is_launched_for_no_elements_but_sums_become_zero():
    assert launches(generate(copy((0, 4), (4, 1), (4, 1)), "nothing")) == []
    nothing = generate(copy((0, 4), (4, 1), (0, 1), reduce="sum"), "nothing")
    assert launches(nothing) == ["nothing_v4_finish"]


def test_places_beyond_32_bits_are_counted_with_64():
    assert " int64_t " in generate(copy((1 << 31,), (1,), (1,)), "long").source
    assert " int64_t " not in generate(copy((1 << 30,), (1,), (1,)), "short").source
