"""Kernels are bound and launched through CuPy as they should be.

A stand-in for CuPy takes the source for machine code, and runs it in the emulation.
"""

from __future__ import annotations

import ctypes
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from hpcad.program.cuda import launch as launching
from hpcad.program.cuda.launch import load_kernels

from .emulation import COMPILER, Memory, build, launch
from .every_kernel import SAMPLES, numbers, same, scalars_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")


class Device:
    """CuPy, as far as it is used; remembers what was launched."""

    def __init__(self, folder):
        self.folder, self.launched = folder, []
        version = SimpleNamespace(driverGetVersion=lambda: 12040)
        function = SimpleNamespace(Module=lambda: self)
        device = SimpleNamespace(compute_capability="90")
        self.cuda = SimpleNamespace(runtime=version, function=function, Device=lambda: device)

    def empty(self, count, dtype):
        memory = np.full(count, 0xFF, dtype)
        return SimpleNamespace(data=SimpleNamespace(ptr=memory.ctypes.data), memory=memory)

    def load(self, code):
        source = code.decode()
        entries = re.findall(r"__launch_bounds__\(\d+\) (\w+)\(", source)
        self.library = build(source, entries, self.folder)

    def get_function(self, entry):
        def function(grid, block, arguments):
            self.launched.append(entry)
            values = [as_ctypes(argument) for argument in arguments]
            launch(self.library, entry, grid, *block, values)

        return function


def as_ctypes(argument):
    """As CuPy hands arguments over: Python's integers with 64 bits, NumPy's scalars as they are."""
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    return np.ctypeslib.as_ctypes_type(argument.dtype)(argument)


NAMES = ("adam_float32", "layer_norm_backward_float64", "cross_entropy_float32", "softmax_float32")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The device and the kernels on it."""
    device = Device(tmp_path_factory.mktemp("device"))
    asked = []

    def compiler(newest):
        asked.append(newest)

    def compiled(source, architecture, name, nvrtc):
        asked.append(architecture)
        return source.encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", device)
        patch.setattr(launching, "require_nvrtc", compiler)
        patch.setattr(launching, "compile_cubin", compiled)
        kernels = load_kernels([SAMPLES[name] for name in NAMES], device)
    assert asked == [12, "sm_90"]  # no newer than the driver, for this device
    return device, dict(zip(NAMES, kernels, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_call_computes_the_kernel(loaded, name):
    _, kernels = loaded
    kernel = SAMPLES[name]
    expected = Memory(kernel, numbers(name))
    found = expected.copy()
    scalars = (ctypes.c_double * len(kernel.scalars))(*scalars_of(kernel))
    call = kernels[name].bind(found.addresses(), scalars)
    for factor in (1.0, 0.5):  # scalars are read anew by every call
        scalars[:] = [factor * number for number in scalars_of(kernel)]
        call()
        expected.interpret(list(scalars))
        for operand, one, other in zip(kernel.operands, found.flat, expected.flat, strict=True):
            same(one, other, operand.dtype)


def test_addresses_choose_between_vectors_and_single_elements(loaded):
    device, kernels = loaded
    memory = Memory(SAMPLES["softmax_float32"], numbers("softmax"))
    (address,) = memory.addresses()
    for start, ending in ((address, "_v4"), (address + 4, "_v1")):
        device.launched.clear()
        kernels["softmax_float32"].bind([start])()
        assert [entry[-3:] for entry in device.launched] == [ending]


def test_sums_are_finished_by_a_second_launch(loaded):
    device, kernels = loaded
    memory = Memory(SAMPLES["cross_entropy_float32"], numbers("cross_entropy"))
    device.launched.clear()
    kernels["cross_entropy_float32"].bind(memory.addresses())()
    assert len(device.launched) == 2
    assert device.launched[1].endswith("_finish")
