"""The kernels of compiled training steps are right on devices as far as that shows without one."""

from __future__ import annotations

import numpy as np
import pytest

import hpcad
from hpcad.backend.native.compiler import find_compiler
from hpcad.models import (
    CNN,
    CharGPT,
    CharGPTConfig,
    CNNConfig,
    RecurrentClassifier,
    RecurrentConfig,
)
from hpcad.optim import SGD
from hpcad.program.cuda.compile import OPTIONS
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.cuda.nvrtc import find_nvrtc

from .emulation import COMPILER, Memory, build
from .every_kernel import same

pytestmark = pytest.mark.skipif(
    COMPILER is None or find_compiler() is None, reason="there is no C and C++ compiler"
)


def kernels_of(model, x, y):
    """The kernels of a training step, as compiled for the CPU."""
    model.initialize(1, np.float32)
    optimizer = SGD(model, 0.1)

    def step(x, y):
        loss = model.loss({"x": x, "y": y})
        loss.backward()
        optimizer.step()
        return loss

    compiled = hpcad.compile(step, strict=True)
    for _ in range(3):
        compiled(x, y)
    return compiled.program.kernels


@pytest.fixture(scope="module")
def kernels():
    rng = np.random.default_rng(2)
    tokens = rng.integers(0, 9, (2, 6))
    images, words = rng.random((3, 8, 8), np.float32), rng.random((3, 4, 5), np.float32)
    labels = rng.integers(0, 10, 3)
    found = [
        *kernels_of(CharGPT(CharGPTConfig(layers=1, heads=2, width=16), 9, 6), tokens, tokens),
        *kernels_of(CNN(CNNConfig([4, 8], 16), (8, 8), 10), images, labels),
        *kernels_of(RecurrentClassifier(RecurrentConfig("lstm", 8), 5, 10), words, labels),
    ]
    named = {f"step_{i}": generate(k, f"step_{i}") for i, k in enumerate(dict.fromkeys(found))}
    assert len(named) > 15
    return named


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_steps_compile_for_devices(kernels, architecture):
    nvrtc = find_nvrtc()
    if nvrtc is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    options = (f"--gpu-architecture={architecture}", *OPTIONS)
    code, _ = nvrtc.compile(translation_unit(kernels.values()), "steps.cu", options)
    for kernel in kernels.values():
        assert all(f".text.{entry}\0".encode() in code for entry in kernel.entries)


def test_emulated_steps_equal_numpy(kernels, tmp_path):
    entries = [entry for code in kernels.values() for entry in code.entries]
    library = build(translation_unit(kernels.values()), entries, tmp_path)
    rng = np.random.default_rng(4)

    def draw(_number, dtype, count):
        whole = dtype == "bool" or dtype.startswith("int")
        return rng.integers(0, 2, count) if whole else rng.uniform(0.1, 1, count)

    for code in kernels.values():
        memory = Memory(code.kernel, draw)
        expected = memory.copy()
        expected.interpret([])
        for variant in code.variants:
            found = memory.copy()
            found.emulate(library, variant, code.scratch, [], 1)
            for operand, a, b in zip(code.kernel.operands, found.flat, expected.flat, strict=True):
                same(a, b, operand.dtype)
