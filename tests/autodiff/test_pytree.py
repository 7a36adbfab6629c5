"""Pytrees: taking apart, building, comparing, naming."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcad.autodiff.pytree import (
    describe,
    flatten,
    leaves_like,
    paths,
    same_structure,
    tree_map,
)
from hpcad.errors import DifferentiationError

Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass
class Point:
    x: object
    y: object = 0.0
    total: object = dataclasses.field(init=False, default=None)


TREES = st.recursive(
    st.floats(-1, 1) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=8,
)


@given(TREES)
def test_building_undoes_taking_apart(tree):
    leaves, structure = flatten(tree)
    assert structure.build(leaves) == tree
    assert structure.count == len(leaves) == len(paths(structure))
    assert leaves_like(tree, structure) == leaves
    assert same_structure(structure, flatten(tree_map(lambda x: x + 1, tree))[1])


@given(TREES)
def test_paths_lead_to_the_leaves(tree):
    leaves, structure = flatten(tree)
    for leaf, path in zip(leaves, paths(structure, "tree"), strict=True):
        assert eval(path, {"tree": tree}) is leaf  # noqa: S307  (paths are Python)


def reverse_keys(tree):
    if isinstance(tree, dict):
        return {key: reverse_keys(tree[key]) for key in reversed(tree)}
    if isinstance(tree, Pair):
        return Pair(*map(reverse_keys, tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(reverse_keys, tree))
    return tree


@given(TREES)
def test_the_order_of_keys_does_not_count(tree):
    leaves, structure = flatten(tree)
    other = reverse_keys(tree)
    assert same_structure(structure, flatten(other)[1])
    assert leaves_like(other, structure) == leaves
    assert tree_map(lambda a, b: (a, b) if a is not b else a, tree, other) == tree


def test_containers_come_back_as_what_they_were():
    tree = OrderedDict(b=(1.0, Pair(2.0, None)), a=Point(3.0))
    built = tree_map(lambda x: x * 2, tree)
    assert list(built) == ["b", "a"]
    assert type(built) is OrderedDict
    assert built["b"][1] == Pair(4.0, None)
    assert built["a"] == Point(6.0)
    assert tree_map(lambda x: x, defaultdict(list, k=1.0)) == {"k": 1.0}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([1.0], (1.0,)),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}),
        ([1.0], [1.0, 2.0]),
        (Pair(1.0, 2.0), (1.0, 2.0)),
        (None, 1.0),
        ({"a": [1.0]}, {"a": 1.0}),
    ],
)
def test_other_containers_are_another_structure(one, two):
    a, b = flatten(one)[1], flatten(two)[1]
    assert not same_structure(a, b)
    assert not same_structure(b, a)
    with pytest.raises(DifferentiationError, match="second tree has structure"):
        tree_map(lambda x, y: x, one, two)


def test_structures_are_described_and_leaves_counted():
    structure = flatten({"a": [1.0, None], "p": Pair(1.0, 2.0)})[1]
    assert describe(structure) == "dict(a: list(*, None), p: Pair(*, *))"
    assert paths(structure, "args[0]") == [
        "args[0]['a'][0]",
        "args[0]['p'].left",
        "args[0]['p'].right",
    ]
    with pytest.raises(DifferentiationError, match="3 leaves are needed, not 1"):
        structure.build([1.0])
