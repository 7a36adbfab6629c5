"""One optimizer step of a training run, as a program or eagerly."""

from __future__ import annotations

import functools
import logging
import operator
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from hpcad.autodiff import Tensor
from hpcad.autodiff.state import effect
from hpcad.backend import backend_of
from hpcad.data import Batch
from hpcad.errors import ConfigError
from hpcad.nn import Module, training_step
from hpcad.optim import Optimizer
from hpcad.parallel import DataParallel
from hpcad.program.capture.signature import of_call
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options
from hpcad.training.checks import check_loss
from hpcad.training.micro_batches import micro_batches
from hpcad.training.phases import PhaseTimer
from hpcad.training.preparation import Preparation

Loss = Callable[[Any, Mapping[str, Any]], Tensor]
_log = logging.getLogger("hpcad")

# What stands under the table of phases of a run on a device.
HOST_ONLY = "of a step on a device: seconds of the host, which gives work to it"
NOT_EXPOSED = (
    "'exposed communication' is what it waited for other hosts, and what a step is longer for its "
    "reductions is not measured"
)


class DeviceShare:
    """A share of a loss that lies in a device's memory: who asks for the number waits for it.

    Parameters
    ----------
    loss : device array, shape ()
    weight : float
    """

    def __init__(self, loss: Any, weight: float) -> None:
        self._loss, self._weight = loss, weight

    def __float__(self) -> float:
        return float(self._loss) * self._weight


