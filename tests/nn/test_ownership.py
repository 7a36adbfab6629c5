"""Parameters, arenas and optimizers: nothing may be left untrained without a word."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from hpcad import DataParallel, nn, optim
from hpcad.errors import ConfigError, DifferentiationError

X = np.ones((1, 2), np.float32)


def test_two_optimizers_cannot_share_a_parameter():
    trunk = nn.Linear(2, 2)
    optim.SGD(nn.Sequential(trunk, nn.Linear(2, 1)), 0.1)
    with pytest.raises(ConfigError, match="already belongs to an optimizer or engine"):
        optim.SGD(nn.Sequential(trunk, nn.Linear(2, 3)), 0.1)


def test_an_optimizer_of_a_part_of_an_engines_model_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    DataParallel(model)
    with pytest.raises(ConfigError, match="outermost module"):
        optim.SGD(model.stages[0], 0.1)


def test_a_deep_copy_is_a_model_of_its_own():
    model = nn.Linear(2, 2)
    optim.SGD(model, 0.1)
    twin = copy.deepcopy(model)
    optimizer = optim.SGD(twin, 0.1)
    before, other = twin.weight.value.copy(), model.weight.value.copy()
    np.testing.assert_array_equal(before, other)
    twin(X).sum().backward()
    optimizer.step()
    assert not np.array_equal(before, twin.weight.value)
    np.testing.assert_array_equal(other, model.weight.value)
    assert twin.initialize(3).weight.value is twin.weight.value  # drawn again like the original


def test_a_layer_replaced_after_the_optimizer_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = optim.SGD(model, 0.1)
    model.stages[1] = nn.Linear(2, 3)
    model(X).sum().backward()
    with pytest.raises(ConfigError, match="was added"):
        optimizer.step()


@pytest.mark.parametrize("attribute", ["value", "grad"])
def test_another_array_in_a_parameter_is_refused(attribute):
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model, 0.1)
    setattr(model.weight, attribute, np.zeros((2, 1), np.float32))
    with pytest.raises(ConfigError, match="'weight' got another array"):
        optimizer.step()


def test_in_place_operators_are_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"use parameter\.assign"):
        model.weight -= 0.1
    with pytest.raises(TypeError, match="would no longer be trained"):
        model.weight = model.weight - 0.1
    assert len(model.parameters()) == 2


def test_modules_in_private_attributes_are_found():
    class Model(nn.Module):
        def __init__(self):
            self.a = nn.Linear(2, 2)
            self._b = nn.Linear(2, 2)

    assert len(Model().parameters()) == 4


def test_names_must_be_different():
    class Model(nn.Module):
        def __init__(self):
            self.d = {1: nn.Linear(1, 1), "1": nn.Linear(1, 1)}

    with pytest.raises(ConfigError, match="same dotted name"):
        optim.SGD(Model(), 0.1)


def test_parameters_are_single_or_double():
    model = nn.Linear(2, 2)
    model.initialize(0, np.float16)
    with pytest.raises(ConfigError, match="float16"):
        optim.SGD(model, 0.1)


def test_equal_layers_start_different_also_without_initialize():
    assert not np.array_equal(nn.Linear(3, 3).weight.value, nn.Linear(3, 3).weight.value)


def test_no_sync_nests():
    engine = DataParallel(nn.Linear(1, 1))
    with engine.no_sync():
        with engine.no_sync():
            pass
        assert engine._local == 1
    assert engine._local == 0


def test_two_engines_in_one_loss_are_refused():
    a, b = nn.Linear(2, 1), nn.Linear(2, 1)
    DataParallel(a)
    DataParallel(b)
    with pytest.raises(DifferentiationError, match="two data-parallel engines"):
        (a(X) + b(X)).sum().backward()
    kept = b(X)  # alive, but the loss does not depend on it
    a(X).sum().backward()
    assert not b.weight.fresh
    kept.sum().backward()
    assert b.weight.fresh
