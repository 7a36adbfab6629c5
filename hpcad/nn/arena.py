"""Parameters and gradients of a model, moved into flat arenas.

A parameter's value and gradient become views of two long arrays, so that a bucket of gradients
is a slice, the optimizer is one pass, and the backward GEMM writes where the reduction reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.autodiff import Parameter
from hpcad.autodiff.tensor import CONSTANT
from hpcad.backend import Arena, Array, backend_of
from hpcad.errors import ConfigError
from hpcad.nn.module import ARENAS, Module

Allocator = Callable[[int], Array]


@dataclass
class ParameterArena:
    """The parameters of one dtype.

    Attributes
    ----------
    parameters : list of Parameter
        In the order of the arena: that of the model's attributes, roughly that of the forward
        pass. Gradients become ready roughly from the end.
    values, grads : Arena
        Of the same layout.
    """

    parameters: list[Parameter]
    values: Arena
    grads: Arena

    def __post_init__(self) -> None:
        self._connect()

    def _connect(self) -> None:
        """List every parameter with the places of its value and gradient, for quick loops."""
        values, grads = self.values.views, self.grads.views
        self._places = [(p, values[p.name], grads[p.name]) for p in self.parameters]

    def span(self, parameter: Parameter) -> slice:
        """Where a parameter lies, in elements."""
        return self.values.spans[parameter.name]

    def zero_unused(self) -> None:
        """Set the gradients that no backward pass has written to zero."""
        for parameter, _, grad in self._places:
            if not parameter.fresh:
                grad[...] = 0

    def require_views(self) -> None:
        """Raise where a parameter has left the arena.

        Raises
        ------
        ConfigError
            A parameter got another array for its value or gradient.
        """
        for p, value, grad in self._places:
            if p.array is not value or p.gradient is not grad:
                raise ConfigError(
                    f"parameter {p.name!r} got another array for its value or gradient, which no "
                    "optimizer step would reach; use parameter.assign(values) and clear_grad()"
                )

    def used_by(self, name: str) -> None:
        """Note that the gradients were used up to change the values of what is not frozen."""
        for p in self.parameters:
            p.fresh = False
            if p.level != CONSTANT:
                p.changed(name)

    def layout(self) -> list[Any]:
        """What an optimizer's passes depend on: the arrays, and which parameters are frozen."""
        return [self.values, self.grads, *[p.level for p in self.parameters]]

    def move_grads(self, allocate: Allocator) -> None:
        """Put the gradients into other memory."""
        grads = self.grads.like(allocate)
        grads.flat[...] = self.grads.flat
        self.grads = grads
        for p in self.parameters:
            p.grad = grads.views[p.name]
        self._connect()


def flatten(model: Module, allocate_grads: Allocator | None = None) -> list[ParameterArena]:
    """Move a model's parameters and gradients into arenas, one per dtype.

    Calling it again returns the same arenas, unless ``allocate_grads`` asks for other memory.

    Parameters
    ----------
    model : Module
    allocate_grads : callable, optional
        Memory for the gradients, from a communicator.

    Raises
    ------
    ConfigError
        The model has no parameters, or other ones than when its arenas were made.
    """
    known: list[ParameterArena] | None = vars(model).get(ARENAS)
    if known is not None:
        _require_same_parameters(model, known)
        if allocate_grads is not None:
            for arena in known:
                arena.move_grads(allocate_grads)
        return known
    named = list(model.named_parameters())
    if not named:
        raise ConfigError(f"{type(model).__name__} has no parameters to train")
    _check(named, model)
    for name, parameter in named:
        parameter.name = name
    arenas = []
    for dtype in dict.fromkeys(p.dtype for _, p in named):
        members = [p for _, p in named if p.dtype == dtype]
        arenas.append(_pack(members, allocate_grads))
    setattr(model, ARENAS, arenas)
    return arenas


def _check(named: list[tuple[str, Parameter]], model: Module) -> None:
    if len({name for name, _ in named}) != len(named):
        raise ConfigError(f"two parameters of {type(model).__name__} have the same dotted name")
    for name, parameter in named:
        if parameter.in_arena:
            raise ConfigError(
                f"parameter {name!r} already belongs to an optimizer or engine of another module; "
                "make the engine and one optimizer for the outermost module"
            )
        if parameter.dtype not in (np.float32, np.float64):
            raise ConfigError(
                f"parameter {name!r} is {parameter.dtype}; parameters are float32 or float64"
            )


def _require_same_parameters(model: Module, arenas: list[ParameterArena]) -> None:
    packed = {id(p) for arena in arenas for p in arena.parameters}
    changed = [name for name, p in model.named_parameters() if id(p) not in packed]
    if changed:
        raise ConfigError(
            f"parameter {changed[0]!r} was added to {type(model).__name__} after an optimizer or "
            "engine was made for it; complete the model first"
        )


def _pack(members: list[Parameter], allocate_grads: Allocator | None) -> ParameterArena:
    allocate = backend_of(members[0].value).allocate
    shapes = {p.name: tuple(p.shape) for p in members}
    values = Arena(shapes, members[0].dtype, allocate)
    grads = Arena(shapes, members[0].dtype, allocate_grads or allocate)
    for p in members:
        values.views[p.name][...] = p.value
        p.hold(values.views[p.name])
        p.grad = grads.views[p.name]
        p.fresh = False
        p.in_arena = True
    return ParameterArena(members, values, grads)