class TrainingProgram:
    """Forward pass, backward pass with its reductions, and update, for one batch after another.

    A full batch runs as a program. It is captured ahead: the first step is already the
    program's, so that a run that is resumed computes what an uninterrupted one does, to the bit.
    Smaller batches, at the end of epochs, are seldom, and run eagerly; so does everything where
    the loss cannot be captured.

    Parameters
    ----------
    prepare : callable
        From the arrays of a batch to those that ``loss`` gets.
    full : int
        Samples of a full global batch.
    seed : int
        Of random layers.
    phases : PhaseTimer
    compile : bool
        False: every step runs eagerly.
    directory : Path, optional
        Of the run; there the choices are kept that are made for a device.
    before_update : callable
        Called before the parameters and the optimizer's state change.
    accumulate : int
        Parts of a batch whose gradients are added up, so that only one part's values are kept at a
        time. They are reduced once, with the last part.
    """

    effect_kind = "host"  # its own effect waits for a save; nothing of it is the device's

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        engine: DataParallel,
        *,
        prepare: Callable[[dict[str, np.ndarray]], dict[str, Any]],
        full: int,
        seed: int,
        phases: PhaseTimer,
        compile: bool,
        before_update: Callable[[], None],
        directory: Path | None = None,
        accumulate: int = 1,
    ) -> None:
        self.model, self.loss = model, loss
        self.optimizer, self.engine = optimizer, engine
        self.prepare, self.full, self.seed = prepare, full, seed
        self.phases, self.before_update = phases, before_update
        self.accumulate = accumulate
        self._steps = 0
        self._looked_at = False  # whether the fields of batches can be told apart
        self._compiled: Compiled | None = None
        on_device = backend_of(optimizer.arenas[0].values.flat).on_device
        if on_device:
            phases.note = HOST_ONLY if engine.measures_exposed else f"{HOST_ONLY}; {NOT_EXPOSED}"
        self._preparation: Preparation | None = None
        if compile and on_device:
            backend: Any = backend_of(optimizer.arenas[0].values.flat)
            self._preparation = Preparation(backend, engine.world.communicator, directory)
        if compile:
            chosen = None if self._preparation is None else self._preparation.choices.epilogues
            options = Options(ahead=True, log=engine.world.is_root, epilogues=chosen)
            self._compiled = Compiled(self.step, options)

    def __call__(self, batch: Batch, step: int) -> float | DeviceShare:
        """Take an optimizer step; return this rank's share of the mean loss of the global batch.

        On a device the step may still be under way when this returns.
        """
        if self._preparation is not None:
            self._preparation.recall()
        with self.phases("forward"):
            share = self._with_samples(batch, step) if len(batch) else self._without_samples()
        self.phases.move("backward", "exposed communication", self.engine.exposed_seconds)
        self.engine.exposed_seconds = 0.0
        self._steps += 1
        return share

    def step(
        self, fields: Mapping[str, Any], ids: Any, step: Any, weight: float, scale: Any = None
    ) -> Tensor:
        """The mean loss over the local batch, of which the parameters are then updated.

        Parameters
        ----------
        fields : dict of arrays
            As prepared.
        ids : array of int, shape (n,)
            Global sample ids.
        step : array of int, shape ()
        weight : float
            (local samples / global samples) x world size: the engine averages over ranks, and
            this makes it the mean over the samples.
        scale : array of float32, shape (), optional
            Factor on the gradients that the optimizer takes away again.
        """
        parts = list(micro_batches(fields, ids, self.accumulate))
        losses = []
        for i, (part, part_ids, share) in enumerate(parts):
            with training_step(self.seed, step, part_ids):
                loss = self.loss(self.model, part)
            check_loss(loss, first=self._steps == 0)
            if len(parts) > 1:
                loss = loss * share
            scaled = loss * weight if scale is None else loss * weight * scale
            effect(self.phases.turn, "backward")
            last = i == len(parts) - 1
            with nullcontext() if last else self.engine.no_sync():
                scaled.backward()
            losses.append(loss.detach())
            if not last:
                effect(self.phases.turn, "forward")
        effect(self._turn_to_update)
        self.optimizer.step()
        return functools.reduce(operator.add, losses)

    def _with_samples(self, batch: Batch, step: int) -> float | DeviceShare:
        fields = self.prepare(batch.fields)
        weight = len(batch) / batch.global_size
        run = self._function(batch, fields)
        share = weight * self.engine.world.size
        arguments = (fields, batch.ids, np.array(step), share, *self._loss_scale())
        with self._overflow():
            self._prepare(batch, arguments)
            before = self._compiling
            loss = run(*arguments)
        if self._compiling > before:
            self.phases.move("forward", "compilation", self._compiling - before)
        if isinstance(loss.value, np.ndarray | np.generic):
            return float(loss) * weight
        return DeviceShare(loss.value, weight)

    def _overflow(self) -> AbstractContextManager[Any]:
        """Gradients of scaled losses may overflow without a warning: their step is left out."""
        if self.optimizer.loss_scale is None:
            return nullcontext()
        return np.errstate(over="ignore", invalid="ignore")

    def _loss_scale(self) -> tuple[Any, ...]:
        scale = self.optimizer.loss_scale
        return () if scale is None else (scale.value,)

    def _prepare(self, batch: Batch, arguments: tuple[Any, ...]) -> None:
        """Make the program of a full batch ready, on all ranks at once."""
        if self._preparation is not None and batch.global_size >= self.full:
            with self.phases("compilation"):
                self._preparation(self._compiled, arguments)

    def _without_samples(self) -> float:
        self.phases.turn("backward")
        self.engine.skip()
        self._turn_to_update()
        self.optimizer.step()
        return 0.0

    def _turn_to_update(self) -> None:
        self.phases.turn("checkpoint")
        self.before_update()
        self.phases.turn("optimizer")

    @property
    def _compiling(self) -> float:
        return self._compiled.seconds if self._compiled is not None else 0.0

    def _function(self, batch: Batch, fields: Mapping[str, Any]) -> Callable[..., Tensor]:
        """What takes the step: the program, or the eager function."""
        if self._compiled is None or batch.global_size < self.full:
            return self.step
        if not self._looked_at:
            self._looked_at = True
            try:
                of_call((fields,), {})
            except ConfigError as error:
                if self.engine.world.is_root:
                    _log.warning("%s stays eager: %s", self.step.__qualname__, error)
                self._compiled = None
        return self._compiled or self.step


# What is said where it cannot be compiled: "the training step stays eager: ..."
TrainingProgram.step.__qualname__ = "the training step"
