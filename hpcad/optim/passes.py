"""What takes one step of one arena: compiled kernels, or the array library in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from hpcad.backend import backend_of
from hpcad.nn.arena import ParameterArena
from hpcad.optim.chunked import ChunkedUpdate
from hpcad.optim.compiled import CompiledUpdate, Pass, is_mixed, squares_kernel, update_pass
from hpcad.optim.on_device import DeviceUpdate
from hpcad.optim.rule import Rule, write_rule
from hpcad.optim.stretches import neighbours, stretches
from hpcad.program.cuda.launch import load_kernels
from hpcad.program.kernels.build import compile_kernels
from hpcad.program.kernels.ir import Kernel

if TYPE_CHECKING:
    from hpcad.optim.optimizer import Optimizer


class ArenaUpdate(Protocol):
    """The update of one arena."""

    def update(self, numbers: list[float]) -> None:
        """Take one step with these run-time numbers, in the order of ``Rule.scalars``."""
        ...

    def squares(self) -> float:
        """Sum of the squared gradients, in double precision."""
        ...


def make_updates(optimizer: Optimizer) -> Sequence[ArenaUpdate]:
    """One for each arena: compiled where that can be done."""
    compiled = compiled_updates(optimizer)
    return chunked_updates(optimizer) if compiled is None else compiled


def chunked_updates(optimizer: Optimizer) -> list[ChunkedUpdate]:
    """Updates by NumPy."""
    made = []
    for arena, state in zip(optimizer.arenas, optimizer.state, strict=True):
        parts = stretches(arena, optimizer.weight_decay)
        rules = {d: _rule(optimizer, arena, d) for d in {part.decays for part in parts}}
        slots = [state[name].flat for name in optimizer.slots]
        made.append(ChunkedUpdate(arena, slots, parts, rules))
    return made


def compiled_updates(optimizer: Optimizer) -> list[CompiledUpdate] | None:
    """Updates by compiled kernels; None where there is no compiler."""
    plans = [_plan(optimizer, arena) for arena in optimizer.arenas]
    norms = [_norm(optimizer, arena) for arena in optimizer.arenas]
    kernels = dict.fromkeys(each.kernel for plan in plans for each in plan)
    kernels |= dict.fromkeys(norm for norm in norms if norm is not None)
    built = compile_kernels(list(kernels))
    if built is None:
        return None
    compiled = dict(zip(kernels, built, strict=True))
    made = []
    for arena, state, plan, norm in zip(
        optimizer.arenas, optimizer.state, plans, norms, strict=True
    ):
        slots = [state[name].flat for name in optimizer.slots]
        made.append(CompiledUpdate(arena, slots, plan, norm, compiled))
    return made


def device_update(optimizer: Optimizer) -> DeviceUpdate:
    """The update of all arenas on the device that they are on.

    Raises
    ------
    DeviceError
        There is no NVRTC to compile its kernels.
    """
    arenas = optimizer.arenas
    backend = backend_of(arenas[0].values.flat)
    return DeviceUpdate(
        backend,
        arenas,
        [[state[name].flat for name in optimizer.slots] for state in optimizer.state],
        [_plan(optimizer, arena) for arena in arenas],
        [_norm(optimizer, arena) for arena in arenas],
        optimizer.clip_norm,
        optimizer.loss_scale,
        lambda kernels: load_kernels(kernels, backend.xp),
    )


def _plan(optimizer: Optimizer, arena: ParameterArena) -> list[Pass]:
    parts = stretches(arena, optimizer.weight_decay)
    plan = []
    for group in neighbours(arena, parts):
        rule = _rule(optimizer, arena, None if is_mixed(group) else group[0].decays)
        plan.append(update_pass(arena, len(optimizer.slots), group, rule))
    return plan


def _norm(optimizer: Optimizer, arena: ParameterArena) -> Kernel | None:
    if not optimizer.needs_norm:
        return None
    return squares_kernel(arena.grads.size, str(arena.grads.dtype))


def _rule(optimizer: Optimizer, arena: ParameterArena, decays: bool | None) -> Rule:
    return write_rule(optimizer, str(arena.values.dtype), decays)
