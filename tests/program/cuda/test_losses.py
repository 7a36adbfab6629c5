"""Cross-entropy and its gradient in CUDA C++ are those of NumPy and of the primitive."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import DeviceError
from hpcad.primitives.softmax import _cross_entropy
from hpcad.program.cuda.routines.cross_entropy import cross_entropy, cross_entropy_gradient

from .emulation import COMPILER, GUARD
from .routine_cases import Case, check, emulator_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler to emulate with")


def draws(classes, wild=False):
    """Operand 1 are labels; some logits are wild."""

    def draw(rng, number, dtype, count):
        if number == 1:
            labels = rng.integers(0, classes, count)
            if wild:
                labels[GUARD + 2], labels[GUARD + 5] = classes, -1
            return labels
        if dtype == "int64":
            return np.zeros(count)
        values = rng.standard_normal(count) * (5 if number == 0 else 1)
        if wild and number == 0:
            values[rng.random(count) < 0.1] = -np.inf
            values[rng.random(count) < 0.01] = np.nan
        return values

    return draw


CASES = {
    "losses": Case(cross_entropy("float32", "int64", 19, 10), draws(10)),
    "losses of doubles": Case(cross_entropy("float64", "int32", 3, 65), draws(65)),
    "losses of padded rows": Case(cross_entropy("bfloat16", "int64", 5, 61, step=64), draws(61)),
    "losses of many": Case(cross_entropy("float32", "int64", 2, 2050), draws(2050)),
    "wild": Case(cross_entropy("float32", "int64", 40, 33, faults=True), draws(33, wild=True)),
    "gradient": Case(cross_entropy("float32", "int32", 19, 10, scales=1), draws(10)),
    "gradient of padded rows": Case(
        cross_entropy("float32", "int64", 5, 61, step=64, scales=5), draws(61)
    ),
    "gradient of many": Case(
        cross_entropy("bfloat16", "int64", 2, 1500, step=1504, scales=2), draws(1500)
    ),
    "gradient of wild": Case(
        cross_entropy("float64", "int64", 9, 12, scales=1, faults=True), draws(12, wild=True)
    ),
    "gradient elsewhere": Case(
        cross_entropy_gradient("float32", "int64", 4, 24, scales=4, in_place=False), draws(24)
    ),
    "gradient alone": Case(cross_entropy_gradient("float16", "int64", 4, 24), draws(24)),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulator_of(list(CASES.values()), tmp_path_factory.mktemp("losses"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_losses_equal_numpy(library, name):
    check(CASES[name], library)


def test_references_are_the_primitive():
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((7, 11)), rng.integers(0, 11, 7)
    losses, p = _cross_entropy(logits, labels)
    found, log_sums = np.empty(7), np.empty(7)
    arrays = [logits.ravel(), labels, found, log_sums]
    cross_entropy("float64", "int64", 7, 11).reference(arrays, [])
    np.testing.assert_allclose(found, losses, rtol=1e-12)
    dx, scale = logits.flatten(), np.array([0.25])
    arrays = [dx, labels, log_sums, scale]
    cross_entropy_gradient("float64", "int64", 7, 11).reference(arrays, [])
    expected = (p - (np.arange(11) == labels[:, None])) * 0.25
    np.testing.assert_allclose(dx.reshape(7, 11), expected, rtol=1e-11, atol=1e-13)
    both = logits.flatten()
    cross_entropy("float64", "int64", 7, 11, scales=1).reference([both, labels, found, scale], [])
    np.testing.assert_allclose(both, dx, rtol=1e-12, atol=1e-15)


def test_the_first_label_that_is_no_class_is_reported(library):
    case = CASES["gradient of wild"]
    arrays = case.arrays()
    case.emulate(library, 0, arrays, 1)
    logits, _, losses, _, fault = (flat[GUARD:-GUARD] for flat in arrays)
    assert losses.size - fault[0] == 2
    assert np.isnan(losses[[2, 5]]).all()
    assert np.isnan(logits.reshape(9, 12)[[2, 5]]).all()


def test_what_has_no_routine_is_refused():
    with pytest.raises(DeviceError, match="int16"):
        cross_entropy("float32", "int16", 3, 3)
    with pytest.raises(DeviceError, match="4 classes in rows of 3"):
        cross_entropy("float32", "int32", 3, 4, step=3)
    with pytest.raises(DeviceError, match="2 scales for 3 rows"):
        cross_entropy("float32", "int32", 3, 4, scales=2)
