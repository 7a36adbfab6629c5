"""Attention in CUDA C++, by plain arithmetic and by (emulated) tensor cores, is that of NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpcad.errors import DeviceError
from hpcad.primitives.attention import _attention, _cotangents
from hpcad.program.cuda.routines.attention import Attention

from .emulation import COMPILER
from .routine_cases import Case, check, emulator_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")


def small(rng, number, dtype, count):
    """Ordinary numbers; sums of exponentials of which probabilities are below 1."""
    return rng.standard_normal(count) + (3 if number == 5 else 0)


SPECS = {
    "packed": Attention.packed("bfloat16", 1, 70, 2, 24, True),
    "halves": Attention.plain("float16", 1, 2, 20, 140, 16, False),
    "long heads": Attention.plain("bfloat16", 1, 1, 40, 40, 72, True),
    "fewer queries": Attention.plain("bfloat16", 1, 1, 30, 70, 8, True),
    "single": Attention.packed("float32", 2, 37, 2, 10, True),
    "double": Attention.plain("float64", 1, 2, 9, 40, 20, False),
    "odd halves": Attention.plain("bfloat16", 1, 1, 11, 33, 5, True),
}
SPECS["turned"] = replace(
    Attention.plain("float16", 1, 2, 20, 20, 8, True),
    dq=(320, 8, 16),
    dv=(320, 8, 16),
    g=(0, 8, 24),
)
CASES = {f"{name}, forward": Case(spec.forward(), small) for name, spec in SPECS.items()}
CASES |= {f"{name}, backward": Case(spec.backward(), small) for name, spec in SPECS.items()}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulator_of(list(CASES.values()), tmp_path_factory.mktemp("flash"))


@pytest.mark.parametrize("name", CASES)
def test_attention_equals_numpy(library, name):
    check(CASES[name], library)


def test_tensor_cores_are_used_where_rows_allow_it():
    ways = {name: len(spec.forward().variants) for name, spec in SPECS.items()}
    assert {name for name, count in ways.items() if count == 2} == {
        "packed", "halves", "long heads", "fewer queries", "turned",
    }  # fmt: skip


@pytest.mark.parametrize("causal", [False, True])
def test_references_are_the_primitive(causal):
    rng = np.random.default_rng(2)
    q, g = rng.standard_normal((2, 2, 3, 5, 4))
    k, v = rng.standard_normal((2, 2, 3, 7, 4))
    spec = Attention.plain("float64", 2, 3, 5, 7, 4, causal)
    out, log_sums = np.empty(q.size), np.empty(30)
    flat = [q.ravel(), k.ravel(), v.ravel(), out]
    spec.forward().reference([*flat, log_sums], [])
    expected, p = _attention(q, k, v, causal=causal)
    np.testing.assert_allclose(out.reshape(q.shape), expected, rtol=1e-12, atol=1e-13)
    found = [np.empty(x.size) for x in (q, k, v)]
    spec.backward().reference([*flat, g.ravel(), log_sums, *found], [])
    for one, other in zip(found, _cotangents(g, q, k, v, p), strict=True):
        np.testing.assert_allclose(one, np.ravel(other), rtol=1e-10, atol=1e-12)


def test_what_has_no_routine_is_refused():
    with pytest.raises(DeviceError, match="heads of 129"):
        Attention.plain("float32", 1, 1, 3, 3, 129, False).forward()
    with pytest.raises(DeviceError, match="5 queries but 3 keys"):
        Attention.plain("float32", 1, 1, 5, 3, 8, True).backward()
    with pytest.raises(DeviceError, match="int32"):
        Attention.plain("int32", 1, 1, 5, 3, 8, False).forward()
