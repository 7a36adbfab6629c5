"""Primitives of users: rules given, rules derived, and messages for rules that are wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import PRIMITIVES, Parameter, grad, linearize, primitive, vjp
from hpcad.errors import DifferentiationError, ShapeError

X = np.array([0.3, -0.8, 1.2])
V = np.array([1.0, 2.0, -0.5])


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def forward(f, x):
    return hpcad.jvp(f, (x,), (1.0,))[1]


def softplus_of(**rules):
    return hpcad.primitive(lambda x: np.logaddexp(0.0, x), name="softplus", **rules)


SLOPE = {"vjp": [lambda g, y, _x: g * (1.0 - hnp.exp(-y))]}
TANGENT = {"jvp": [lambda t, _y, x: t / (1.0 + hnp.exp(-x))]}
JOINT = {
    "vjp": lambda g, _y, x: (g / (1.0 + hnp.exp(-x)),),
    "jvp": lambda ts, y, _x: ts[0] * (1.0 - hnp.exp(-y)),
}
WAYS = {
    "both": {**SLOPE, **TANGENT},
    "vjp only": SLOPE,
    "jvp only": TANGENT,
    "joint": JOINT,
    "joint vjp only": {"vjp": JOINT["vjp"]},
    "joint jvp only": {"jvp": JOINT["jvp"]},
    "same": {**SLOPE, "jvp": "same"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_choice_of_rules_gives_every_derivative(way):
    softplus = softplus_of(**WAYS[way])
    s = 1 / (1 + np.exp(-X))
    close(softplus(X), np.logaddexp(0, X))
    close(hpcad.grad(lambda x: softplus(x).sum())(X), s)
    close(hpcad.jvp(softplus, (X,), (V,))[1], s * V)
    close(hpcad.linearize(softplus, X)[1](V), s * V)
    for order in (2, 3):
        x = 0.4
        a = 1 / (1 + np.exp(-x))
        expected = [a * (1 - a), a * (1 - a) * (1 - 2 * a)][order - 2]
        for modes in itertools.product((hpcad.grad, None), repeat=order):
            f = softplus
            for mode in modes:
                f = mode(f) if mode else (lambda x, f=f: forward(f, x))
            close(f(x), expected)
    p = Parameter(X.copy())
    softplus(p * 2.0).sum().backward()
    close(p.grad, 2 / (1 + np.exp(-2 * X)))


# -- several arguments, several answers -----------------------------------------------------

M = np.array([[1.0, 2.0, 0.5], [0.3, -1.0, 2.0]])
TIMES = {
    "vjp": [lambda g, _y, _a, b: g[:, None] * b, lambda g, _y, a, _b: hnp.matmul(g, a)],
    "linear": "linear",
    "jvp": [lambda t, _y, _a, b: hnp.matmul(t, b), lambda t, _y, a, _b: hnp.matmul(a, t)],
}


@pytest.mark.parametrize("rules", [("vjp", "linear"), ("vjp", "jvp"), ("vjp", None), (None, "jvp")])
def test_a_bilinear_primitive(rules):
    vjp, jvp = rules
    given = {"vjp": vjp and TIMES[vjp], "jvp": jvp and TIMES[jvp]}
    times = hpcad.primitive(lambda a, b: a @ b, name="times", **given)

    def f(a, b):
        return (times(a, b) ** 2).sum()

    r = M @ X
    by_a, by_b = hpcad.grad(f, (0, 1))(M, X)
    close(by_a, 2 * np.outer(r, X))
    close(by_b, 2 * M.T @ r)
    close(hpcad.grad(f, 1)(M, X), by_b)
    close(hpcad.hessian(f, 1)(M, X), 2 * M.T @ M)
    close(hpcad.jvp(f, (M, X), (M, V))[1], (by_a * M).sum() + by_b @ V)
    mixed = hpcad.hessian(f, (0, 1))(M, X)
    close(mixed[0][1], np.moveaxis(mixed[1][0], 0, -1))
    close(hpcad.jacrev(hpcad.jacrev(f, 1), 0)(M, X), mixed[1][0])


def polar(x, y):
    return np.hypot(x, y), np.arctan2(y, x)


def polar_vjp(g, ans, x, y):
    r, _ = ans
    gr = 0.0 if g[0] is None else g[0]
    gt = 0.0 if g[1] is None else g[1]
    return gr * x / r - gt * y / (r * r), gr * y / r + gt * x / (r * r)


def polar_jvp(ts, ans, x, y):
    r, _ = ans
    tx, ty = (0.0 if t is None else t for t in ts)
    return (tx * x + ty * y) / r, (x * ty - y * tx) / (r * r) + 0.0 * r


@pytest.mark.parametrize("rules", ["vjp", "jvp", "both"])
def test_several_answers_of_which_some_are_not_used(rules):
    given = {"vjp": polar_vjp, "jvp": polar_jvp}
    to_polar = hpcad.primitive(
        polar, outputs=True, **(given if rules == "both" else {rules: given[rules]})
    )
    x, y = 0.6, 0.8
    close(hpcad.grad(lambda x, y: to_polar(x, y)[0], (0, 1))(x, y), (0.6, 0.8))
    close(hpcad.grad(lambda x, y: to_polar(x, y)[1], (0, 1))(x, y), (-0.8, 0.6))
    close(hpcad.grad(lambda x: to_polar(x, y)[0] * to_polar(x, y)[1])(x),
          0.6 * np.arctan2(0.8, 0.6) - 0.8)  # fmt: skip
    close(hpcad.jvp(to_polar, (x, y), (1.0, 0.0))[1], (0.6, -0.8))
    close(hpcad.jacfwd(lambda y: to_polar(x, y))(y), (0.8, 0.6))
    H = np.array(hpcad.hessian(lambda x, y: to_polar(x, y)[0], (0, 1))(x, y))
    close(H, [[0.64, -0.48], [-0.48, 0.36]])
    for second in (hpcad.jacrev(hpcad.jacrev(lambda x: to_polar(x, y)[0])),
                   hpcad.jacfwd(hpcad.jacfwd(lambda x: to_polar(x, y)[0])),
                   hpcad.jacrev(hpcad.jacfwd(lambda x: to_polar(x, y)[0]))):  # fmt: skip
        close(second(x), 0.64)


def test_a_pair_of_linear_primitives_that_are_each_others_transpose():
    """Opaque in both directions, as an FFT of a library would be."""
    P = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [3.0, 0.0, 0.0]])

    @hpcad.primitive(vjp=[lambda g, _y, _x: back(g)], jvp="linear")
    def there(x):
        return P @ np.asarray(x)

    @hpcad.primitive(vjp=[lambda g, _y, _x: there(g)])  # its JVP is derived: there's VJP again
    def back(x):
        return P.T @ np.asarray(x)

    close(hpcad.jacrev(there)(X), P)
    close(hpcad.jacfwd(there)(X), P)
    close(hpcad.jacrev(back)(X), P.T)
    close(hpcad.jacfwd(back)(X), P.T)
    close(hpcad.hessian(lambda x: (there(x) ** 2).sum())(X), 2 * P.T @ P)


def test_complex_rules_are_transposed_without_conjugation():
    z, w = np.array([1 + 2j, 0.5j]), np.array([2 - 1j, 1 + 1j])
    squared = [lambda g, _y, z: g * 2.0 * z]
    for rules in ({"vjp": squared}, {"jvp": squared}):
        square = hpcad.primitive(lambda z: z * z, name="square", **rules)
        close(hpcad.jvp(square, (z,), (w,))[1], 2 * z * w)
        close(hpcad.vjp(square, z)[1](w)[0], 2 * z * w)


def test_arguments_without_a_rule_and_parameters_by_keyword():
    @hpcad.primitive(
        vjp=[lambda g, _y, _x, mask, *, scale: g * mask * scale, None],
        jvp=[lambda t, _y, _x, mask, *, scale: t * mask * scale, None],
    )
    def masked(x, mask, *, scale=1.0):
        return x * mask * scale

    mask = np.array([1.0, 0.0, 1.0])
    close(hpcad.grad(lambda x: masked(x, mask, scale=3.0).sum())(X), 3 * mask)
    close(hpcad.grad(lambda m: masked(X, m, scale=3.0).sum())(mask), 0 * mask)
    close(hpcad.jvp(lambda x, m: masked(x, m, scale=3.0), (X, mask), (V, V))[1], 3 * V * mask)


def test_none_as_an_argument_is_passed_through():
    def rule(g, _y, x, b):
        return g * 2.0 * x, None if b is None else g

    @hpcad.primitive(vjp=rule)
    def biased(x, b):
        return x * x if b is None else x * x + b

    close(hpcad.grad(lambda x: biased(x, None).sum())(X), 2 * X)
    close(hpcad.jvp(lambda x: biased(x, None), (X,), (V,))[1], 2 * X * V)
    close(hpcad.jvp(biased, (X, X), (V, V))[1], 2 * X * V + V)


def test_broadcasting_and_promotion_need_no_care():
    scaled = hpcad.primitive(
        lambda x, s: x * s,
        name="scaled",
        vjp=[lambda g, _y, _x, s: g * s, lambda g, _y, x, _s: g * x],
    )
    by_x, by_s = hpcad.grad(lambda x, s: scaled(x, s).sum(), (0, 1))(np.float32(X), np.ones((2, 1)))
    assert (by_x.dtype, by_x.shape, by_s.shape) == (np.float32, (3,), (2, 1))
    close(by_s, np.full((2, 1), np.float32(X).sum(dtype=float)))
    close(hpcad.jvp(scaled, (X, np.ones((2, 1))), (V, np.ones((2, 1))))[1], [X + V] * 2)


def test_names_may_repeat_and_do_not_enter_the_table():
    before = dict(PRIMITIVES)
    for _ in range(2):

        @hpcad.primitive(constant=True)
        def sin(x):
            """Not that one."""
            return np.round(x)

    assert before == PRIMITIVES
    assert (sin.__name__, sin.__doc__) == ("sin", "Not that one.")
    close(hpcad.grad(lambda x: (sin(x) * x).sum())(X), np.round(X))


def test_arguments_that_are_not_kept():
    softplus = softplus_of(**SLOPE)
    with hpcad.Tape() as tape:
        softplus(tape.watch(X))
    assert tape.records[0][4] == [None]
    both = softplus_of(**JOINT)
    with hpcad.Tape() as tape:
        both(tape.watch(X))
    assert tape.records[0][3] is None
    assert tape.records[0][4][0] is X


# -- messages -------------------------------------------------------------------------------


def test_a_rule_with_a_wrong_result_is_named():
    def run(mode=hpcad.grad, **rules):
        f = hpcad.primitive(lambda x, y: x * y, name="product", **rules)
        if mode is hpcad.grad:
            return hpcad.grad(lambda y: f(X, y).sum())(V)
        return hpcad.jvp(lambda y: f(X, y), (V,), (V,))

    good = lambda g, _z, _x, y: g * y  # noqa: E731
    with pytest.raises(DifferentiationError, match="vjp rule of product for argument 1 returned N"):
        run(vjp=[good, lambda g, z, x, y: None])
    with pytest.raises(ShapeError, match=r"vjp rule of product.*shape \(2,\).*shape \(3,\)"):
        run(vjp=[good, lambda g, z, _x, _y: g[:2]])
    with pytest.raises(ShapeError, match=r"vjp rule of product.*shape \(\) .*shape \(3,\)"):
        run(vjp=[good, lambda g, z, x, y: hnp.sum(g)])
    with pytest.raises(DifferentiationError, match="1 cotangents for 2 arguments"):
        run(vjp=lambda g, z, x, y: (g * y,))
    with pytest.raises(DifferentiationError, match="argument 1 returned a str, not an array"):
        run(vjp=lambda g, z, x, y: (g * y, "wrong"))
    with pytest.raises(DifferentiationError, match="jvp rule of product for argument 1 returned N"):
        run("jvp", jvp=[good, lambda t, z, x, y: None])
    with pytest.raises(ShapeError, match=r"tangent of shape \(2,\), but the answer has"):
        run("jvp", jvp=[good, lambda t, z, x, y: t[:2]])
    with pytest.raises(DifferentiationError, match="jvp rule of product returned None"):
        run("jvp", jvp=lambda ts, z, x, y: None)


def test_a_cotangent_is_never_silently_reshaped():
    f = hpcad.primitive(lambda x: x.reshape(6), name="flat", vjp=[lambda g, _y, _x: g])
    with pytest.raises(ShapeError, match=r"flat returned a cotangent of shape \(6,\).*\(2, 3\)"):
        hpcad.grad(lambda x: f(x).sum())(np.ones((2, 3)))


def test_a_primitive_needs_a_rule_that_can_be_transposed():
    for rules in ({}, {"jvp": "linear"}, {"jvp": "jointly linear"}, {"jvp": ["linear"]}):
        with pytest.raises(DifferentiationError, match="primitive fft needs a rule"):
            hpcad.primitive(lambda x: x, name="fft", **rules)
    with pytest.raises(DifferentiationError, match='jvp="same" needs'):
        hpcad.primitive(lambda x: x, vjp=lambda g, z, x: g, jvp="same")


def test_values_that_are_no_arrays_are_refused():
    p = Parameter(np.ones(3))
    rule = {"vjp": [lambda g, _z, _x: g]}
    with pytest.raises(DifferentiationError, match="uses a tensor or parameter from its surr"):
        hpcad.primitive(lambda x: x * p, name="leaky", **rule)(X)
    with pytest.raises(DifferentiationError, match="outputs=True for several"):
        hpcad.primitive(lambda x: (x, x), **rule)(X)
    with pytest.raises(DifferentiationError, match="must be a tuple of arrays, not a ndarray"):
        hpcad.primitive(lambda x: x, outputs=True, **rule)(X)
    identity = hpcad.primitive(lambda x: x, name="identity", **rule)
    with pytest.raises(DifferentiationError, match="identity: argument 0 is a str"):
        identity("x")
    with pytest.raises(ShapeError, match=r"broken\(float64\[3\]\): no"):
        hpcad.primitive(lambda x: int("") if x is None else fail(), name="broken", **rule)(X)
    assert hpcad.primitive(lambda x: float(x), **rule)(2.0).shape == ()


def fail():
    raise ValueError("no")


def test_a_rule_cannot_write_into_a_cotangent_that_others_use():
    @primitive(vjp=[lambda g, ans, x: np.multiply(g, 3.0, out=g)])
    def tripled(x):
        return 3.0 * x

    with pytest.raises(ValueError, match="read-only"):
        grad(lambda x: ((x * 2.0 + tripled(x)) * 1.5).sum())(np.ones(3))


def test_a_value_that_changes_its_argument_is_an_error():
    @primitive(vjp=[lambda g, ans, x: g * 3.0])
    def tripled(x):
        x *= 3.0
        return x

    def f(x):
        y = hnp.exp(x)
        return (tripled(y) + y).sum()

    with pytest.raises(DifferentiationError, match=r"value of tripled changed its argument 0"):
        grad(f)(np.ones(3))


def test_an_array_given_by_keyword_is_guarded():
    @primitive(vjp=[lambda g, ans, x, *, w: g * w], jvp=[lambda t, ans, x, *, w: t * w])
    def weighted(x, *, w):
        return x * w

    w = np.array([1.0, 2.0, 3.0])
    _, pullback = vjp(lambda x: weighted(x, w=w), np.ones(3))
    _, pushforward = linearize(lambda x: weighted(x, w=w), np.ones(3))
    np.testing.assert_array_equal(pullback(np.ones(3))[0], w)
    w[0] = 100.0
    for derivative in pullback, pushforward:
        with pytest.raises(DifferentiationError, match=r"after weighted at .* had captured it"):
            derivative(np.ones(3))


def test_a_gradient_that_a_rule_takes_from_an_argument_is_a_copy():
    @primitive(vjp=[lambda g, ans, x, y: y, lambda g, ans, x, y: x])
    def dot(x, y):
        return np.sum(x * y)

    x, y = np.ones(3), np.full(3, 2.0)
    for gradient in grad(dot, argnums=(0, 1))(x, y):
        gradient[...] = 7.0
    np.testing.assert_array_equal([x, y], [np.ones(3), np.full(3, 2.0)])


def test_a_rule_may_take_arguments_and_parameters_as_they_come():
    @primitive(vjp=lambda g, ans, *args, **_: (g * args[1], g * args[0]))
    def product(x, y, *, scale):
        return x * y

    np.testing.assert_array_equal(
        grad(lambda x: product(x, np.full(3, 2.0), scale=1).sum())(np.ones(3)), np.full(3, 2.0)
    )
