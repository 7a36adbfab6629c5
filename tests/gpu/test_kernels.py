"""Fused kernels on a device equal NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.program.cuda.launch import load_kernels

from ..program.cuda.emulation import Memory
from ..program.cuda.every_kernel import KERNELS, numbers, same, scalars_of

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def loaded():
    """All kernels on the device."""
    return dict(zip(KERNELS, load_kernels(list(KERNELS.values()), cupy), strict=True))


@pytest.mark.parametrize("shift", [0, 1], ids=["aligned", "not aligned"])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_equal_numpy(loaded, name, shift):
    kernel = KERNELS[name]
    expected = Memory(kernel, numbers(name))
    scalars = scalars_of(kernel)
    device = [cupy.zeros(len(flat) + 1, flat.dtype) for flat in expected.flat]
    for array, flat in zip(device, expected.flat, strict=True):
        array[shift : shift + len(flat)] = cupy.asarray(flat)
    pointers = [
        array.data.ptr + (shift + start) * array.itemsize
        for array, start in zip(device, expected.starts, strict=True)
    ]
    loaded[name].bind(pointers, scalars)()
    expected.interpret(scalars)
    for operand, array, flat in zip(kernel.operands, device, expected.flat, strict=True):
        same(cupy.asnumpy(array[shift : shift + len(flat)]), flat, operand.dtype)


def test_the_same_numbers_give_the_same_bits(loaded):
    name = "layer_norm_backward_float32"
    kernel = KERNELS[name]
    memory = Memory(kernel, numbers(name))
    runs = []
    for _ in range(3):
        device = [cupy.asarray(flat) for flat in memory.flat]
        starts = zip(device, memory.starts, strict=True)
        loaded[name].bind([a.data.ptr + start * a.itemsize for a, start in starts])()
        runs.append([cupy.asnumpy(array) for array in device])
    for run in runs[1:]:
        for one, other in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(one, other)
