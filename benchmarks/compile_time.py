"""How long hpcad.compile takes, with an empty cache of kernels and with a full one.

    python benchmarks/compile_time.py [--models gpt] [--repeats 3] [--json FILE]

The first two calls of a compiled step run eagerly and are recorded, the third builds the program:
it is fused, kernels are compiled by the C compiler, and products are measured to choose among BLAS
libraries. What is compiled and measured is kept on disk. Each measurement is a fresh process, first
with a cache directory of its own, then with the same one again. "overhead" is what the first three
calls took longer than two eager steps and a replayed one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
import numpy as np
from children import answer, ask_child
from step_cases import CASES

COUNTED = 5  # steps of each kind, to subtract
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="mlp,cnn,lstm,gpt", help=f"of {', '.join(CASES)}")
    parser.add_argument("--repeats", type=int, default=3, help="of cold and warm starts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    facts = environment.describe() | {"repeats": options.repeats}
    print("\n".join(environment.lines(facts)))
    print(f"\n{'seconds':<12}{'cache':<8}{'call 1':>9}{'call 2':>9}{'call 3':>9}{'replay':>9}"
          f"{'overhead':>10}")  # fmt: skip
    results = []
    for model in options.models.split(","):
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as cache:
                settings = THREADS | {"HPCAD_CACHE_DIR": cache}
                for state in ("empty", "full"):
                    found = ask_child(__file__, {"model": model}, settings)
                    results.append({"model": model, "cache": state, **found})
        for state in ("empty", "full"):
            mine = [r for r in results if (r["model"], r["cache"]) == (model, state)]
            print(_line(model, state, mine), flush=True)
    if options.json:
        environment.write_json(options.json, {"environment": facts, "results": results})
    return 0


def measure(model: str) -> dict[str, Any]:
    """Seconds of the first three calls, of a replayed and of an eager step."""
    from hpcad_steps import make
    from step_cases import batches

    case = CASES[model]
    compiled, eager = make(case, 1, compiled=True), make(case, 1)
    feed = batches(case)
    for batch in feed[:2]:
        eager(eager.prepare(batch))  # what the first use of a library costs is no compilation
    calls = [_seconds(compiled, batch) for batch in feed[:3]]
    replay = float(np.median([_seconds(compiled, batch) for batch in feed[3 : 3 + COUNTED]]))
    usual = float(np.median([_seconds(eager, batch) for batch in feed[3 : 3 + COUNTED]]))
    overhead = sum(calls) - 2 * usual - replay
    return {"calls": calls, "replay": replay, "eager": usual, "overhead": overhead}


def _seconds(step: Any, batch: Any) -> float:
    given = step.prepare(batch)
    started = time.perf_counter()
    step(given)
    return time.perf_counter() - started


def _line(model: str, state: str, found: list[dict[str, Any]]) -> str:
    calls = np.median([f["calls"] for f in found], axis=0)
    replay, overhead = (np.median([f[name] for f in found]) for name in ("replay", "overhead"))
    numbers = "".join(f"{x:>9.3f}" for x in (*calls, replay))
    return f"{model:<12}{state:<8}{numbers}{overhead:>10.3f}"


if __name__ == "__main__":
    if not answer(sys.argv[1:], measure):
        sys.exit(main())
