"""Steps: tasks with everything in place, each one line of the generated source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend import get_backend
from hpcad.backend.gemm import Gemm, bind, describe
from hpcad.backend.half import is_half
from hpcad.errors import CaptureError
from hpcad.program.emission.names import Names, literal, shapes
from hpcad.program.instruction import Accumulate, Call, Instruction, Value, values_in
from hpcad.program.routines import Routine, routine

Arrays = Callable[[Value], np.ndarray]


def no_call() -> None:
    """What a step calls that is known by its text only."""


@dataclass
class Step:
    """One line of an executable program.

    Attributes
    ----------
    kind : str
        ``"product"``, ``"kernel"``, ``"routine"``, ``"effect"`` or ``"other"``.
    name : str
        Of the operation.
    text : str
        The statement.
    scope : dict
        What the names in the statement stand for.
    comment : str
        What it computes, with shapes.
    line : str
        ``file:line`` of the user.
    flops : int
        Floating-point operations.
    nbytes : int
        Bytes read and written, each operand counted once.
    gemm : Gemm or None
    products : list
        Matrix products and convolutions, which count themselves (:mod:`hpcad.backend.flops`).
    final : bool
        Whether to take it twice is something else than to take it once.
    call : callable
        What the statement calls, where it is known; of programs of devices it is.
    effect : Call or None
        The effect that it is, on a device.
    """

    kind: str
    name: str
    text: str
    scope: dict[str, Any]
    comment: str = ""
    line: str = ""
    flops: int = 0
    nbytes: int = 0
    gemm: Gemm | None = None
    products: list[Any] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)
    final: bool = False
    call: Callable[[], Any] = no_call
    effect: Call | None = None


class StepMaker:
    """Makes steps of tasks that are no kernels.

    Parameters
    ----------
    names : Names
    arrays : callable
        The array of a value, in its place.
    base : callable
        The value that a view looks at.
    native : bool
        Whether products may be made by other libraries than NumPy's, in other ways.
    """

    def __init__(self, names: Names, arrays: Arrays, base: Callable, native: bool) -> None:
        self.names, self.arrays, self.base, self.native = names, arrays, base, native
        self.scratch_bytes = 0
        self.unbound: list[tuple[Step, str, Routine]] = []

    def step(self, instruction: Instruction, beta: float) -> Step:
        op = instruction.op
        if isinstance(op, Accumulate):
            return self._accumulation(instruction, op)
        if isinstance(op, Call):
            return self._call(instruction, op)
        if instruction.name == "matmul":
            return self._product(instruction, instruction.args, beta)
        if instruction.name == "matmul_add":
            return self._product(instruction, instruction.args[1:], 1.0)
        ufunc = _ufunc_of(instruction, op)
        if ufunc is not None:
            return self._ufunc(instruction, ufunc)
        found = routine(instruction, self.arrays, beta) if self.native else None
        if found is not None:
            return self._routine(instruction, found)
        return self._other(instruction, op, beta)

    # -- kinds --------------------------------------------------------------------------------

    def _product(self, instruction: Instruction, factors: list[Any], beta: float) -> Step:
        """``c = a b + beta c``."""
        scope: dict[str, Any] = {}
        a, b = (self._name(x, scope) for x in factors)
        c = self._name(instruction.out, scope)
        arrays = scope[a], scope[b], scope[c]
        found = describe(*arrays, beta=beta) if self.native else None
        sign = "+=" if beta else "="
        comment = f"{c} {sign} {a} @ {b}; {shapes([*factors, instruction.out])}"
        m, k, n = arrays[0].shape[-2], arrays[0].shape[-1], arrays[2].shape[-1]
        work = 2 * m * n * k * int(np.prod(arrays[2].shape[:-2], dtype=int))
        step = self._new("product", instruction, "", scope, comment)
        step.flops = work
        if found is not None:
            step.gemm, step.products = found.spec, [found.spec]
            call = self.names.new(f"gemm_{c}", numbered=False)
            step.text, step.scope = f"{call}()", {call: bind(*found, tune=True)}
            step.parts = list(arrays)
        elif any(is_half(array.dtype) for array in arrays):
            call = self.names.new(f"gemm_{c}", numbered=False)
            product = functools.partial(get_backend("cpu").gemm, *arrays, beta=beta)
            step.text, step.scope = f"{call}()", {call: product}
        elif beta:
            step.text = f"np.add({c}, np.matmul({a}, {b}), out={c})"
        else:
            step.text = f"np.matmul({a}, {b}, out={c})"
        return step

    def _ufunc(self, instruction: Instruction, ufunc: np.ufunc) -> Step:
        scope: dict[str, Any] = {}
        args = [self._name(x, scope) for x in instruction.args]
        out = self._name(instruction.out, scope)
        text = f"np.{ufunc.__name__}({', '.join([*args, f'out={out}'])})"
        return self._new("other", instruction, text, scope, shapes([instruction.out]))

    def _routine(self, instruction: Instruction, found: Routine) -> Step:
        """A routine in C."""
        scope: dict[str, Any] = {}
        args = ", ".join(self._name(x, scope) for x in instruction.args)
        outs = ", ".join(self._name(out, scope) for out in instruction.outs)
        call = self.names.new(f"{instruction.name}_{outs.split(',')[0]}", numbered=False)
        comment = f"{outs} = {instruction.name}({args}); {shapes(instruction.outs)}"
        step = self._new("routine", instruction, f"{call}()", {}, comment)
        step.flops, step.products = found.flops, [found] if found.flops else []
        self.scratch_bytes = max(self.scratch_bytes, found.scratch_bytes)
        self.unbound.append((step, call, found))
        return step

    def bind_routines(self, scratch: int) -> None:
        """Give the routines their scratch memory, which they share."""
        for step, call, found in self.unbound:
            step.scope[call] = found.bind(scratch)

    def _other(self, instruction: Instruction, op: Primitive, beta: float) -> Step:
        """Any operation, its answers copied to their places."""
        scope: dict[str, Any] = {}
        args = [self._name(x, scope) for x in instruction.args]
        params = with_arrays(instruction.params, self.arrays)
        outs = [self._name(out, scope) for out in instruction.outs]
        if instruction.name == "sum":
            text = f"np.sum({args[0]}, axis={params['axis']}, out={outs[0]})"
            return self._new("other", instruction, text, scope, shapes(instruction.outs))
        function, options = self.names.alone(op, instruction.name), []
        scope[function] = _evaluation(op)
        if params:
            name = self.names.new(f"options_of_{outs[0]}", numbered=False)
            scope[name] = params
            options = [f"**{name}"]
        call = f"{function}({', '.join([*args, *options])})"
        if instruction.name == "in_range":
            text = call
        elif (op.shape is None or has_mask(instruction)) and not beta:
            place = self.names.new(f"place_{outs[0]}", numbered=False)
            scope[place] = _placing(instruction, [self.arrays(out) for out in instruction.outs])
            text = f"{place}({call})"
        elif op.outputs:
            targets = ", ".join(f"{out}[...]" for out in outs)
            text = f"{targets}{',' if len(outs) == 1 else ''} = {call}"
        else:
            text = f"{outs[0]}[...] {'+=' if beta else '='} {call}"
        return self._new("other", instruction, text, scope, shapes(instruction.outs))

    def _accumulation(self, instruction: Instruction, op: Accumulate) -> Step:
        """Add to a gradient, or begin it."""
        scope: dict[str, Any] = {}
        value = self._name(instruction.args[0], scope)
        grad = self.names.alone(op.parameter, f"grad_{op.parameter.name or 'parameter'}")
        scope[grad] = op.parameter.gradient
        text = f"np.add({grad}, {value}, out={grad})" if op.beta else f"np.copyto({grad}, {value})"
        return self._new("other", instruction, text, scope, "")

    def _call(self, instruction: Instruction, op: Call) -> Step:
        owner = getattr(op.function, "__self__", None)
        name = getattr(op.function, "__name__", "call").strip("_")
        if owner is not None:
            name = f"{type(owner).__name__}_{name}"
        call = self.names.new(name, numbered=False)
        args = ", ".join(getattr(a, "name", "") or repr(a) for a in op.args)
        function, given = op.function, op.args
        scope = {call: function if not given else lambda: function(*given)}
        return self._new("effect", instruction, f"{call}()", scope, f"{name}({args})")

    # -- parts --------------------------------------------------------------------------------

    def _new(
        self, kind: str, instruction: Instruction, text: str, scope: Any, comment: str
    ) -> Step:
        values = [*instruction.inputs(), *instruction.outs]
        nbytes = sum(v.nbytes for v in values)
        return Step(kind, instruction.name, text, scope, comment, instruction.line, nbytes=nbytes)

    def _name(self, x: Any, scope: dict[str, Any]) -> str:
        """The name of an operand, which is entered into the scope; numbers as they are."""
        if not isinstance(x, Value):
            return literal(x)
        base = self.base(x)
        name = self.names.of(x) if base is x else self.names.view(x, base)
        scope[name] = self.arrays(x)
        return name


class ShapeChanged(CaptureError):  # noqa: N818  (a way out, unless there were effects)
    """An operation has made another shape than when it was captured."""


def has_mask(instruction: Instruction) -> bool:
    """Whether the shape of the answer depends on a mask."""
    if instruction.name != "getitem":
        return False
    return any(value.dtype == np.bool_ for value in values_in(instruction.params))


def _placing(instruction: Instruction, outs: list[np.ndarray]) -> Callable[[Any], None]:
    """Put the answer of an operation, whose shape may depend on values, into its place."""
    several = instruction.op.outputs  # type: ignore[union-attr]

    def place(answer: Any) -> None:
        for out, array in zip(outs, answer if several else (answer,), strict=True):
            if np.shape(array) != out.shape:
                raise ShapeChanged(
                    f"{instruction.name} made shape {out.shape} when it was captured, and later "
                    f"{np.shape(array)} (at {instruction.line})"
                )
            out[...] = array

    return place


def _ufunc_of(instruction: Instruction, op: Primitive) -> np.ufunc | None:
    """NumPy's own function, where an instruction is nothing but a call of it."""
    value = getattr(op.value, "__wrapped__", op.value)  # what is around it is for bfloat16
    if not isinstance(value, np.ufunc) or instruction.params:
        return None
    if value is not op.value and any(is_half(v.dtype) for v in instruction.inputs()):
        return None
    return value if getattr(np, value.__name__, None) is value else None


@functools.cache
def _evaluation(op: Primitive) -> Callable[..., Any]:
    return lambda *args, **params: op.evaluate(args, params)


def with_arrays(tree: Any, arrays: Arrays) -> Any:
    """Parameters with arrays in the place of values."""
    if isinstance(tree, Value):
        return arrays(tree)
    if isinstance(tree, Mapping):
        return {key: with_arrays(part, arrays) for key, part in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(with_arrays(part, arrays) for part in tree)
    return tree


def marking(parameters: list[Any], names: Names) -> Step:
    """Say that gradients are there."""

    def mark() -> None:
        for parameter in parameters:
            parameter.fresh = True

    name = names.new("mark_fresh", numbered=False)
    about = ", ".join(p.name for p in parameters if p.name)
    comment = f"gradients of {about}"
    return Step("effect", "mark", f"{name}()", {name: mark}, comment, final=True, call=mark)
