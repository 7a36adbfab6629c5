"""The GPT-2 training step on a GPU: hpcad's compiled step, PyTorch eager and torch.compile.

    python benchmarks/gpu_step.py [--batches 32] [--precision bfloat16] [--json FILE]

All start from the same weights and see the same batches, which lie on the card. Before anything is
timed the losses of the first steps are compared, and the exit code is 1 where they differ. Each has
a process of its own, and they take turns. Printed are tokens/s, MFU, the marks, and a table of
hpcad's step by kind, product and kernel. ``--device strict --tiny`` shows without a GPU that the
program is sound, and times nothing; without a GPU the exit code is 2. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import environment
import gpu_environment
from gpu_cases import PRECISIONS, GptCase, case_of
from gpu_marks import FORMULA
from gpu_step_contenders import GpuProcess, contenders, strict_contenders
from gpu_step_measure import check, measure
from gpu_step_table import agreement, count_lines, memory_lines, profile_lines, step_lines
from step_measure import DifferentWorkError
from step_pool import WorkerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; return the exit code."""
    options = _options(arguments)
    strict = options.device == "strict"
    try:
        backend = gpu_environment.device(options.device)
    except gpu_environment.NoGpuError as error:
        return gpu_environment.refused("gpu_step", error)
    facts = gpu_environment.describe(backend.xp, strict)
    print("\n".join(gpu_environment.lines(facts)))
    try:
        if strict:
            _try_out(case_of(True, None, options.precision))
        else:
            _measure(options, facts)
    except (WorkerError, DifferentWorkError) as error:
        print(f"gpu_step: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace, facts: dict[str, Any]) -> None:
    field = contenders(options.modes)
    if len(field) == 1:
        print("# PyTorch is not installed: nothing to compare with, and no second mark")
    print(
        f"# {FORMULA}\n# {options.rounds} rounds of {options.steps} timed steps, on the wall clock"
    )
    results = []
    for batch in options.batches:
        case = case_of(options.tiny, batch, options.precision)
        print(f"\n{case.title}", flush=True)
        found = measure(case, field, options)
        results.append(found)
        lines = step_lines(found, facts["device"])
        lines += count_lines(found["counts"]) + memory_lines(found["memory"])
        print("\n".join([*lines, *profile_lines(found)]), flush=True)
        if options.json:  # after each, so that a run that is ended early leaves what it found
            settings = {"rounds": options.rounds, "steps": options.steps, "mfu": FORMULA}
            environment.write_json(options.json, facts | settings | {"results": results})


def _try_out(case: GptCase) -> None:
    """The same checks on the strict device; no times, which would say nothing of a GPU."""
    print(f"\n{case.title}")
    with ExitStack() as stack:
        processes = [stack.enter_context(GpuProcess(c, case)) for c in strict_contenders()]
        found = check(processes, case) | {"case": case.as_dict()}
        print(f"# {', '.join(process.name for process in processes)}\n{agreement(found)}")
        ours = processes[0]
        print("\n".join(count_lines(ours.ask("counts"))))
        print("\n".join(memory_lines({ours.name: ours.ask("memory")})))
        rows = ours.ask("profile", steps=1)["rows"]
        print(f"{sum(row['count'] for row in rows)} steps, {len(rows)} different ones:")
        for row in rows:
            print(f"  {row['count']:>3} x {row['kind']}: {row['label']}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("gpu", "strict"), default="gpu")
    parser.add_argument("--tiny", action="store_true", help="a tiny network, to try it out")
    parser.add_argument("--batches", type=_numbers, default=None, metavar="4,32,64")
    parser.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    parser.add_argument("--modes", type=_words, default=["default"], metavar="default,max-autotune",
                        help="of torch.compile; max-autotune compiles for minutes")  # fmt: skip
    parser.add_argument("--rounds", type=_positive, default=15)
    parser.add_argument("--steps", type=_positive, default=5, help="timed steps in a turn")
    parser.add_argument("--profiled", type=_positive, default=5, help="steps timed one by one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    if options.device == "strict" and not options.tiny:
        parser.error("--device strict takes --tiny: the strict device is NumPy on the host")
    options.batches = options.batches or ([None] if options.tiny else [32])
    return options


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [_positive(word) for word in text.split(",")]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
