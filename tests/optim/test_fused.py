"""Compiled updates and updates in chunks equal the rule itself, to the last bit."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.backend.native.compiler import find_compiler
from hpcad.errors import ConfigError
from hpcad.optim.chunked import ChunkedUpdate
from hpcad.optim.compiled import CompiledUpdate
from hpcad.optim.passes import chunked_updates, make_updates

SHAPES = ((300, 250), (200,), (7,), (5, 3), (40,))  # more than one chunk; weights between vectors

KINDS = {
    "sgd": (optim.SGD, {}),
    "momentum": (optim.SGD, {"momentum": 0.9}),
    "nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (optim.RMSProp, {"alpha": 0.9}),
    "adam": (optim.Adam, {"betas": (0.8, 0.99)}),
    "adamw": (optim.AdamW, {}),
}
OPTIONS = {"plain": {}, "decay and clip": {"weight_decay": 0.1, "clip_norm": 0.5}}


@pytest.fixture(params=["compiled", "chunked"])
def way(request, monkeypatch):
    """Which of the two ways updates are made."""
    if request.param == "compiled" and find_compiler() is None:
        pytest.skip("there is no C compiler")
    if request.param == "chunked":
        monkeypatch.setenv("HPCAD_NATIVE", "0")
    return {"compiled": CompiledUpdate, "chunked": ChunkedUpdate}[request.param]


def optimizer_of(kind, options, dtype=np.float32, shapes=SHAPES):
    rng = np.random.default_rng(3)
    model = nn.Module()
    model.items = [nn.Parameter(rng.standard_normal(shape).astype(dtype)) for shape in shapes]
    make, settings = KINDS[kind]
    return make(model, optim.WarmupLinear(0.1, steps=9), **settings, **options)


def give_gradients(optimizer, seed):
    """Random gradients; returns copies."""
    rng = np.random.default_rng(seed)
    for p in optimizer.model.items:
        p.accumulate(rng.standard_normal(p.shape).astype(p.dtype))
    return [p.grad.copy() for p in optimizer.model.items]


def follow_the_rule(optimizer, before, grads, scale):
    """The rule on whole arrays, one parameter after the other: new values and state."""
    rate = optimizer.schedule(optimizer.step_count - 1)
    now = SimpleNamespace(**optimizer.numbers(rate))
    found = {}
    for p, g in zip(optimizer.model.items, grads, strict=True):
        value, slots = before[p.name], [before[f"{slot}/{p.name}"] for slot in optimizer.slots]
        if optimizer.clip_norm is not None:
            g = g * scale
        if optimizer.weight_decay and p.ndim >= 2:
            value, g = optimizer.decay(value, g, now)
        found[p.name], slots = optimizer.update(value, g, slots, now)
        names = (f"{slot}/{p.name}" for slot in optimizer.slots)
        found |= dict(zip(names, slots, strict=True))
    return found


def everything(optimizer):
    """Copies of parameters and state."""
    arrays = {p.name: p.value for p in optimizer.model.items} | optimizer.arrays()
    return {name: array.copy() for name, array in arrays.items()}


def scale_of(optimizer):
    if optimizer.clip_norm is None:
        return 1.0
    return min(1.0, optimizer.clip_norm / optimizer.gradient_norm)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_update_equals_the_rule_bitwise(way, kind, options, dtype):
    optimizer = optimizer_of(kind, options, dtype)
    for step in range(3):
        before, grads = everything(optimizer), give_gradients(optimizer, step)
        optimizer.step()
        expected = follow_the_rule(optimizer, before, grads, scale_of(optimizer))
        for name, array in everything(optimizer).items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
            assert array.dtype == dtype
    assert all(type(update) is way for update in optimizer._updates)


@pytest.mark.parametrize("frozen", [(0,), (1,), (2, 3), (4,), (0, 2, 4), (0, 1, 2, 3, 4)])
def test_frozen_parameters_and_their_state_stay_as_they_are(way, frozen):
    optimizer = optimizer_of("adamw", {"weight_decay": 0.1})
    for step in range(3):  # frozen in the second one only
        for i in frozen:
            optimizer.model.items[i].freeze(step == 1)
        before, grads = everything(optimizer), give_gradients(optimizer, step)
        optimizer.step()
        expected = follow_the_rule(optimizer, before, grads, 1.0)
        for name, array in everything(optimizer).items():
            stays = step == 1 and int(name.rpartition(".")[2]) in frozen
            np.testing.assert_array_equal(array, (before if stays else expected)[name])


def test_parameters_of_two_dtypes(way):
    model = nn.Module()
    model.items = [nn.Parameter(np.ones((4, 4), t)) for t in (np.float32, np.float64)]
    optimizer = optim.SGD(model, 0.5, clip_norm=1.0)
    give_gradients(optimizer, 0)
    norm = np.sqrt(sum((p.grad.astype(np.float64) ** 2).sum() for p in model.items))
    optimizer.step()
    np.testing.assert_allclose(optimizer.gradient_norm, norm, rtol=1e-14)
    for p in model.items:
        scale = p.dtype.type(1.0 / norm)
        np.testing.assert_array_equal(p.value, 1 - p.grad * scale * p.dtype.type(0.5))


def test_norm_of_large_float32_gradients_does_not_overflow(way):
    optimizer = optimizer_of("sgd", {"clip_norm": 1.0})
    for p in optimizer.model.items:
        p.accumulate(np.full(p.shape, 1e30, np.float32))
    optimizer.step()
    count = sum(p.size for p in optimizer.model.items)
    np.testing.assert_allclose(optimizer.gradient_norm, 1e30 * np.sqrt(count), rtol=1e-6)


def test_a_gradient_that_is_not_a_number_is_seen(way):
    optimizer = optimizer_of("sgd", {"clip_norm": 1.0})
    give_gradients(optimizer, 0)
    optimizer.model.items[2].grad[3] = np.nan
    optimizer.step()
    assert np.isnan(optimizer.gradient_norm)
    assert np.isnan(optimizer.model.items[2].value).sum() == 1
    assert np.isfinite(optimizer.model.items[0].value).all()


def test_gradients_may_move_to_other_memory(way):
    optimizer = optimizer_of("adam", {})
    give_gradients(optimizer, 0)
    optimizer.step()
    memory = []

    def allocate(nbytes):
        memory.append(np.zeros(nbytes, np.uint8))
        return memory[-1]

    nn.flatten(optimizer.model, allocate)
    before, grads = everything(optimizer), give_gradients(optimizer, 1)
    optimizer.step()
    expected = follow_the_rule(optimizer, before, grads, 1.0)
    np.testing.assert_array_equal(optimizer.model.items[0].value, expected["items.0"])


def test_settings_may_change_between_steps(way):
    optimizer = optimizer_of("adam", {})
    changes = ({}, {"weight_decay": 0.2}, {"clip_norm": 0.1}, {"betas": (0.5, 0.6)}, {"eps": 1e-2})
    for step, change in enumerate(changes):
        vars(optimizer).update(change)
        before, grads = everything(optimizer), give_gradients(optimizer, step)
        optimizer.step()
        expected = follow_the_rule(optimizer, before, grads, scale_of(optimizer))
        for name, array in everything(optimizer).items():
            np.testing.assert_array_equal(array, expected[name])


class Lion(optim.Optimizer):
    """``p = p - rate sign(b1 m + (1 - b1) g)``, after Chen et al., arXiv:2302.06675."""

    slots = ("m",)

    def update(self, p, g, slots, now):
        (m,) = slots
        b1 = 1.0 - now.rate  # numbers among themselves are Python's
        direction = np.sign(b1 * m + (1.0 - b1) * g)
        return p - now.rate * direction, (0.99 * m + 0.01 * g,)


def test_an_optimizer_of_the_user_is_fused_from_its_rule(way, monkeypatch):
    monkeypatch.setitem(KINDS, "lion", (Lion, {}))
    optimizer = optimizer_of("lion", {})
    for step in range(2):
        before, grads = everything(optimizer), give_gradients(optimizer, step)
        optimizer.step()
        expected = follow_the_rule(optimizer, before, grads, 1.0)
        for name, array in everything(optimizer).items():
            np.testing.assert_array_equal(array, expected[name])
    assert all(type(update) is way for update in optimizer._updates)


class Odd(optim.Optimizer):
    def update(self, p, g, slots, now):
        return p - np.cumsum(g), ()


class Unfinished(optim.Optimizer):
    pass


def test_a_rule_that_is_no_elementwise_mathematics_is_refused(monkeypatch):
    monkeypatch.setitem(KINDS, "odd", (Odd, {}))
    optimizer = optimizer_of("odd", {})
    with pytest.raises(ConfigError, match=r"Odd.update\(\) cannot become one pass"):
        optimizer.step()


def test_an_optimizer_without_a_rule_is_refused(monkeypatch):
    monkeypatch.setitem(KINDS, "unfinished", (Unfinished, {}))
    optimizer = optimizer_of("unfinished", {})
    with pytest.raises(ConfigError, match=r"Unfinished defines no update\(\)"):
        optimizer.step()


def test_one_kernel_updates_what_decays_and_what_does_not():
    if find_compiler() is None:
        pytest.skip("there is no C compiler")
    optimizer = optimizer_of("adamw", {"weight_decay": 0.1, "clip_norm": 1.0})
    optimizer.step_count = 1
    (update,) = make_updates(optimizer)
    assert len(update._calls) == 1
    assert len(chunked_updates(optimizer)[0]._parts) > 2


def test_steps_allocate_nothing_that_stays(way):
    optimizer = optimizer_of("adamw", {"weight_decay": 0.1, "clip_norm": 1.0})
    give_gradients(optimizer, 0)
    tracemalloc.start()
    try:
        for _ in range(100):  # Python's own stores of small objects fill up
            optimizer.step()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(20):
            for p in optimizer.model.items:
                p.fresh = True
            optimizer.step()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1000
    # NumPy sums the squares in double precision, a chunk at a time; kernels need no array.
    assert peak - before < (5000 if way is CompiledUpdate else 700_000)
