"""What each elementwise primitive computes, as expressions that C and CUDA C++ have in common.

In a template, ``{0}``, ``{1}``, ``{2}`` are the arguments (names of constants, already of the type
that is computed in), ``{t}`` that type, ``{u}`` its unsigned sibling, ``{m}`` the ending of a
function of the mathematical library ("f" or nothing) and ``{p}`` that of a function ``hp_...``
("_f32", "_f64", "_i32", "_i64"). The functions ``hp_...`` are those of ``vectormath.h``, or their
counterparts on a GPU; ``hpk_...`` are in ``scalars.h`` and stand on those.

There is a template per kind of the type that is computed in: "b" bool, "i" integers, "f" floating
point. Signed overflow is undefined in C and wraps in NumPy, hence the unsigned detours.
Of signed zeros ``maximum`` and its kin return the second, as NumPy's vectorised loops do.
"""

from __future__ import annotations

from dataclasses import dataclass

CHEAP, MIDDLING, DEAR = 1, 6, 20  # rough cost of one element, in additions


@dataclass(frozen=True)
class Scalar:
    """One row of the table.

    Attributes
    ----------
    typing : str
        How the types of the arguments and of the answer follow from those given; see
        :func:`hpcad.program.kernels.scalars.signature`.
    templates : dict
        Kind of the type computed in -> expression.
    cost : int
    arity : int
    """

    typing: str
    templates: dict[str, str]
    cost: int = CHEAP
    arity: int = 1


def _wrapped(operator: str) -> str:
    return f"({{t}})(({{u}}){{0}} {operator} ({{u}}){{1}})"


def _arithmetic(operator: str, of_bools: str | None) -> Scalar:
    templates = {"i": _wrapped(operator), "f": f"{{0}} {operator} {{1}}"}
    if of_bools:
        templates["b"] = of_bools
    return Scalar("common", templates, arity=2)


def _test(operator: str) -> Scalar:
    return Scalar("test", dict.fromkeys("bif", f"{{0}} {operator} {{1}}"), arity=2)


def _both(kinds: str, template: str, arity: int = 2, cost: int = CHEAP) -> Scalar:
    return Scalar("common", dict.fromkeys(kinds, template), cost, arity)


def _function(name: str, arity: int = 1, cost: int = DEAR, prefix: str = "hp") -> Scalar:
    """A function ``<prefix>_<name>`` of floating-point numbers; integers are made float64 first."""
    arguments = ", ".join(f"{{{i}}}" for i in range(arity))
    return Scalar("floating", {"f": f"{prefix}_{name}{{p}}({arguments})"}, cost, arity)


def _libm(name: str, cost: int = CHEAP, arity: int = 1) -> Scalar:
    """A function that C and CUDA name alike, and that is exact."""
    arguments = ", ".join(f"{{{i}}}" for i in range(arity))
    return Scalar("floating", {"f": f"{name}{{m}}({arguments})"}, cost, arity)


def _whole(name: str) -> Scalar:
    return Scalar("common", {"b": "{0}", "i": "{0}", "f": f"{name}{{m}}({{0}})"})


def _product(mask: str, operator: str) -> Scalar:
    """A product that is 0 where the mask is, also against infinity."""
    template = f"{mask} ? {{0}} {operator} {{1}} : ({{t}})0"
    return Scalar("common", {"f": template}, CHEAP if operator == "*" else MIDDLING, 2)


