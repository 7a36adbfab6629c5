"""One step of gpu_step.py: the contenders checked against each other, then timed in turn."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from gpu_cases import GptCase
from gpu_step_contenders import HPCAD, TORCH_COMPILE, GpuContender, GpuProcess
from interleaved import in_turn
from medians import ratio_interval
from step_measure import DifferentWorkError
from step_pool import WorkerError

CHECKED_STEPS = 6
# Relative, between the losses of one step. On the host, eight layers of width 128 are 1e-7 apart in
# float32 and 8e-5 in bfloat16, where either side rounds in other places; without its causal mask
# the network is 7e-4 off, with another activation or learning rate 6e-3 and more. Clipping and
# weight decay hardly show in so few steps of AdamW.
TOLERANCE = {"float32": 5e-5, "tf32": 3e-4, "bfloat16": 4e-4}
WARMUP = 2  # rounds that are not counted


def check(
    processes: Sequence[Any], case: GptCase, known: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Take the first steps of each, and compare their losses.

    Returns
    -------
    dict
        ``losses`` and ``first_seconds`` by name, and ``largest_loss_difference``.

    Raises
    ------
    DifferentWorkError
        They differ by more than :data:`TOLERANCE`, or are no numbers.
    """
    found = known or {"losses": {}, "first_seconds": {}, "largest_loss_difference": 0.0}
    for process in processes:
        answer = process.ask("losses", steps=CHECKED_STEPS)
        found["losses"][process.name] = answer["losses"]
        found["first_seconds"][process.name] = answer["seconds"]
        reference = next(iter(found["losses"].values()))
        worst = require_same(answer["losses"], reference, process.name, case.precision)
        found["largest_loss_difference"] = max(found["largest_loss_difference"], worst)
    return found


def require_same(
    losses: Sequence[float], reference: Sequence[float], name: str, precision: str
) -> float:
    """Return the largest relative difference of losses; see :func:`check`."""
    a, b = np.array(losses), np.array(reference)
    with np.errstate(invalid="ignore"):  # inf - inf
        worst = float(np.max(np.abs(a - b) / np.abs(b)))
    if not worst <= TOLERANCE[precision]:  # NaN is refused, too
        raise DifferentWorkError(
            f"refused: in {precision} the losses of {name} differ from those of the first "
            f"contender by {worst:.1e}, more than {TOLERANCE[precision]:.0e}, so the two do not do "
            f"the same work:\n{list(losses)}\n{list(reference)}"
        )
    return worst


def measure(
    case: GptCase, field: Sequence[GpuContender], options: argparse.Namespace
) -> dict[str, Any]:
    """Check and time the contenders of one batch size.

    All of them hold their memory on the card while they take turns. Where that does not fit, each
    is measured alone, one after the other, and the result says so.

    Raises
    ------
    DifferentWorkError, WorkerError
    """
    try:
        found = _together(case, field, options)
    except WorkerError as error:
        if not _out_of_memory(error) or len(field) < 2:
            raise
        found = _apart(case, field, options)
    samples = np.array([found["milliseconds"][contender.name] for contender in field])
    found["comparisons"] = _compared(field, samples)
    return {"case": case.as_dict(), "title": case.title, "flops_per_token": case.flops_per_token,
            "tokens": case.tokens, **found}  # fmt: skip


def _together(
    case: GptCase, field: Sequence[GpuContender], options: argparse.Namespace
) -> dict[str, Any]:
    with ExitStack() as stack:
        processes = [stack.enter_context(GpuProcess(contender, case)) for contender in field]
        found = check(processes, case) | {"interleaved": True}
        samples = in_turn([_turn_of(p, options.steps) for p in processes], options.rounds, WARMUP)
        times = zip(processes, samples[:, :, 0].tolist(), strict=True)
        found["milliseconds"] = {process.name: mine for process, mine in times}
        found["memory"] = {process.name: process.ask("memory") for process in processes}
        return found | _details(processes[0], options)


def _apart(
    case: GptCase, field: Sequence[GpuContender], options: argparse.Namespace
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    times: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    for contender in field:
        with GpuProcess(contender, case) as process:
            found |= check([process], case, found or None)
            samples = in_turn([_turn_of(process, options.steps)], options.rounds, WARMUP)
            times[process.name] = samples[0, :, 0].tolist()
            memory[process.name] = process.ask("memory")
            if contender is field[0]:
                found |= _details(process, options)
    return found | {"interleaved": False, "milliseconds": times, "memory": memory}


def _details(process: GpuProcess, options: argparse.Namespace) -> dict[str, Any]:
    """What only hpcad's step is asked for; after the turns, which it would disturb."""
    if process.name != HPCAD:
        return {}
    return {
        "counts": process.ask("counts"),
        "profile": process.ask("profile", steps=options.profiled),
        "roofs": process.ask("roofs", rounds=options.rounds),
    }


def _turn_of(process: Any, repeats: int) -> Any:
    def turn(number: int) -> list[float]:
        start = CHECKED_STEPS + number * (repeats + 1)
        return process.ask("turn", start=start, repeats=repeats)["milliseconds"]

    return turn


def _out_of_memory(error: Exception) -> bool:
    said = str(error).lower()
    return any(words in said for words in ("out of memory", "outofmemory", "alloc_failed"))


def _compared(field: Sequence[GpuContender], samples: np.ndarray) -> list[dict[str, Any]]:
    """Time of hpcad over that of each other one, with its interval."""
    found = []
    for contender, theirs in zip(field[1:], samples[1:], strict=True):
        ratio, low, high = ratio_interval(samples[0][:, None], theirs[:, None])
        verdict = "faster" if high < 1 else "slower" if low > 1 else "a tie"
        found.append({"against": contender.name, "ratio": ratio, "interval": [low, high],
                      "verdict": verdict})  # fmt: skip
    return found


def best_compiled_torch(result: dict[str, Any]) -> float | None:
    """Tokens per second of torch.compile in its best mode; None where it took no part."""
    rates = [
        tokens_per_second(result, name)
        for name in result["milliseconds"]
        if name.startswith(TORCH_COMPILE)
    ]
    return max(rates, default=None)


def tokens_per_second(result: dict[str, Any], name: str) -> float:
    """Of the median step."""
    return 1e3 * result["tokens"] / float(np.median(result["milliseconds"][name]))
