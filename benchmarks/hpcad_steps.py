"""hpcad's training step, eager and compiled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from step_cases import Case, batches, initial_model
from threadpoolctl import threadpool_limits

import hpcad
from hpcad import optim
from hpcad.backend import counted_flops, get_backend
from hpcad.parallel import DataParallel, World

PRODUCTS = "products (BLAS)"  # what a program's report calls them


def make(case: Case, threads: int, compiled: bool = False) -> HpcadStep:
    """Return the step of a contender."""
    threadpool_limits(threads, user_api="blas")
    return HpcadStep(case, compiled)


class HpcadStep:
    """Forward, backward, clipping, optimizer.

    Parameters
    ----------
    case : Case
    compiled : bool
    world : World, optional
        Whose ranks average their gradients.
    """

    def __init__(self, case: Case, compiled: bool = False, world: World | None = None) -> None:
        self.case, self.compiled = case, compiled
        kind = optim.AdamW if case.weight_decay else optim.Adam
        self.model = initial_model(case)
        self.engine = DataParallel(self.model, world) if world else None
        self.optimizer = kind(
            self.model,
            case.learning_rate,
            betas=case.betas,
            weight_decay=case.weight_decay,
            clip_norm=case.clip_norm,
        )
        self.step = hpcad.compile(self._step, strict=True) if compiled else self._step

    def prepare(self, batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch as this contender takes it; not timed."""
        return batch["x"], batch["y"]

    def __call__(self, batch: tuple[np.ndarray, np.ndarray]) -> float:
        """Take one step and return its loss."""
        return float(self.step(*batch))

    def _step(self, x: np.ndarray, y: np.ndarray) -> Any:
        loss = self.model.loss({"x": x, "y": y})
        loss.backward()
        self.optimizer.step()
        return loss

    def profile(self, steps: int) -> list[dict[str, Any]]:
        """Where the time of a step goes, measured in steps of their own.

        Parameters
        ----------
        steps : int

        Returns
        -------
        list of dict
            ``kind``, ``seconds`` and ``flops`` of a step, and ``alone``: the seconds that the
            same work took when the program was built and ways to compute it were compared.
        """
        feed = [self.prepare(batch) for batch in batches(self.case)[:steps]]
        if self.compiled:
            return _profile_of_program(self, feed)
        return _profile_of_products(self, feed)


def _profile_of_program(step: HpcadStep, feed: list[Any]) -> list[dict[str, Any]]:
    program = step.step.program
    with program.timed() as seconds:
        for batch in feed:
            step(batch)
    rows = program.report(seconds / len(feed)).kinds
    return [{"kind": row.name, "seconds": row.measured, "flops": row.flops, "alone": row.predicted}
            for row in rows]  # fmt: skip


def _profile_of_products(step: HpcadStep, feed: list[Any]) -> list[dict[str, Any]]:
    """The eager step's calls of the door to BLAS, and everything else."""
    backend: Any = get_backend("cpu")
    seconds, flops = [], []

    def gemm(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        with counted_flops() as count:
            result = type(backend).gemm(backend, *args, **kwargs)
        seconds.append(time.perf_counter() - started)
        flops.append(count.total)
        return result

    backend.gemm = gemm
    try:
        started = time.perf_counter()
        for batch in feed:
            step(batch)
        whole = time.perf_counter() - started
    finally:
        del backend.gemm
    inside, rest = sum(seconds) / len(feed), (whole - sum(seconds)) / len(feed)
    work = sum(flops) // len(feed)
    return [
        {"kind": PRODUCTS, "seconds": inside, "flops": work, "alone": None},
        {"kind": "everything else", "seconds": rest, "flops": 0, "alone": None},
    ]
