"""Instructions become routines and recipes that compute what the primitives do."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.primitives.convolution import conv, conv_input, conv_weight
from hpcad.primitives.indexing import add_rows, take_rows
from hpcad.primitives.pooling import max_pool_parts, pick, unpool
from hpcad.primitives.randomness import uniform_rows
from hpcad.primitives.streamed_loss import streamed_loss, streamed_loss_back
from hpcad.primitives.tiled_attention import tiled_attention, tiled_attention_back
from hpcad.program.cuda.routines import convolution
from hpcad.program.cuda.routines.convolution import Product
from hpcad.program.cuda.routines.table import RECIPES, ROUTINES, device_recipe, device_routine
from hpcad.program.improve.patterns import (
    CONTIGUOUS,
    CONV_INPUT_POOLED,
    CONV_POOL,
    CONV_WEIGHT_POOLED,
)
from hpcad.program.instruction import Instruction, Value
from hpcad.program.phantom import phantom_bytes
from hpcad.program.routines import ROUTINES as ON_THE_HOST

rng = np.random.default_rng(7)


def normal(*shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


X, W, B = normal(3, 6, 8, 4), normal(3, 3, 4, 5), normal(5)
SLIDE = {"stride": (1, 1), "padding": (1, 1)}
FAR = {"stride": (2, 1), "padding": (0, 2)}
G = normal(3, 6, 8, 5)
HALVED, WINNER = normal(3, 3, 4, 5), rng.integers(0, 4, (3, 3, 4, 5), dtype=np.int8)
INDEX = rng.integers(-9, 9, (4, 5))

CASES = {
    "take_rows": (take_rows, [normal(9, 6), INDEX], {}),
    "add_rows": (add_rows, [normal(4, 5, 6), INDEX], {"rows": 9}),
    "uniform_rows": (
        uniform_rows,
        [np.array([5, 2**40]), np.array(3)],
        {"key": (1, 2), "width": 7, "dtype": np.float32},
    ),
    "max_pool_parts": (max_pool_parts, [X], {"size": 2}),
    "unpool": (unpool, [HALVED], {"winner": WINNER, "shape": G.shape, "size": 2}),
    "pick": (pick, [G], {"winner": WINNER, "size": 2}),
    "contiguous": (CONTIGUOUS, [X.transpose(0, 3, 1, 2)[::-1]], {}),
    "conv": (conv, [X, W, B], SLIDE),
    "conv far": (conv, [X, W, None], FAR),
    "conv point": (conv, [X, normal(1, 1, 4, 5), B], {"stride": (1, 1), "padding": (0, 0)}),
    "conv_input": (conv_input, [G, W], {"size": (6, 8), **SLIDE}),
    "conv_input far": (conv_input, [normal(3, 2, 10, 5), W], {"size": (6, 8), **FAR}),
    "conv_input point": (
        conv_input,
        [G, normal(1, 1, 4, 5)],
        {"size": (6, 8), "stride": (1, 1), "padding": (0, 0)},
    ),
    "conv_weight": (conv_weight, [X, G], {"kernel": (3, 3), **SLIDE}),
    "conv_weight far": (conv_weight, [X, normal(3, 2, 10, 5)], {"kernel": (3, 3), **FAR}),
    "conv_pool": (CONV_POOL, [X, W, B], {"relu": False, **SLIDE}),
    "conv_pool relu": (CONV_POOL, [X, W, None], {"relu": True, **SLIDE}),
    "conv_input_pooled": (
        CONV_INPUT_POOLED,
        [HALVED, WINNER, W],
        {"shape": G.shape, "size": (6, 8), **SLIDE},
    ),
    "conv_weight_pooled": (
        CONV_WEIGHT_POOLED,
        [X, HALVED, WINNER],
        {"shape": G.shape, "kernel": (3, 3), **SLIDE},
    ),
}
Q, K, V, OUT_GRADIENT = (normal(2, 5, 3, 4).transpose(0, 2, 1, 3) for _ in range(4))
LOGITS, LABELS = normal(3, 4, 7), rng.integers(0, 7, (3, 4))
LOG_SUMS = streamed_loss.evaluate([LOGITS, LABELS], {})[1]
CASES["streamed_loss"] = (streamed_loss, [LOGITS, LABELS], {})
CASES["streamed_loss_back"] = (
    streamed_loss_back,
    [LOGITS, LABELS, LOG_SUMS, normal(3, 4)],
    {},
)
CASES["streamed_loss_back of a mean"] = (
    streamed_loss_back,
    [LOGITS, LABELS, LOG_SUMS, np.broadcast_to(np.float32(1 / 12), (3, 4))],
    {},
)
CASES["tiled_attention"] = (tiled_attention, [Q, K, V], {"causal": True})
CASES["tiled_attention_back"] = (
    tiled_attention_back,
    [Q, K.copy(), V, *tiled_attention.evaluate([Q, K, V], {"causal": False})],
    {"causal": False},
)
CASES["tiled_attention_back"][1].insert(4, OUT_GRADIENT)


def instruction_of(op, args, params, outs):
    """An instruction on values, and which array each of them is."""
    held = {}

    def value(x):
        made = Value(x.shape, x.dtype, "input", 0)
        held[made] = x
        return made

    args = [value(a) if isinstance(a, np.ndarray) else a for a in args]
    params = {k: value(p) if isinstance(p, np.ndarray) else p for k, p in params.items()}
    return Instruction(op, args, params, [value(out) for out in outs], ""), held.__getitem__


def evaluated(op, args, params):
    answer = op.evaluate(args, params)
    return list(answer) if op.outputs else [answer]


def run(routine, pointers):
    """The reference, on the memory at these addresses."""
    flats = [
        phantom_bytes(pointer, flat.count * np.dtype(flat.dtype).itemsize).view(flat.dtype)
        for pointer, flat in zip(pointers, routine.operands, strict=True)
    ]
    routine.reference(flats, [])


def cook(recipe):
    memory = np.full(recipe.workspace + 256, 0xFF, np.uint8)
    for step in recipe.steps(memory.ctypes.data + -memory.ctypes.data % 256):
        if isinstance(step, Product):
            result = step.a @ step.b + (0 if step.bias is None else step.bias)
            step.c[...] = result + (step.beta * step.c if step.beta else 0)
        else:
            run(step.routine, step.pointers)


def check(op, args, params, outs, expected, beta=0.0):
    instruction, arrays = instruction_of(op, args, params, outs)
    found = device_routine(instruction, arrays, beta)
    if found is not None:
        run(*found)
    else:
        cook(device_recipe(instruction, arrays, beta))
    for one, other in zip(outs, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_instructions_compute_the_primitives(name):
    op, args, params = CASES[name]
    expected = evaluated(op, args, params)
    check(op, args, params, [np.full(e.shape, 77, e.dtype) for e in expected], expected)


@pytest.mark.parametrize("at_a_time", [1, 2])
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("conv")])
def test_images_may_be_convolved_in_parts(name, at_a_time, monkeypatch):
    monkeypatch.setattr(convolution.Convolution, "images", at_a_time)
    test_instructions_compute_the_primitives(name)


@pytest.mark.parametrize("name", ["add_rows", "conv_weight", "conv_weight_pooled"])
def test_gradients_are_added(name):
    op, args, params = CASES[name]
    (expected,) = evaluated(op, args, params)
    before = normal(*expected.shape)
    check(op, args, params, [before.copy()], [before + expected], beta=1.0)


def test_the_table_has_what_the_host_has():
    assert set(ON_THE_HOST) <= set(ROUTINES) | set(RECIPES)


def test_images_are_taken_as_memory_allows(monkeypatch):
    big = convolution.Geometry((64, 32, 32, 16), (3, 3), (1, 1), (1, 1))
    made = convolution.Convolution(big, 8, "float32", limit=8 << 20)
    assert made.images == (8 << 20) // (32 * 32 * 9 * 16 * 4)
    assert made.workspace <= 8 << 20


def test_an_index_out_of_bounds_is_reported_where_one_can():
    op, (table, index), params = CASES["take_rows"]
    index = index.copy()
    index[2, 1] = 9
    out, fault = np.empty((4, 5, 6), np.float32), np.zeros(1, np.int64)
    instruction, arrays = instruction_of(op, [table, index], params, [out])
    run(*device_routine(instruction, arrays, 0.0, fault.ctypes.data))
    assert index.size - fault[0] == 11


def test_other_layouts_are_left_to_the_caller():
    op, (table, index), params = CASES["take_rows"]
    out = np.empty((4, 5, 6), np.float32)
    wide = np.empty((9, 12), np.float32)[:, ::2]
    assert device_routine(*instruction_of(op, [wide, index], params, [out]), 0.0) is None
    short = index.astype(np.int16)
    assert device_routine(*instruction_of(op, [table, short], params, [out]), 0.0) is None


def test_only_the_variant_that_addresses_allow_is_compiled():
    op, (_, index), params = CASES["take_rows"]
    wide = np.zeros((9, 8), np.float32)
    shifted = np.zeros(4 * 5 * 8 + 1, np.float32)[1:].reshape(4, 5, 8)
    names = set()
    for out in (np.zeros((4, 5, 8), np.float32), shifted):
        routine, pointers = device_routine(*instruction_of(op, [wide, index], params, [out]), 0.0)
        (variant,) = routine.variants
        assert all(p % a == 0 for p, a in zip(pointers, variant.alignment, strict=True))
        names.add((routine.name, *routine.entries))
    assert len(names) == 2
