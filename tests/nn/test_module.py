"""Modules: finding parameters, sharing, drawing, loading; arenas."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn
from hpcad.autodiff.state import CHANGES
from hpcad.errors import CaptureError, ConfigError, ShapeError
from hpcad.program.compiled import compile as compiled


class Tied(nn.Module):
    def __init__(self):
        self.first = nn.Linear(3, 4)
        self.blocks = [nn.Linear(4, 4), {"x": nn.LayerNorm(4)}]
        self.again = self.first

    def forward(self, x):
        return self.blocks[1]["x"](self.blocks[0](self.first(x)))


def test_names_follow_attributes_and_shared_parameters_appear_once():
    assert [name for name, _ in Tied().named_parameters()] == [
        "first.weight",
        "first.bias",
        "blocks.0.weight",
        "blocks.0.bias",
        "blocks.1.x.scale",
        "blocks.1.x.shift",
    ]
    assert Tied().parameter_count() == 12 + 4 + 16 + 4 + 4 + 4


def test_drawing_is_a_function_of_seed_and_name():
    a, b = Tied().initialize(3), Tied().initialize(3)
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(x.value, y.value)
    c = Tied().initialize(4)
    assert not np.array_equal(a.first.weight.value, c.first.weight.value)
    assert Tied().initialize(3, np.float64).first.weight.dtype == np.float64


def test_flatten_makes_views_and_keeps_values():
    model = Tied().initialize(1)
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    (arena,) = nn.flatten(model)
    assert nn.flatten(model)[0] is arena
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.value, before[name])
        assert np.shares_memory(p.value, arena.values.flat)
        assert np.shares_memory(p.grad, arena.grads.flat)
    model(np.ones((2, 3), np.float32)).sum().backward()
    assert np.shares_memory(model.first.weight.grad, arena.grads.flat)
    assert arena.grads.flat.any()


def test_drawing_again_keeps_the_arenas():
    """An optimizer made before initialize() must not be left with memory nobody uses."""
    model = Tied().initialize(1)
    (arena,) = nn.flatten(model)
    model.initialize(2)
    assert nn.flatten(model)[0] is arena
    expected = Tied().initialize(2).first.weight.value
    np.testing.assert_array_equal(arena.values.views["first.weight"], expected)
    with pytest.raises(ConfigError, match="before making those"):
        model.initialize(2, np.float64)


def test_a_parameter_added_too_late_is_refused():
    model = Tied()
    nn.flatten(model)
    model.late = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"'late\.weight' was added"):
        nn.flatten(model)


def test_two_dtypes_make_two_arenas():
    model = Tied().initialize(1)
    model.first.initialize(1, np.float64)
    assert [a.values.dtype.name for a in nn.flatten(model)] == ["float64", "float32"]


def test_load_checks_names_and_shapes():
    model, other = Tied().initialize(1), Tied().initialize(2)
    model.load(other.arrays())
    np.testing.assert_array_equal(model.first.weight.value, other.first.weight.value)
    arrays = other.arrays()
    arrays["first.bias"] = np.ones(5)
    with pytest.raises(ShapeError, match=r"'first\.bias' has shape \(4,\).*\(5,\)"):
        model.load(arrays)
    del arrays["first.bias"]
    with pytest.raises(ConfigError, match=r"missing \['first\.bias'\]"):
        model.load(arrays)


def test_a_model_without_parameters_cannot_be_trained():
    with pytest.raises(ConfigError, match="no parameters"):
        nn.flatten(nn.Flatten())


class Defaults(nn.Module):
    rate = 0.1


def count_changes(action):
    before = CHANGES.count
    action()
    return CHANGES.count - before


def test_programs_are_told_of_changed_attributes_only():
    layer = nn.LayerNorm(3)
    assert count_changes(lambda: setattr(layer, "eps", 1e-3)) == 1
    assert count_changes(lambda: setattr(layer, "eps", 1e-3)) == 0
    assert count_changes(lambda: setattr(layer, "new", None)) == 0
    assert count_changes(lambda: delattr(layer, "new")) == 1
    assert count_changes(lambda: nn.LayerNorm(3)) == 0
    assert count_changes(lambda: setattr(Defaults(), "rate", 0.5)) == 1
    layer.flag = 0
    assert count_changes(lambda: setattr(layer, "flag", False)) == 1  # equal, but of another type
    layer.table = np.zeros(2)
    assert count_changes(lambda: setattr(layer, "table", np.zeros(2))) == 1


def test_a_function_that_sets_an_attribute_stays_eager():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2.0

    model = Counting()
    program = compiled(lambda x: model(x), strict=True)
    program(np.ones(3))
    with pytest.raises(CaptureError, match="attribute 'calls' of Counting was set"):
        program(np.ones(3))
