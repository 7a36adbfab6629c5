"""Memory of a training step, compiled and eager: its peak, and whether anything grows.

    python benchmarks/step_memory.py [--models gpt] [--steps 1000] [--json FILE]

Peak: what a step needs besides parameters, gradients, the optimizer's state and its batch. Of the
eager step that is the most that tracemalloc, which NumPy reports to, saw above what was there
before; of the compiled one the planned arena and what tracemalloc saw in addition. The bound is the
largest sum of the values that are alive at one time: no plan can do with less.

Steady state: tracemalloc and resident memory over many replayed steps, and page faults per step.
Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
from children import answer, ask_child
from step_cases import CASES

WARM = 10  # steps before anything is measured
COUNTED = 50  # steps over which page faults are counted
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="mlp,mlp-large,cnn,lstm,gpt", help=f"of {[*CASES]}")
    parser.add_argument("--steps", type=int, default=1000, help="of the steady state")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there")
    options = parser.parse_args(arguments)
    facts = environment.describe() | {"steps": options.steps}
    print("\n".join(environment.lines(facts)))
    results = []
    for model in options.models.split(","):
        compiled, eager = (
            ask_child(__file__, {"model": model, "way": way, "steps": options.steps}, THREADS)
            for way in ("compiled", "eager")
        )
        results.append({"model": model, "compiled": compiled, "eager": eager})
        _print_result(results[-1], options.steps)
    if options.json:
        environment.write_json(options.json, {"environment": facts, "results": results})
    return 0


def measure(model: str, way: str, steps: int) -> dict[str, Any]:
    """Peak, page faults and growth of one way to take the step."""
    from hpcad_steps import make
    from step_cases import batches

    case = CASES[model]
    step = make(case, 1, compiled=way == "compiled")
    feed = [step.prepare(batch) for batch in batches(case)[:8]]
    _take(step, feed, WARM)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _take(step, feed, COUNTED)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    found = {"faults_per_step": faults / COUNTED, "peak_bytes": _traced_peak(step, feed)}
    if way == "compiled":
        program = step.step.program
        found |= {"arena_bytes": program.arena_bytes, "bound_bytes": program.bound_bytes}
        found["peak_bytes"] += program.arena_bytes
        found |= _growth(step, feed, steps)
    found["resident_peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found


def _take(step: Any, feed: list[Any], count: int) -> None:
    for i in range(count):
        step(feed[i % len(feed)])


def _traced_peak(step: Any, feed: list[Any]) -> int:
    """Most bytes that tracemalloc sees in a step, above those that were there before it."""
    tracemalloc.start()
    _take(step, feed, 2)
    gc.collect()
    peaks = []
    for batch in feed[:3]:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step(batch)
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return max(peaks)


def _growth(step: Any, feed: list[Any], steps: int) -> dict[str, Any]:
    """Traced and resident bytes after each tenth of the steps, less those before."""
    tracemalloc.start()
    _take(step, feed, 2)
    gc.collect()
    traced, resident = [], []
    start = tracemalloc.get_traced_memory()[0], _resident()
    for _ in range(10):
        _take(step, feed, steps // 10)
        traced.append(tracemalloc.get_traced_memory()[0] - start[0])
        resident.append(_resident() - start[1])
    tracemalloc.stop()
    return {"traced_growth_bytes": traced, "resident_growth_bytes": resident}


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _print_result(result: dict[str, Any], steps: int) -> None:
    compiled, eager = result["compiled"], result["eager"]
    peak, usual, bound = compiled["peak_bytes"], eager["peak_bytes"], compiled["bound_bytes"]
    arena = compiled["arena_bytes"]
    grown = [compiled[f"{kind}_growth_bytes"] for kind in ("traced", "resident")]
    print(f"\n{result['model']}: {CASES[result['model']].title}")
    print(f"  peak besides parameters: compiled {peak / 1e6:.2f} MB, eager {usual / 1e6:.2f} MB: "
          f"{peak / usual:.3f} of eager's")  # fmt: skip
    print(f"  arena {arena / 1e6:.2f} MB: {arena / bound:.3f} of the bound {bound / 1e6:.2f} MB")
    print(f"  page faults per step: compiled {compiled['faults_per_step']:.2f}, eager "
          f"{eager['faults_per_step']:.2f}")  # fmt: skip
    print(f"  over {steps} replayed steps: traced memory {_change(grown[0])}, "
          f"resident memory {_change(grown[1])}", flush=True)  # fmt: skip


def _change(growth: list[int]) -> str:
    return f"{growth[-1] / 1e3:+.1f} kB (most {max(growth) / 1e3:+.1f} kB)"


if __name__ == "__main__":
    if not answer(sys.argv[1:], measure):
        sys.exit(main())
