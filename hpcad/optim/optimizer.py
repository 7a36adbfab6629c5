"""What all optimizers share: one pass over flat arenas, in chunks that stay in cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from hpcad.backend import Arena, Array, backend_of
from hpcad.errors import ConfigError
from hpcad.nn.arena import ParameterArena, flatten
from hpcad.nn.module import Module
from hpcad.optim.schedules import Constant, Schedule


class Optimizer:
    """Base of the optimizers.

    Parameters
    ----------
    model : Module
        Its parameters are moved into arenas.
    learning_rate : float or callable
        A number, or a schedule ``learning_rate(step)``.
    weight_decay : float
        Applied to parameters of two or more dimensions (weights, not biases or scales).
    clip_norm : float, optional
        Scale the gradient down to this global L2 norm when it is larger.

    Attributes
    ----------
    step_count : int
        Steps taken.
    gradient_norm : float or None
        Global L2 norm of the last gradient before clipping; known only with ``clip_norm``.
    """

    slots: tuple[str, ...] = ()  # names of the state arrays

    def __init__(
        self,
        model: Module,
        learning_rate: float | Schedule,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        if clip_norm is not None and clip_norm <= 0:
            raise ConfigError(f"clip_norm must be positive, not {clip_norm}")
        self.model = model
        self.schedule = learning_rate if callable(learning_rate) else Constant(learning_rate)
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.step_count = 0
        self.gradient_norm: float | None = None
        self._buffers: dict[int, Array] = {}
        self._known_runs: dict[int, tuple[tuple[bool, ...], list[tuple[slice, float]]]] = {}
        self.arenas: list[ParameterArena] = flatten(model)
        self.state: list[dict[str, Arena]] = [
            {slot: arena.values.like() for slot in self.slots} for arena in self.arenas
        ]

    def step(self) -> None:
        """Update the parameters from their gradients, which are used up by it.

        Raises
        ------
        ConfigError
            The model was changed since, in a way that would leave part of it untrained.
        """
        if self.step_count == 0:
            flatten(self.model)  # complains if the model has changed since
        rate = self.schedule(self.step_count)
        self.step_count += 1
        for arena in self.arenas:
            _require_views(arena)
            arena.zero_unused()
        scale = self._clip_scale()
        for arena, state in zip(self.arenas, self.state, strict=True):
            step = _chunk(arena)
            scratch = self._scratch(arena, step)
            for span, decay in self._runs(arena):
                for piece in _pieces(span, step):
                    p, g = arena.values.flat[piece], arena.grads.flat[piece]
                    if scale != 1.0:
                        g *= scale
                    slots = [state[name].flat[piece] for name in self.slots]
                    self.update(p, g, slots, scratch[: p.size], rate, decay)
            for parameter in arena.parameters:
                parameter.fresh = False
                if not parameter.frozen:
                    parameter.changed("Optimizer.step()")

    def update(
        self, p: Array, g: Array, slots: list[Array], scratch: Array, rate: float, decay: float
    ) -> None:
        """Update one chunk in place; may overwrite ``g`` and ``scratch``.

        Parameters
        ----------
        p, g : arrays, shape (n,)
            Parameters and gradient.
        slots : list of arrays, shape (n,)
            State, in the order of ``self.slots``.
        scratch : array, shape (n,)
        rate : float
            Learning rate of this step.
        decay : float
            Weight decay of this chunk.
        """
        raise TypeError(f"{type(self).__name__} defines no update()")

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.schedule(self.step_count)

    def arrays(self) -> dict[str, Array]:
        """Return the state by ``slot/parameter`` name (views)."""
        return {
            f"{slot}/{p.name}": state[slot].views[p.name]
            for arena, state in zip(self.arenas, self.state, strict=True)
            for slot in self.slots
            for p in arena.parameters
        }

    def load(self, arrays: dict[str, Any], step_count: int) -> None:
        """Restore the state that :meth:`arrays` returned."""
        for name, view in self.arrays().items():
            view[...] = arrays[name]
        self.step_count = step_count

    def _scratch(self, arena: ParameterArena, size: int) -> Array:
        buffer = self._buffers.get(id(arena))
        if buffer is None:
            backend = backend_of(arena.values.flat)
            buffer = backend.empty((size,), arena.values.dtype)
            self._buffers[id(arena)] = buffer
        return buffer

    def _runs(self, arena: ParameterArena) -> list[tuple[slice, float]]:
        """The stretches of an arena that are updated alike; they change only by freezing."""
        frozen = tuple(p.frozen for p in arena.parameters)
        known = self._known_runs.get(id(arena))
        if known is None or known[0] != frozen:
            known = self._known_runs[id(arena)] = (frozen, _runs(arena, self.weight_decay))
        return known[1]

    def _clip_scale(self) -> float:
        if self.clip_norm is None:
            return 1.0
        squares = math.fsum(
            float(g @ g)
            for arena in self.arenas
            for piece in _pieces(slice(0, arena.grads.size), _chunk(arena))
            for g in (arena.grads.flat[piece],)
        )
        self.gradient_norm = math.sqrt(squares)
        # A NaN norm compares False: the gradient stays as it is and the loss shows it.
        return self.clip_norm / self.gradient_norm if self.gradient_norm > self.clip_norm else 1.0


def _require_views(arena: ParameterArena) -> None:
    values, grads = arena.values.views, arena.grads.views
    for p in arena.parameters:
        if p.value is not values[p.name] or p.grad is not grads[p.name]:
            raise ConfigError(
                f"parameter {p.name!r} got another array for its value or gradient, which no "
                "optimizer step would reach; use parameter.assign(values) and clear_grad()"
            )


def _chunk(arena: ParameterArena) -> int:
    """Elements of one update: its passes then run in cache, and memory is read and written once."""
    values = arena.values
    return max(1, min(values.size, backend_of(values.flat).chunk_bytes // values.dtype.itemsize))


def _pieces(span: slice, step: int) -> Iterator[slice]:
    for start in range(span.start, span.stop, step):
        yield slice(start, min(start + step, span.stop))


def _runs(arena: ParameterArena, weight_decay: float) -> list[tuple[slice, float]]:
    """Longest stretches of the arena that are updated alike."""
    runs: list[tuple[slice, float]] = []
    for p in arena.parameters:
        if p.frozen:
            continue
        span, decay = arena.span(p), weight_decay if p.ndim >= 2 else 0.0
        gap = span.start - runs[-1][0].stop if runs else 0
        if runs and runs[-1][1] == decay and gap * arena.values.dtype.itemsize < 64:
            runs[-1] = (slice(runs[-1][0].start, span.stop), decay)
        else:
            runs.append((span, decay))
    return runs
