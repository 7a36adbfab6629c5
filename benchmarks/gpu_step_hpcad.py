"""hpcad's compiled GPT training step on a GPU, on the strict device, or on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gpu_cases import GptCase, batches, initial_arrays, new_model
from gpu_counts import counts_of
from gpu_roofs import roofs
from gpu_step_profile import rows_of

from hpcad import optim
from hpcad.backend import get_backend
from hpcad.backend.cublaslt import allow_tf32
from hpcad.backend.cublaslt.tuning import tune
from hpcad.nn.precision import Precision
from hpcad.program.compiled import Compiled
from hpcad.program.device.timing import timed
from hpcad.program.options import Options


def make(case: GptCase, **options: Any) -> HpcadGpt:
    """Return the step of a contender."""
    return HpcadGpt(case, **options)


class HpcadGpt:
    """Forward, backward, clipping, AdamW, as the trainer compiles it: one program.

    Parameters
    ----------
    case : GptCase
    device : {"gpu", "strict", "cpu"}
    """

    def __init__(self, case: GptCase, device: str = "gpu") -> None:
        self.case, self.backend = case, get_backend(device)
        self.xp: Any = self.backend.xp if self.backend.on_device else None
        allow_tf32(case.precision == "tf32")
        self.model = new_model(case)
        self.model.initialize(1, np.float32, self.backend)
        self.model.load({k: self.backend.asarray(v) for k, v in initial_arrays(case).items()})
        Precision(case.precision).apply(self.model)
        self.optimizer = optim.AdamW(
            self.model,
            case.learning_rate,
            betas=case.betas,
            weight_decay=case.weight_decay,
            clip_norm=case.clip_norm,
        )
        self.step = Compiled(self._step, Options(ahead=True, strict=True))
        self._untuned = self.xp is not None

    def prepare(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the batch in the memory of the device; not timed."""
        return {name: self.backend.asarray(array) for name, array in batch.items()}

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Take one step; the loss stays on the device."""
        loss = self.step(batch)
        if self._untuned:  # as the trainer does, before products become part of a graph
            self._untuned = False
            tune(p for step in self.step.program.steps for p in step.products)
        return loss

    def wait(self) -> None:
        """Return when the device has done everything."""
        if self.xp is not None:
            self.xp.cuda.Device().synchronize()

    def value(self, loss: Any) -> float:
        """The number of a loss."""
        return float(self.backend.to_host(loss.value))

    def memory(self) -> dict[str, Any]:
        """Bytes of the device that are in use and that the pool keeps, and those of the plan."""
        program = self.step.program
        found = {"plan_bytes": program.arena_bytes, "least_plan_bytes": program.bound_bytes}
        if self.xp is not None:
            found["used_bytes"] = self.backend.memory_in_use()
            pool = getattr(self.xp, "get_default_memory_pool", None)
            found["reserved_bytes"] = pool().total_bytes() if pool else found["used_bytes"]
        return found

    # -- on a device only ---------------------------------------------------------------------

    def counts(self) -> dict[str, Any]:
        """What one step makes the host wait for, and what it allocates."""
        batch = self.prepare(batches(self.case)[0])
        self.wait()
        return counts_of(self.xp, lambda: self(batch))

    def profile(self, steps: int) -> dict[str, Any]:
        """Where the time of a step goes: of every step of the program, by events."""
        feed = [self.prepare(batch) for batch in batches(self.case)]
        with timed(self.step.program) as times:
            for i in range(steps + 1):
                self(feed[i % len(feed)])
        rows = rows_of(self.step.program.steps, times.seconds)
        for row in rows:
            if row["label"].startswith(type(self.optimizer).__name__):
                # Parameters and moments in both directions, gradients twice: clipping needs a norm.
                row["bytes"] = 8 * 4 * self.case.parameters
        return {"runs": times.runs, "rows": rows}

    def roofs(self, rounds: int) -> dict[str, Any]:
        """What the card reaches in a copy and in a product; see gpu_roofs.py."""
        return roofs(self.xp, rounds)

    def _step(self, batch: Mapping[str, Any]) -> Any:
        loss = self.model.loss(batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()
