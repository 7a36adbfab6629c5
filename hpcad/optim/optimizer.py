"""What all optimizers share: one pass over flat arenas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff.state import effect
from hpcad.backend import Arena, Array, backend_of
from hpcad.errors import ConfigError
from hpcad.nn.arena import ParameterArena, flatten
from hpcad.nn.module import Module
from hpcad.optim.loss_scale import LossScale
from hpcad.optim.on_device import DeviceUpdate
from hpcad.optim.passes import ArenaUpdate, device_update, make_updates
from hpcad.optim.schedules import Constant, Schedule

Slots = Sequence[Array]


class Optimizer:
    """Base of the optimizers.

    A kind of optimizer states its rule once, in :meth:`update`, as mathematics on arrays. From it
    a fused kernel is compiled at the first step, which reads and writes memory once; without a
    C compiler NumPy computes the same in chunks. On a device its numbers lie in device memory, so
    that a CUDA graph can take the step.

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
    loss_scale : LossScale, optional
        Of the losses whose gradients these are: their factor is taken away, and a step whose
        gradients overflow changes no parameter and no state.

    Attributes
    ----------
    step_count : int
        Steps taken.
    gradient_norm : float or None
        Global L2 norm of the last gradient before clipping; known only with ``clip_norm`` or
        ``loss_scale``.
    """

    slots: tuple[str, ...] = ()  # names of the state arrays

    def __init__(
        self,
        model: Module,
        learning_rate: float | Schedule,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        loss_scale: LossScale | None = None,
    ) -> None:
        if clip_norm is not None and clip_norm <= 0:
            raise ConfigError(f"clip_norm must be positive, not {clip_norm}")
        self.model = model
        self.schedule = learning_rate if callable(learning_rate) else Constant(learning_rate)
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale
        self.step_count = 0
        self._norm: float | None = None
        self._on_device: DeviceUpdate | None = None
        self._updates: Sequence[ArenaUpdate] = []
        self._made_for: list[Any] = []
        self.arenas: list[ParameterArena] = flatten(model)
        self.state: list[dict[str, Arena]] = [
            {slot: arena.values.like() for slot in self.slots} for arena in self.arenas
        ]
        if loss_scale is not None:
            loss_scale.move_to(backend_of(self.arenas[0].values.flat))

    def step(self) -> None:
        """Update the parameters from their gradients, which are used up by it.

        Raises
        ------
        ConfigError
            The model was changed since, in a way that would leave part of it untrained.
        """
        effect(self._step, writes=True)

    def _step(self) -> None:
        if not isinstance(self.arenas[0].values.flat, np.ndarray):
            before, enqueue = self.staged()
            before()
            enqueue()
            return
        numbers = self._begin()
        updates = self._current_updates()
        factor = self._factor(updates)
        for update in updates if factor else ():
            update.update([*numbers, factor])
        self._end()

    def _begin(self) -> list[float]:
        """Count the step, and return its numbers."""
        if self.step_count == 0:
            flatten(self.model)  # complains if the model has changed since
        rate = self.schedule(self.step_count)
        self.step_count += 1
        for arena in self.arenas:
            arena.require_views()
            arena.zero_unused()
        return list(self.numbers(float(rate)).values())

    def _end(self) -> None:
        for arena in self.arenas:
            arena.used_by("Optimizer.step()")

    # -- on a device ----------------------------------------------------------------------------

    effect_kind = "staged"  # how a program on a device takes the step

    def staged(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """What a step on a device is: the host's part, and the work for the current stream."""
        update, made_for = self._device_update(), self._made_for

        def before() -> None:
            if self._layout() != made_for:
                raise ConfigError(
                    "the optimizer's weight_decay, clip_norm, or which parameters are frozen was "
                    "changed after its step was compiled for the device; compile the step anew"
                )
            update.put(self._begin())
            self._end()

        return before, update.enqueue

    def _device_update(self) -> DeviceUpdate:
        now = self._layout()
        if self._on_device is None or now != self._made_for:
            self._on_device, self._made_for = device_update(self), now
        return self._on_device

    @property
    def needs_norm(self) -> bool:
        """Whether gradients have a factor that depends on their norm."""
        return self.clip_norm is not None or self.loss_scale is not None

    @property
    def gradient_norm(self) -> float | None:
        """The global L2 norm of the last gradient before clipping; waits for a device."""
        if self._on_device is not None and self.needs_norm and self.step_count:
            return float(self._on_device.norm)
        return self._norm

    # -- what makes a kind of optimizer ---------------------------------------------------------

    def numbers(self, rate: float) -> dict[str, float]:
        """The numbers that :meth:`update` finds in ``now``, for the step ``step_count``.

        Parameters
        ----------
        rate : float
            Learning rate of this step.
        """
        return {"rate": rate, "weight_decay": self.weight_decay}

    def number_names(self) -> list[str]:
        """The names of :meth:`numbers`, also before the first step."""
        taken = self.step_count
        self.step_count = max(1, taken)
        try:
            return list(self.numbers(0.0))
        finally:
            self.step_count = taken

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
        now = self._layout()
        if now != self._made_for:
            self._updates, self._made_for = make_updates(self), now
        return self._updates

    def _layout(self) -> list[Any]:
        """What the passes depend on."""
        now: list[Any] = [bool(self.weight_decay), self.clip_norm, self.loss_scale]
        for arena in self.arenas:
            now += arena.layout()
        return now

    def _factor(self, updates: Sequence[ArenaUpdate]) -> float:
        """The factor for the gradients; 0 if the step is to be left out."""
        if not self.needs_norm:
            return 1.0
        self._norm = norm = math.sqrt(math.fsum(update.squares() for update in updates))
        if self.loss_scale is not None:
            self._norm = norm / float(self.loss_scale.scale[0])
            return self.loss_scale.factor(norm, self.clip_norm)
        limit = math.inf if self.clip_norm is None else self.clip_norm
        # A NaN norm compares False: the gradient stays as it is and the loss shows it.
        return limit / norm if norm > limit else 1.0
