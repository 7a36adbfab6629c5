"""check_grads: what is right passes, and what is wrong is found and named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import hpcad.numpy as hnp
from hpcad import check_grads
from hpcad.autodiff import Primitive, check_vjp
from hpcad.errors import ConfigError, DifferentiationError, ShapeError
from hpcad.primitives.shapes import broadcast

X = np.array([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]])


@dataclasses.dataclass
class Layer:
    weight: np.ndarray
    bias: np.ndarray


def dense(layer, x):
    return hnp.tanh(x @ layer.weight + layer.bias)


LAYER = Layer(np.arange(6.0).reshape(3, 2) / 5 - 0.4, np.array([0.1, -0.2]))


# -- what is right ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev"), ("forward", "reverse")])
def test_right_derivatives_pass_in_every_mode_and_order(order, modes):
    check_grads(lambda x, y: hnp.exp(hnp.sin(x) * y), (X, X[:1]), order, modes)


def test_pytrees_integers_and_several_results_are_taken():
    def f(layer, batch, scale):
        y = dense(layer, batch["x"])[batch["rows"]]
        return {"y": y * scale, "count": np.array(3), "norm": hnp.sum(y * y)}

    check_grads(f, (LAYER, {"x": X, "rows": np.array([1, 0, 1])}, 2.0))


def test_complex_arguments_and_results():
    z = X + 1j * X[::-1]
    check_grads(lambda z: hnp.exp(z) * hnp.conj(z), (z,))
    check_grads(lambda z: hnp.abs(z) ** 2, (z,))
    check_grads(lambda x: hnp.exp(1j * x), (X,))


def test_single_precision_has_its_own_tolerance():
    check_grads(lambda x: hnp.exp(hnp.sin(x)), (X.astype(np.float32),))


def test_steep_places_are_looked_at_with_care():
    """The quick step fails there; a careful one decides."""
    check_grads(hnp.log, (np.array([1e-5, 1.0]),), 1)
    check_grads(lambda x: hnp.sin(x * 1e5), (np.array([0.1]),), 1)


def test_large_and_small_arguments():
    check_grads(lambda x: x**3, (np.array([1e5, -3e4]),))
    check_grads(lambda x: hnp.sin(x * 1e6), (np.array([1e-6, 2e-7]),), 1)


def test_an_empty_array_has_nothing_wrong():
    check_grads(hnp.sin, (np.zeros((0, 3)),))


# -- what is wrong --------------------------------------------------------------------------------


def square(vjp=None, jvp=None, entry=None):
    """A square with wrong rules; only in one entry, if it is given."""

    def wrong(g, _z, x):
        right = 2.0 * x * g
        if entry is None:
            return right * 1.01
        mask = np.zeros(np.shape(x))
        mask[entry] = 1.0
        return right + 0.1 * g * mask

    def right(g, _z, x):
        return 2.0 * x * g

    rules = [wrong if vjp else right], [wrong if jvp else right]
    return Primitive("wrong", np.square, broadcast, rules[0], jvp=rules[1], register=False)


def test_a_wrong_vjp_is_found_in_reverse_mode():
    f = square(vjp=True)
    with pytest.raises(AssertionError, match=r"^reverse mode: .*argument 0"):
        check_grads(f, (X,), 1)
    check_grads(f, (X,), 1, modes=("fwd",))
    with pytest.raises(AssertionError, match=r"^reverse mode"):
        check_vjp(f, (X,))


def test_a_wrong_jvp_is_found_in_forward_mode():
    f = square(jvp=True)
    with pytest.raises(AssertionError, match=r"^forward mode: .*argument 0"):
        check_grads(f, (X,), 1)
    check_grads(f, (X,), 1, modes=("rev",))


@pytest.mark.parametrize("mode", ["vjp", "jvp"])
@pytest.mark.parametrize("entry", [(0, 0), (1, 2)])
def test_the_wrong_entry_is_named_with_both_numbers(mode, entry):
    f = square(**{mode: True}, entry=entry)
    with pytest.raises(AssertionError) as error:
        check_grads(f, (X,), 1)
    text = str(error.value)
    assert f"argument 0, entry {entry}" in text
    exact, numerical = (float(text.split(word)[1].split(",")[0].split(";")[0])
                        for word in (" is ", "numerically "))  # fmt: skip
    assert exact == pytest.approx(numerical * (1 + 0.1 / (2 * X[entry])), rel=1e-6)


def test_the_wrong_argument_is_named_by_its_path():
    f = square(vjp=True)

    def model(layer, x):
        return f(hnp.sum(x)) * 0.0 + x @ layer.weight + f(layer.bias)

    with pytest.raises(AssertionError, match=r"argument 0\.bias, entry \([01],\)"):
        check_grads(model, (LAYER, X), 1)
    with pytest.raises(AssertionError, match=r"argument 1\['b'\]\[0\], its value"):
        check_grads(lambda a, p: a * f(p["b"][0]), (1.0, {"b": [2.0, 3.0]}), 1)


def test_a_wrong_derivative_of_a_complex_argument_is_found():
    def wrong(g, _z, x):
        return hnp.conj(g)  # right for the real part only

    f = Primitive("wrong", np.copy, broadcast, [wrong], jvp=[lambda t, _z, _x: t], register=False)
    with pytest.raises(AssertionError, match=r"reverse mode: .*argument 0"):
        check_grads(f, (X + 1j * X,), 1)


def nest(vjp_slope, jvp_slope):
    """A sine whose rules are right, and use slopes whose own rules may be wrong."""

    def rule(slope):
        return lambda g, _z, x: g * slope(x)

    return Primitive(
        "nest", np.sin, broadcast, [rule(vjp_slope)], jvp=[rule(jvp_slope)], register=False
    )


def slope(vjp_factor=1.0, jvp_factor=1.0):
    """A cosine; its rules are right where the factors are 1."""
    return Primitive(
        "slope",
        np.cos,
        broadcast,
        [lambda g, _z, x: -vjp_factor * g * hnp.sin(x)],
        jvp=[lambda t, _z, x: -jvp_factor * t * hnp.sin(x)],
        register=False,
    )


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("forward", "forward"),
        ("forward", "reverse"),
        ("reverse", "forward"),
        ("reverse", "reverse"),
    ],
)
def test_a_wrong_second_derivative_is_found_in_every_nesting(outer, inner):
    """``outer`` mode of the derivative that ``inner`` mode took."""
    bad = slope(1.1) if outer == "reverse" else slope(1.0, 1.1)
    f = nest(slope(), bad) if inner == "forward" else nest(bad, slope())
    check_grads(f, (X,), 1)
    with pytest.raises(AssertionError, match=f"^{inner} mode, then {outer} mode: .*argument 0"):
        check_grads(f, (X,), 2)


def test_forward_and_reverse_mode_must_agree_more_closely_than_numbers_can_tell():
    """An error of 1e-7 hides from differences; the entry where the modes differ is named."""

    def rule(g, _z, x):
        return 2.0 * x * g * (1.0 + 1e-7 * (np.asarray(x) == 1.5))

    f = Primitive("close", np.square, broadcast, [rule], jvp=[lambda t, _z, x: 2.0 * x * t],
                  register=False)  # fmt: skip
    check_grads(f, (X,), 1, ("rev",))
    with pytest.raises(AssertionError, match=r"reverse mode: .*entry \(1, 0\), .* forward"):
        check_grads(f, (X,), 1)


def test_a_tangent_of_the_wrong_shape_is_found():
    f = Primitive("narrow", np.square, broadcast, [lambda g, _z, x: 2.0 * x * g],
                  jvp=[lambda t, _z, x: (2.0 * x * t)[0]], register=False)  # fmt: skip
    with pytest.raises((AssertionError, ShapeError)):
        check_grads(f, (X,), 1)


def test_not_a_number_is_no_agreement():
    f = Primitive("nan", np.square, broadcast, [lambda g, _z, x: g * np.nan],
                  jvp=[lambda t, _z, x: 2.0 * t * x], register=False)  # fmt: skip
    with pytest.raises(AssertionError, match="nan"):
        check_grads(f, (X,), 1)


def test_a_function_that_is_not_made_of_primitives_is_found():
    """It has a derivative, and the transforms say that it has none."""
    with pytest.raises(AssertionError, match="forward mode"):
        check_grads(lambda x: hnp.sin(x) + np.cos(x.numpy() if hasattr(x, "numpy") else x), (X,), 1)


def test_a_mode_need_not_be_in_a_tuple():
    with pytest.raises(ConfigError, match=r"\('back',\)"):
        check_grads(hnp.sin, (X,), modes="back")
    check_grads(hnp.sin, (X,), modes="rev")


def test_tolerances_and_the_step_can_be_given():
    f = square(vjp=True)
    check_grads(f, (X,), 1, ("rev",), rtol=0.2)
    check_grads(f, (X,), 1, ("rev",), atol=10.0)
    check_grads(hnp.sin, (X,), 1, eps=1e-3)
    with pytest.raises(AssertionError):
        check_grads(hnp.exp, (X,), 1, eps=1.0)


def test_wrong_use_is_explained():
    with pytest.raises(ConfigError, match="'backwards'"):
        check_grads(hnp.sin, (X,), modes=("backwards",))
    with pytest.raises(DifferentiationError, match=r"write \(x,\) for a single one"):
        check_grads(hnp.sin, X)
    with pytest.raises(ConfigError, match="order=0"):
        check_grads(hnp.sin, (X,), 0)
    with pytest.raises(DifferentiationError, match="no array of floating-point"):
        check_grads(lambda n: n, (np.arange(3),))
    with pytest.raises(DifferentiationError, match="no array of floating-point"):
        check_grads(lambda x: hnp.greater(x, 0), (X,))
