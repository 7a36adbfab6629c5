"""What all optimizers share: one pass over flat arenas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpcad.autodiff.state import effect
from hpcad.backend import Arena, Array
from hpcad.errors import ConfigError
from hpcad.nn.arena import ParameterArena, flatten
from hpcad.nn.module import Module
from hpcad.optim.passes import ArenaUpdate, make_updates
from hpcad.optim.schedules import Constant, Schedule

Slots = Sequence[Array]


class Optimizer:
    """Base of the optimizers.

    A kind of optimizer states its rule once, in :meth:`update`, as mathematics on arrays. From it
    a fused kernel is compiled at the first step, which reads and writes memory once; without a
    C compiler, and on devices, NumPy or CuPy computes the same in chunks.

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
        self._updates: Sequence[ArenaUpdate] = []
        self._made_for: list[Any] = []
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
        effect(self._step, writes=True)

    def _step(self) -> None:
        if self.step_count == 0:
            flatten(self.model)  # complains if the model has changed since
        rate = self.schedule(self.step_count)
        self.step_count += 1
        for arena in self.arenas:
            arena.require_views()
            arena.zero_unused()
        updates = self._current_updates()
        scale = self._clip_scale(updates)
        numbers = [*self.numbers(float(rate)).values(), scale]
        for update in updates:
            update.update(numbers)
        for arena in self.arenas:
            arena.used_by("Optimizer.step()")

    # -- what makes a kind of optimizer ---------------------------------------------------------

    def numbers(self, rate: float) -> dict[str, float]:
        """The numbers that :meth:`update` finds in ``now``, for the step ``step_count``.

        Parameters
        ----------
        rate : float
            Learning rate of this step.
        """
        return {"rate": rate, "weight_decay": self.weight_decay}

    def decay(self, p: Array, g: Array, now: Any) -> tuple[Array, Array]:
        """Apply weight decay, where there is any, to parameters or gradient."""
        return p, g + p * now.weight_decay

    def update(self, p: Array, g: Array, slots: Slots, now: Any) -> tuple[Array, Slots]:
        """Return the new parameters and state; elementwise mathematics, nothing in place.

        Parameters
        ----------
        p, g : arrays, shape (n,)
            Parameters and gradient, clipped and decayed.
        slots : sequence of arrays, shape (n,)
            State, in the order of ``self.slots``.
        now : namespace
            The numbers of this step.
        """
        raise TypeError(f"{type(self).__name__} defines no update()")

    # -- learning rate and state ----------------------------------------------------------------

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

    # -- inside ---------------------------------------------------------------------------------

    def _current_updates(self) -> Sequence[ArenaUpdate]:
        """The passes over the arenas; made anew where freezing or settings change what they do."""
        now: list[Any] = [bool(self.weight_decay), self.clip_norm is not None]
        for arena in self.arenas:
            now += arena.layout()
        if now != self._made_for:
            self._updates, self._made_for = make_updates(self), now
        return self._updates

    def _clip_scale(self, updates: Sequence[ArenaUpdate]) -> float:
        if self.clip_norm is None:
            return 1.0
        self.gradient_norm = norm = math.sqrt(math.fsum(update.squares() for update in updates))
        # A NaN norm compares False: the gradient stays as it is and the loss shows it.
        return self.clip_norm / norm if norm > self.clip_norm else 1.0
