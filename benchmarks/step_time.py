"""Time of one training step: hpcad (eager) against PyTorch (eager), side by side in one run.

    python benchmarks/step_time.py [--models mlp,cnn,gpt] [--rounds 30] [--threads 1] [--json FILE]

Both start from the same weights and see the same batches; before anything is timed, five steps of
each are compared, and the program ends with code 1 where the losses differ. benchmarks/README.md
says how to read the table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
import numpy as np
from interleaved import interleave, summarise
from step_cases import CASES, Case, HpcadStep, batches
from threadpoolctl import threadpool_limits

from hpcad.backend.allocator import keep_large_blocks

CHECKED_STEPS = 5
TOLERANCE = 1e-4  # relative, between the losses of one step


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; return the exit code."""
    options = _options(arguments)
    try:
        import torch
        import torch_nets
    except ImportError as error:
        message = f"step_time: PyTorch cannot be imported ({error}); install its CPU build"
        print(message, file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    kept = keep_large_blocks()
    facts = environment.describe() | {"torch": torch_nets.describe(), "threads": options.threads}
    facts |= {
        "large_blocks_kept": kept,
        "rounds": options.rounds,
        "steps": options.steps,
    }
    _print_head(facts)
    results = []
    with threadpool_limits(options.threads, user_api="blas"):
        for name in options.models:
            case = CASES[name]
            found = measure(case, [HpcadStep(case), *torch_nets.contenders(case)], options)
            if found is None:
                return 1
            results.append({"model": name, **found})
    if options.json:
        environment.write_json(options.json, {"environment": facts, "results": results})
    return 0


def measure(case: Case, steps: list[Any], options: argparse.Namespace) -> dict[str, Any] | None:
    """Check and time one case, and print its table; None where the losses differ.

    Parameters
    ----------
    steps : list of contenders
        hpcad first.
    """
    pool = batches(case)
    feeds = [[step.prepare(batch) for batch in pool] for step in steps]
    print(f"\n{case.title}")
    losses = np.array([[step(feed[i]) for i in range(CHECKED_STEPS)]
                       for step, feed in zip(steps, feeds, strict=True)])  # fmt: skip
    worst = largest_difference(losses)
    print(f"losses of {CHECKED_STEPS} steps: {' '.join(f'{x:.6f}' for x in losses[0])}; "
          f"largest relative difference to PyTorch {worst:.1e}")  # fmt: skip
    if not worst <= TOLERANCE:
        print(f"step_time: refused: the losses differ by more than {TOLERANCE:.0e}, so the two do "
              f"not do the same work:\n{losses}", file=sys.stderr)  # fmt: skip
        return None
    samples = interleave(steps, feeds, options.rounds, options.steps, options.warmup, CHECKED_STEPS)
    rows = summarise([step.name for step in steps], samples)
    _print_table(rows)
    return {
        "title": case.title,
        "largest_loss_difference": worst,
        "rows": rows,
        "milliseconds": {s.name: t for s, t in zip(steps, samples.tolist(), strict=True)},
    }


def largest_difference(losses: np.ndarray) -> float:
    """Largest relative difference of any row to the first; NaN where a loss is NaN."""
    return float(np.max(np.abs(losses[1:] - losses[0]) / np.abs(losses[0])))


def _print_head(facts: dict[str, Any]) -> None:
    print("\n".join(environment.lines(facts)))
    print(f"# {facts['torch']}")
    print(f"# float32, {facts['threads']} thread(s) each; {facts['rounds']} rounds of "
          f"{facts['steps']} timed steps per contender, in turn")  # fmt: skip
    if facts["large_blocks_kept"]:
        print("# glibc keeps large freed blocks (hpcad's trainer asks it to); that holds for the "
              "whole process,\n# so PyTorch's allocator gains by it too")  # fmt: skip


def _print_table(rows: list[dict[str, Any]]) -> None:
    best = min(rows[1:], key=lambda row: row["median"])
    print(f"{'':<28}{'median ms':>10}{'10th..90th percentile':>24}{'hpcad / this (95 %)':>28}")
    for row in rows:
        spread = f"{row['p10']:.2f} .. {row['p90']:.2f}"
        low, high = row["ratio_interval"]
        ratio = f"{row['ratio']:.2f} ({low:.2f} .. {high:.2f})" if row is not rows[0] else ""
        mark = "  <- PyTorch's best" if row is best else ""
        print(f"{row['name']:<28}{row['median']:>10.2f}{spread:>24}{ratio:>28}{mark}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=_models, default=list(CASES), metavar="mlp,cnn,gpt")
    parser.add_argument("--rounds", type=_positive, default=30)
    parser.add_argument("--steps", type=_positive, default=3, help="timed steps in a turn")
    parser.add_argument("--warmup", type=_positive, default=2, help="rounds that are not counted")
    parser.add_argument("--threads", type=_positive, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


def _models(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown model {unknown[0]!r}; known: {', '.join(CASES)}")
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
