"""Who takes part in gpu_step.py, each in a process of its own on the same card."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_cases import GptCase
from step_pool import Worker

WORKER = Path(__file__).with_name("gpu_step_worker.py")
HPCAD = "hpcad compiled"
TORCH = "torch eager"
TORCH_COMPILE = "torch.compile"


@dataclass(frozen=True)
class GpuContender:
    """A way to take the step.

    Attributes
    ----------
    name : str
    module : str
        With ``make(case, **options)``.
    options : dict
    """

    name: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)


class GpuProcess(Worker):
    """The process of a contender; see :class:`step_pool.Worker`.

    Processes and not threads: each has the allocator, the libraries and the interpreter that its
    users have, and the card serves only the one whose turn it is.
    """

    def __init__(self, contender: GpuContender, case: GptCase) -> None:
        spec = {
            "case": case.as_dict(),
            "module": contender.module,
            "options": contender.options,
            "cores": sorted(os.sched_getaffinity(0)),
        }
        self.start(contender, WORKER, spec, {})


def contenders(modes: list[str]) -> list[GpuContender]:
    """Return those on a GPU; PyTorch where it is installed, compiled in each of the modes."""
    found = [GpuContender(HPCAD, "gpu_step_hpcad", {"device": "gpu"})]
    if importlib.util.find_spec("torch") is None:
        return found
    found.append(GpuContender(TORCH, "gpu_step_torch", {"device": "cuda"}))
    return found + [
        GpuContender(f"{TORCH_COMPILE}, {mode}", "gpu_step_torch", {"device": "cuda", "mode": mode})
        for mode in modes
    ]


def strict_contenders() -> list[GpuContender]:
    """Return those that show, without a GPU, that the program is sound."""
    found = [
        GpuContender("hpcad on the strict device", "gpu_step_hpcad", {"device": "strict"}),
        GpuContender("hpcad on the host", "gpu_step_hpcad", {"device": "cpu"}),
    ]
    if importlib.util.find_spec("torch") is None:
        return found
    return [*found, GpuContender("torch on the host", "gpu_step_torch", {"device": "cpu"})]
