"""Capture: run a function once, and write down everything it does to arrays."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.guard import user_line
from hpcad.autodiff.parameter import Parameter
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.pytree import tree_map
from hpcad.autodiff.state import STATE
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.program.capture.agreement import substitute
from hpcad.program.capture.captured import Captured, is_plain
from hpcad.program.capture.effects import Effects
from hpcad.program.capture.expand import EXPANSIONS
from hpcad.program.capture.signature import PLAIN
from hpcad.program.capture.trees import contents, holds, holds_captured, is_masked, mapped, symbols
from hpcad.program.capture.watch import Watch
from hpcad.program.instruction import Instruction, Value

# Their results have shapes that depend on values.
VALUE_SHAPED = ("nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values",
                "intersect1d", "setdiff1d", "setxor1d", "union1d")  # fmt: skip


class Abandoned(BaseException):
    """The function must be run anew, eagerly. No ``except`` of the user's catches it."""


class Capture(Effects):
    """The trace of a program, below all differentiation.

    ``with capture:`` is its extent. Every operation is computed as in an eager call, and recorded.

    Parameters
    ----------
    ahead : bool
        See :class:`~hpcad.program.capture.effects.Effects`.
    before : Watch, optional
        The arrays that the call before has used.

    Attributes
    ----------
    obstacle : str or None
        Why the call cannot be replayed: what depended on values, and where. The first one.
    watch : Watch
        The arrays that it has used.
    """

    __slots__ = ("_before", "_given", "_kept", "_parameters", "_plain", "obstacle", "watch")

    spent = False

    def __init__(self, ahead: bool = False, before: Watch | None = None) -> None:
        super().__init__(ahead)
        self.watch = Watch(before)
        self.obstacle: str | None = None
        self._kept: list[Any] = []
        self._parameters: dict[int, tuple[int, Captured]] = {}
        self._plain: dict[int, Captured] = {}
        self._given: dict[int, Captured] = {}
        self._before: Any = None

    # -- what comes in ------------------------------------------------------------------------

    def input(self, given: Any) -> Captured:
        """An argument: an array, a NumPy scalar or a constant tensor."""
        array = value_of(given)
        self._met(array)
        value = Value(array.shape, array.dtype, "input", len(self.program.inputs))
        self.program.inputs.append(value)
        known = self._given.get(id(given))  # twice the same: the signature says so
        if known is None:
            self.watch.add(array)
            known = Captured(array, self, value, plain=not isinstance(given, Tensor))
            self._given[id(given)] = known
        return known

    def parameter(self, parameter: Parameter) -> Captured:
        """A parameter, with the values it has now."""
        if self._written:
            self.refuse("it goes on with parameters that it has changed")
        known = self._parameters.get(id(parameter))
        if known is None or known[0] != parameter.version:
            array = parameter.array
            self._met(array)
            value = Value(array.shape, array.dtype, "parameter", parameter)
            known = (parameter.version, Captured(array, self, value, plain=True))
            self._parameters[id(parameter)] = known
        return known[1]

    def outside(self, array: Any) -> Captured:
        """An array from outside; it is decided later whether it is one of the user's."""
        known = self._plain.get(id(array))
        if known is not None:
            self._look_at(array)
        else:
            if type(array) not in PLAIN and isinstance(array, np.ndarray):
                self.abandon(f"a {type(array).__name__} has operations of its own")
            self._look_at(array)
            source = array if self._met(array) else np.asarray(array)
            value = Value(array.shape, array.dtype, "literal", source)
            known = self._plain[id(array)] = Captured(array, self, value, plain=True)
        return known

    def _met(self, array: Any) -> bool:
        """Note which device the program is for; whether the array is on one."""
        backend: Any = backend_of(array)
        if backend.on_device:
            self.program.backend = backend
        return backend.on_device

    def _look_at(self, array: Any) -> None:
        if not self.watch.add(array):
            self.refuse(f"an array of shape {array.shape} was changed by NumPy during the call")

    def keep(self, tensor: Captured) -> None:
        """Remember a tensor, to see whether it outlives the call."""
        self._kept.append(weakref.ref(tensor))

    # -- what is done -------------------------------------------------------------------------

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Compute an operation, and record it (or, of a composite one, its parts)."""
        if primitive.ordered:
            if self.ahead:
                self.abandon(f"{primitive.name} communicates, which must happen once a call")
            self.irreversible = True
        taken, plain = self._taken(args)
        if primitive.name in VALUE_SHAPED or (primitive.name == "getitem" and is_masked(params)):
            self.refuse(f"the shape of the result of {primitive.name} depends on values")
        expand = EXPANSIONS.get(primitive.name)
        if expand is not None:
            expanded = expand(*taken, **params)
            if expanded is not NotImplemented:
                return mapped(expanded, lambda x: x if x.plain is plain else x.twin(plain))
        answer = self._evaluated(primitive, contents(taken), contents(params))
        answers = tuple(answer) if primitive.outputs else (answer,)
        instruction = Instruction(primitive, symbols(taken), symbols(params), [], user_line())
        results = []
        for array in answers:
            value = Value(array.shape, array.dtype, "result", instruction)
            instruction.outs.append(value)
            results.append(Captured(array, self, value, plain))
        self.program.instructions.append(instruction)
        return tuple(results) if primitive.outputs else results[0]

    def _evaluated(self, primitive: Primitive, arrays: Any, params: Any) -> Any:
        """The answer; what a program would do otherwise, or not notice, is an obstacle."""
        if not {"raise", "call"}.isdisjoint(np.geterr().values()):
            self.refuse("floating-point errors are not ignored (np.errstate)")
        try:
            answer = primitive.evaluate(arrays, params)
        except Exception as error:
            self.refuse(f"{primitive.name} raised {type(error).__name__}")
            raise
        for array in answer if primitive.outputs else (answer,):
            if array.dtype.hasobject:
                self.refuse(f"{primitive.name} made an array of objects")
        return answer

    def substitute(self, ours: Any, called: Any, args: Sequence[Any], kwargs: Any) -> Any:
        """What our function in the place of one of NumPy's returns, as NumPy returns it."""
        return substitute(self, ours, called, args, kwargs)

    def concerns(self, args: Sequence[Any], params: Mapping[str, Any]) -> bool:
        """Whether an operation has anything to do with the program."""
        return any(isinstance(x, Captured) for x in args) or holds(params)

    def _taken(self, args: Sequence[Any]) -> tuple[list[Any], bool]:
        """The arguments as tensors of the program; whether none is one of an eager call."""
        taken, plain = [], True
        for given in args:
            arg = value_of(given)
            plain = plain and is_plain(given)
            if isinstance(arg, (list, tuple)):
                arg = np.asarray(arg)
            if hasattr(arg, "dtype") and not isinstance(arg, Tensor):
                arg = self.outside(arg)
            taken.append(arg)
        return taken, plain

    # -- what cannot be replayed --------------------------------------------------------------

    def look_into(self, tensor: Captured) -> None:
        """Somebody looks at the numbers of a tensor; those of a literal can be looked at again."""
        source = tensor.symbol.source
        if tensor.symbol.origin == "literal" and isinstance(source, np.ndarray):
            self.program.fixed.append(tensor.symbol.source)
        else:
            self.read("its values")

    def read(self, what: str) -> None:
        """Somebody looks at numbers: what they do then cannot be known."""
        self.refuse(f"{what} were read")

    def refuse(self, reason: str, line: str | None = None) -> None:
        """Note why the call cannot be replayed, and where."""
        if self.obstacle is None:
            self.obstacle = f"{reason} (at {line or user_line()})"

    def abandon(self, reason: str) -> None:
        """The same where the call cannot even go on as an eager one would."""
        self.refuse(reason)
        if not self.irreversible:
            raise Abandoned

    def overwrite(self, target: Captured, content: Any) -> None:
        """Change an array in place that others may see, as an eager call does."""
        reason = "an array was changed in place to which others may refer"
        self.refuse(reason)
        same = [ref() for ref in self._kept]
        if sum(x is not None and x.content is target.content for x in same) > 1:
            self.abandon(reason)  # a tape would complain
        if not self.ahead:
            target.content[...] = content
            self.irreversible = True

    def __enter__(self) -> Any:
        self._before = (STATE.capture, STATE.ambient)
        STATE.capture = self
        STATE.ambient = _nothing  # what is recorded outside is no part of the program
        return self

    def __exit__(self, *_: object) -> None:
        STATE.capture, STATE.ambient = self._before

    def check_end(self) -> None:
        """See whether somebody still holds a tensor of the call, or has changed an array."""
        for known in (self._plain, self._given, self._parameters):
            known.clear()
        for array in self.watch.changed():
            self.refuse(f"an array of shape {array.shape} was changed by NumPy during the call")
        if self._written:  # it will be changed when the program runs
            places = [x for p in self.program.parameters() for x in (p.array, p.gradient)]
            for array in self.watch.arrays():
                mine = (x for x in places if isinstance(x, np.ndarray))
                if any(np.may_share_memory(array, x) for x in mine):
                    self.refuse(f"an array of shape {array.shape} is a parameter, seen otherwise")
        if any(ref() is not None for ref in self._kept):
            gc.collect()
        for tensor in [ref() for ref in self._kept]:
            if tensor is None:
                continue
            made = tensor.symbol.source
            line = made.line if isinstance(made, Instruction) else None
            self.refuse("a tensor of the call is kept by somebody after it", line)

    def meaning(self, given: Sequence[Any], leaves: Sequence[Any]) -> Callable[[Any], Any]:
        """A function from things of the call to what an eager call would have in their place."""
        known = {id(x): leaf for x, leaf in zip(given, leaves, strict=True)}

        def plain(x: Any) -> Any:
            if id(x) in known:
                return known[id(x)]
            inner = value_of(x)
            if not isinstance(inner, Captured):
                return x
            return inner.content if is_plain(x) else Tensor(inner.content)

        return lambda thing: tree_map(plain, thing) if holds_captured(thing) else plain(thing)

    def release(self) -> None:
        """Make the tensors that are left ordinary constants."""
        for ref in self._kept:
            tensor = ref()
            if tensor is not None:
                tensor.release()
        self._kept.clear()


def _nothing() -> None:
    return None
