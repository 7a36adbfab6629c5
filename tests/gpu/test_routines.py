"""Hand-written routines on a device equal NumPy: the cases of the emulation, and large ones."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.add_rows import add_rows
from hpcad.program.cuda.routines.attention import Attention
from hpcad.program.cuda.routines.cross_entropy import cross_entropy
from hpcad.program.cuda.routines.norms import sum_of_squares

from ..program.cuda import (
    test_copies,
    test_flash,
    test_images,
    test_losses,
    test_rows,
    test_updates,
)
from ..program.cuda.routine_cases import Case, check_on_device

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

MODULES = (test_copies, test_flash, test_images, test_losses, test_rows, test_updates)
CASES = {f"{m.__name__.rpartition('.')[2]}: {k}": c for m in MODULES for k, c in m.CASES.items()}
HEADS = Attention.packed("bfloat16", 2, 1024, 4, 64, True)
LONG_HEADS = Attention.packed("float16", 1, 500, 2, 128, False)
CASES |= {
    "large attention": Case(HEADS.forward(), test_flash.small),
    "large attention, back": Case(HEADS.backward(), test_flash.small),
    "long heads": Case(LONG_HEADS.forward(), test_flash.small),
    "long heads, back": Case(LONG_HEADS.backward(), test_flash.small),
    "large table": Case(
        add_rows("float32", "int64", 50257, 1 << 16, 64), test_rows.indices(50257, skewed=True)
    ),
    "large losses": Case(
        cross_entropy("bfloat16", "int64", 64, 50257, step=50304, scales=1),
        test_losses.draws(50257),
    ),
    "large sum": Case(sum_of_squares("float32", 30_000_001), test_updates.gradients),
}


@pytest.fixture(scope="module")
def loaded():
    """All routines on the device."""
    routines = {case.routine.name: case.routine for case in CASES.values()}
    return dict(zip(routines, load(list(routines.values()), cupy), strict=True))


@pytest.mark.parametrize("shift", [0, 1], ids=["aligned", "not aligned"])
@pytest.mark.parametrize("name", CASES)
def test_routines_equal_numpy(loaded, name, shift):
    case = CASES[name]
    check_on_device(case, cupy, loaded[case.routine.name].bind, shift)


@pytest.mark.parametrize("name", ["large table", "large attention, back", "large sum"])
def test_the_same_numbers_give_the_same_bits(loaded, name):
    case, runs = CASES[name], []
    for _ in range(3):
        device = [cupy.asarray(flat.view(np.uint8)) for flat in case.arrays()]
        sizes = [flat.itemsize for flat in case.arrays()]
        places = [a.data.ptr + 64 * size for a, size in zip(device, sizes, strict=True)]
        loaded[case.routine.name].bind(places, case.scalars)()
        runs.append([cupy.asnumpy(array) for array in device])
    for run in runs[1:]:
        for one, other in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(one, other)