# fmt: off
TABLE: dict[str, Scalar] = {
    # -- arithmetic
    "add":             _arithmetic("+", "{0} | {1}"),
    "subtract":        _arithmetic("-", None),
    "multiply":        _arithmetic("*", "{0} & {1}"),
    "divide":          Scalar("quotient", {"f": "{0} / {1}"}, MIDDLING, 2),
    "masked_multiply": _product("{0} != 0", "*"),
    "masked_divide":   _product("{0} != 0", "/"),
    "zero_multiply":   _product("({0} != 0) & ({1} != 0)", "*"),
    "negative":        Scalar("common", {"i": "({t})(0 - ({u}){0})", "f": "-{0}"}),
    "positive":        Scalar("common", {"i": "{0}", "f": "{0}"}),
    "square":          Scalar("common", {"i": "({t})(({u}){0} * ({u}){0})", "f": "{0} * {0}"}),
    "reciprocal":      Scalar("common", {"f": "({t})1 / {0}"}, MIDDLING),
    "cast":            Scalar("conversion", {}),
    "cast_to_discrete": Scalar("conversion", {}),
    "round_bfloat16":  Scalar("rounding", {"f": "hpk_round_bfloat16{p}({0})"}, MIDDLING),
    "round_float16":   Scalar("rounding", {"f": "hpk_round_float16{p}({0})"}, MIDDLING),
    # -- activations
    "relu":            Scalar("common", {"i": "{0} > 0 ? {0} : ({t})0",
                                         "f": "({0} > 0) | ({0} != {0}) ? {0} : ({t})0"}),
    "sigmoid":         Scalar("any floating", {
        "f": "({t})0.5 * hp_tanh{p}(({t})0.5 * {0}) + ({t})0.5"}, DEAR),  # as its value has it
    "gelu_slope":      Scalar("common", {"f": "hpk_gelu_slope{p}({0})"}, DEAR),
    # -- comparison, selection, logic
    "equal":           _test("=="),
    "not_equal":       _test("!="),
    "greater":         _test(">"),
    "greater_equal":   _test(">="),
    "less":            _test("<"),
    "less_equal":      _test("<="),
    "logical_and":     Scalar("logic", {"b": "{0} & {1}"}, arity=2),
    "logical_or":      Scalar("logic", {"b": "{0} | {1}"}, arity=2),
    "logical_xor":     Scalar("logic", {"b": "{0} ^ {1}"}, arity=2),
    "logical_not":     Scalar("logic", {"b": "!{0}"}),
    "isfinite":        Scalar("test", {"b": "true", "i": "true", "f": "({0} - {0}) == 0"}),
    "isinf":           Scalar("test", {"b": "false", "i": "false",
                                       "f": "fabs{m}({0}) == ({t})INFINITY"}),
    "isnan":           Scalar("test", {"b": "false", "i": "false", "f": "{0} != {0}"}),
    "signbit":         Scalar("test", {"i": "{0} < 0", "f": "copysign{m}(({t})1, {0}) < 0"}),
    "where":           Scalar("selection", dict.fromkeys("bif", "{0} ? {1} : {2}"), arity=3),
    "maximum":         Scalar("common", {"b": "{0} | {1}", "i": "{0} > {1} ? {0} : {1}",
                                         "f": "({0} > {1}) | ({0} != {0}) ? {0} : {1}"}, arity=2),
    "minimum":         Scalar("common", {"b": "{0} & {1}", "i": "{0} < {1} ? {0} : {1}",
                                         "f": "({0} < {1}) | ({0} != {0}) ? {0} : {1}"}, arity=2),
    "fmax":            Scalar("common", {"b": "{0} | {1}", "i": "{0} > {1} ? {0} : {1}",
                                         "f": "({0} > {1}) | ({1} != {1}) ? {0} : {1}"}, arity=2),
    "fmin":            Scalar("common", {"b": "{0} & {1}", "i": "{0} < {1} ? {0} : {1}",
                                         "f": "({0} < {1}) | ({1} != {1}) ? {0} : {1}"}, arity=2),
    "clip":            _both("if", "hpk_clip{p}({0}, {1}, {2})", arity=3),
    "heaviside":       _function("heaviside", 2, CHEAP, prefix="hpk"),
    # -- exponentials, logarithms, roots, powers
    "exp":             _function("exp"),
    "exp2":            _function("exp2"),
    "expm1":           _function("expm1"),
    "log":             _function("log"),
    "log2":            _function("log2"),
    "log10":           _function("log10"),
    "log1p":           _function("log1p"),
    "sqrt":            _libm("sqrt", MIDDLING),
    "cbrt":            _function("cbrt"),
    "logaddexp":       _function("logaddexp", 2, prefix="hpk"),
    "logaddexp2":      _function("logaddexp2", 2, prefix="hpk"),
    "power":           Scalar("power", {"i": "hpk_power{p}({0}, {1})",
                                        "f": "hp_power{p}({0}, {1})"}, DEAR, 2),
    # -- circular and hyperbolic functions
    "sin":             _function("sin"),
    "cos":             _function("cos"),
    "tan":             _function("tan"),
    "asin":            _function("asin"),
    "acos":            _function("acos"),
    "atan":            _function("atan"),
    "sinh":            _function("sinh"),
    "cosh":            _function("cosh"),
    "tanh":            _function("tanh"),
    "asinh":           _function("asinh"),
    "acosh":           _function("acosh"),
    "atanh":           _function("atanh"),
    "hypot":           _function("hypot", 2),
    "atan2":           _function("atan2", 2),
    # -- rounding and remainders
    "ceil":            _whole("ceil"),
    "floor":           _whole("floor"),
    "trunc":           _whole("trunc"),
    "rint":            _libm("rint"),
    "floor_divide":    _both("if", "hpk_floor_divide{p}({0}, {1})", cost=DEAR),
    "remainder":       _both("if", "hpk_remainder{p}({0}, {1})", cost=DEAR),
    "fmod":            Scalar("common", {"i": "hpk_fmod{p}({0}, {1})",
                                         "f": "fmod{m}({0}, {1})"}, DEAR, 2),
    "fraction":        _function("fraction", 1, CHEAP, prefix="hpk"),
    "copysign":        _libm("copysign", CHEAP, 2),
    "nextafter":       _libm("nextafter", DEAR, 2),
    "absolute":        Scalar("common", {"b": "{0}", "i": "{0} < 0 ? ({t})(0 - ({u}){0}) : {0}",
                                         "f": "fabs{m}({0})"}),
    "fabs":            _libm("fabs"),
    "sign":            Scalar("common", {
        "i": "({t})(({0} > 0) - ({0} < 0))",
        "f": "{0} > 0 ? ({t})1 : {0} < 0 ? ({t})-1 : {0} == 0 ? ({t})0 : {0}"}),
    # -- bits
    "bitwise_and":     _both("bi", "{0} & {1}"),
    "bitwise_or":      _both("bi", "{0} | {1}"),
    "bitwise_xor":     _both("bi", "{0} ^ {1}"),
    "bitwise_invert":  Scalar("common", {"b": "!{0}", "i": "~{0}"}),
    "bitwise_left_shift":  _both("i", "hpk_shift_left{p}({0}, {1})"),
    "bitwise_right_shift": _both("i", "hpk_shift_right{p}({0}, {1})"),
    # -- special functions
    "gaussian":        Scalar("common", {"f": "hp_exp{p}(-({0} * {0}))"}, DEAR),
    "erf":             _function("erf"),
    "erfc":            _function("erfc"),
    "gamma":           _function("gamma"),
    "gammaln":         Scalar("floating", {  # SciPy's is -inf there, the C library's +inf
        "f": "{0} == -({t})INFINITY ? {0} : hp_gammaln{p}({0})"}, DEAR),
    "expit":           _function("sigmoid"),
    "softplus":        Scalar("any floating", {"f": "hpk_softplus{p}({0})"}, DEAR),
    "xlogy":           _function("xlogy", 2, prefix="hpk"),
    "xlog1py":         _function("xlog1py", 2, prefix="hpk"),
}
# fmt: on

# Vectorised, as ``hp_<name>_near_<type>``, for arguments that are not ``hp_far_<type>``. Those are
# looked for after the loop, and their values computed again.
GUARDED = frozenset({"sin", "cos", "tan"})

# Computed one element at a time, by the C library or by loops and branches of their own.
# fmt: off
SERIAL = frozenset({
    "gamma", "gammaln", "fmod", "remainder", "floor_divide", "nextafter",
})
# fmt: on
