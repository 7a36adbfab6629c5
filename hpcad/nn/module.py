"""Module: a tree of parameters with a forward function."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from hpcad.autodiff import Parameter
from hpcad.autodiff.state import CHANGES, STATE
from hpcad.backend import Backend, Stream, get_backend
from hpcad.errors import ConfigError
from hpcad.nn.initializers import Initializer

ARENAS = "_arenas"  # the attribute in which hpcad.nn.arena keeps a model's arenas


class Module:
    """Base of layers and models.

    Assign parameters, modules, and lists or dicts of modules to attributes; they are found by
    walking the attributes in the order of assignment. A parameter that is reachable twice is
    shared and appears once, under its first name.

    A compiled step keeps attributes as they were when it was captured. Setting one to another
    value captures it anew; what is written into a list, a dict or an array that is an attribute
    goes unseen, and so does a new attribute that the step looked for in vain.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every module defines it."""
        raise TypeError(f"{type(self).__name__} defines no forward(self, ...) method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        replaced = self.__dict__.get(name, self)  # nothing has itself as an attribute
        if isinstance(replaced, Parameter) and not isinstance(value, Parameter | None):
            raise TypeError(
                f"attribute {name!r} is a parameter and would no longer be trained as a "
                f"{type(value).__name__}; use parameter.assign(values)"
            )
        if replaced is self:  # new: it changes something only where the class had a default
            CHANGES.count += hasattr(type(self), name)
        elif replaced is not value and not _same_setting(replaced, value):
            self._changes(name, "set")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._changes(name, "deleted")
        super().__delattr__(name)

    def _changes(self, name: str, how: str) -> None:
        """Tell programs, which keep the attributes as they were when they were captured."""
        CHANGES.count += 1
        if STATE.capture is not None:
            STATE.capture.refuse(f"attribute {name!r} of {type(self).__name__} was {how}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        """A model of its own, with parameters outside of this one's arenas."""
        twin = memo[id(self)] = type(self).__new__(type(self))
        for name, value in vars(self).items():
            if name != ARENAS:
                twin.__dict__[name] = copy.deepcopy(value, memo)
        return twin

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter), each parameter once."""
        seen: set[int] = set()
        for name, parameter in _walk(self, ""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> list[Parameter]:
        """Return the parameters in the order of :meth:`named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def parameter_count(self) -> int:
        """Return the number of trainable numbers."""
        return sum(int(p.size) for p in self.parameters() if not p.frozen)

    def initialize(
        self, seed: int = 0, dtype: Any = np.float32, backend: Backend | None = None
    ) -> Module:
        """Draw all parameters anew, as a pure function of seed and parameter name.

        Do it before an optimizer or a data-parallel engine takes the parameters; afterwards it
        is done in place, and dtype and backend can no longer change.

        Parameters
        ----------
        seed : int
        dtype : dtype
            Of parameters and gradients.
        backend : Backend, optional
            Where the parameters live; the CPU when left out.

        Returns
        -------
        Module
            This module.
        """
        where = backend or get_backend("cpu")
        for name, parameter in self.named_parameters():
            values = where.asarray(_draw(parameter, seed, name).astype(dtype))
            if parameter.in_arena:
                _require_same_memory(parameter, values)
                parameter.assign(values)
            else:
                parameter.name = name
                parameter.hold(values)
                parameter.grad = None
            parameter.fresh = False
        return self

    def arrays(self) -> dict[str, Any]:
        """Return the parameters' values by name (views, not copies)."""
        return {name: parameter.value for name, parameter in self.named_parameters()}

    def load(self, arrays: dict[str, Any]) -> None:
        """Overwrite the parameters in place.

        Raises
        ------
        ConfigError
            A name is missing or unknown.
        ShapeError
            A shape differs.
        """
        own = dict(self.named_parameters())
        if own.keys() != arrays.keys():
            missing, unknown = sorted(own.keys() - arrays), sorted(arrays.keys() - own)
            raise ConfigError(
                f"the arrays do not fit this model: missing {missing}, unknown {unknown}"
            )
        for name, parameter in own.items():
            parameter.assign(arrays[name])


_unnamed = itertools.count()
_drawn: ContextVar[bool] = ContextVar("parameters are drawn when they are made", default=True)


@contextmanager
def undrawn() -> Iterator[None]:
    """Make models whose parameters are zero until ``initialize(seed)`` draws them.

    A large model is then drawn once and not twice.
    """
    token = _drawn.set(False)
    try:
        yield
    finally:
        _drawn.reset(token)


class InitializedParameter(Parameter):
    """A parameter that knows how it is drawn."""

    __slots__ = ("initializer",)

    def __init__(self, shape: tuple[int, ...], initializer: Initializer) -> None:
        # Usable at once; a model of many layers should still be drawn by initialize(seed),
        # where every parameter has its own stream.
        stream = Stream(0, f"unnamed {next(_unnamed)}")
        if _drawn.get():
            super().__init__(initializer(stream, shape).astype(np.float32))
        else:
            super().__init__(np.zeros((), np.float32))
            self.hold(np.zeros(shape, np.float32))  # not a copy: its memory is not even touched
        self.initializer = initializer

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        twin = super().__deepcopy__(memo)
        twin.initializer = self.initializer  # type: ignore[attr-defined]  # of this class
        return twin


class Sequential(Module):
    """Modules and functions applied one after the other."""

    def __init__(self, *stages: Any) -> None:
        self.stages = list(stages)

    def forward(self, x: Any) -> Any:
        for stage in self.stages:
            x = stage(x)
        return x


def _same_setting(old: Any, new: Any) -> bool:
    """Whether plain values are equal: ``model.training = True`` again changes nothing."""
    return type(old) is type(new) and type(old) in (int, float, str) and old == new


def _draw(parameter: Parameter, seed: int, name: str) -> Any:
    initializer = getattr(parameter, "initializer", None)
    if initializer is None:
        return parameter.numpy()
    return initializer(Stream(seed, name), tuple(parameter.shape))


def _require_same_memory(parameter: Parameter, values: Any) -> None:
    if values.dtype != parameter.dtype or type(values) is not type(parameter.value):
        raise ConfigError(
            f"parameter {parameter.name!r} already belongs to an optimizer or engine as "
            f"{parameter.dtype}; call initialize(dtype={values.dtype}) before making those"
        )


def _walk(node: Any, prefix: str) -> Iterator[tuple[str, Parameter]]:
    if isinstance(node, Parameter):
        yield prefix, node
    elif isinstance(node, Module):
        for key, child in vars(node).items():
            if key != ARENAS:
                yield from _walk(child, f"{prefix}.{key}" if prefix else key)
    elif isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            yield from _walk(child, f"{prefix}.{i}")
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from _walk(child, f"{prefix}.{key}")
