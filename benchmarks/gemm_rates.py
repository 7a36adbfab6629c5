"""GFLOP/s of the matrix products of five training steps, for every BLAS library there is.

    python benchmarks/gemm_rates.py --threads 1 --json benchmarks/results/gemm-rates.json

``HPCAD_BLAS`` names the libraries beside NumPy's own; PyTorch takes part where it is installed.
With one thread the time is that of the thread (``time.thread_time``), which does not count what
other programs take; with more it is that of the clock.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Call = Callable[[], object]


def main() -> int:
    """Measure the steps that were asked for."""
    options = _options()
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(options.threads)  # before any of them is loaded

    from environment import describe, lines, write_json
    from gemm_shapes import OTHERS, STEPS

    from hpcad.backend.gemm import libraries

    facts = describe() | {
        "threads": options.threads,
        "libraries": [f"{lib.name}: {lib.version}" for lib in libraries()],
    }
    print("\n".join([*lines(facts), *(f"# {line}" for line in facts["libraries"])]))
    steps: dict[str, Any] = {}
    for step in options.steps.split(","):
        steps[step] = _measure(step, OTHERS if step == "others" else STEPS[step], options)
    if options.json is not None:
        write_json(options.json, facts | {"steps": steps})
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", default="mlp,mlp-large,cnn,lstm,gpt,others")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _measure(step: str, table: list[Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print a table of one step: a line per product, then the time of all of them."""
    import numpy as np

    rows = []
    for line in table:
        arrays = _arrays(line.spec)  # the calls know nothing but addresses
        contenders = _contenders(line.spec, arrays, options)
        seconds = _race(list(contenders.values()), options)
        if not rows:
            names = list(contenders)
            print(f"\n{step}, {options.threads} thread(s), GFLOP/s: median (best)")
            print(f"{'':<52}" + "".join(f"{name:>23}" for name in names))
        rates = 1e-9 * line.spec.flops / seconds
        best, middle = rates.max(axis=1), np.median(rates, axis=1)
        print(
            f"{line.note + ' ' + shape(line.spec) + f' x{line.count}':<52}"
            + "".join(f"{m:>15.1f} ({b:>5.0f})" for m, b in zip(middle, best, strict=True))
        )
        rows.append({
            "note": line.note, "shape": shape(line.spec), "count": line.count,
            "flops": line.spec.flops,
            "seconds": dict(zip(contenders, seconds.tolist(), strict=True)),
        })  # fmt: skip
    print(
        f"{'all of them, ms: median (best)':<52}"
        + "".join(
            f"{1e3 * _total(rows, name, np.median):>15.2f} ({1e3 * _total(rows, name, min):>5.1f})"
            for name in names
        )
    )
    return rows


def _total(rows: list[dict[str, Any]], name: str, of: Callable) -> float:
    return sum(row["count"] * float(of(row["seconds"][name])) for row in rows)


def shape(spec: Any) -> str:
    """``batch of m x k x n``, and which operands lie transposed."""
    batch = f"{spec.items} of " if spec.batch else ""
    marks = ("^T" if spec.trans_a else "") + "," + ("^T" if spec.trans_b else "")
    return f"{batch}{spec.m}x{spec.k}x{spec.n}" + (f" ({marks})" if "T" in marks else "")


def _race(calls: list[Call], options: argparse.Namespace) -> Any:
    """Seconds per call, shape (contenders, rounds); they take turns."""
    from interleaved import in_turn

    clock = time.thread_time if options.threads == 1 else time.perf_counter
    calls[0]()
    started = clock()
    calls[0]()
    repeats = max(1, int(1e-3 / (clock() - started)))
    turns = [partial(_turn, call, repeats, clock) for call in calls]
    return in_turn(turns, options.rounds, 2)[:, :, 0]


def _turn(call: Call, repeats: int, clock: Callable[[], float], _: int) -> list[float]:
    call()
    started = clock()
    for _ in range(repeats):
        call()
    return [(clock() - started) / repeats]


# -- contenders ---------------------------------------------------------------------------------


def _contenders(spec: Any, arrays: list[Any], options: argparse.Namespace) -> dict[str, Call]:
    """Names and calls, all on the same memory."""
    import numpy as np

    from hpcad.backend.gemm import bind, libraries
    from hpcad.backend.gemm.binding import bound
    from hpcad.backend.gemm.routine import Way

    pointers = [x.ctypes.data for x in arrays]
    a, b, c = _views(spec, arrays)
    calls: dict[str, Call] = {"np.matmul": partial(np.matmul, a, b, out=c)}
    for library in libraries():
        name = library.name.removeprefix("lib").split(".so")[0]
        calls[name] = bound(spec, Way(library, options.threads), *pointers)
        if options.threads > 1 and library.concurrent:
            calls[f"{name} spread"] = bound(
                spec, _spread(spec, library, options.threads), *pointers
            )
    calls["chosen"] = bind(spec, *pointers, tune=True)
    torch = _torch(a, b, c, options.threads)
    return calls if torch is None else calls | {"torch": torch}


def _spread(spec: Any, library: Any, threads: int) -> Any:
    """The best way of this library on the pool of compiled code."""
    from hpcad.backend.gemm.race import Race
    from hpcad.backend.gemm.ways import plain_ways

    race = Race(spec, threads)
    race.run(list(plain_ways(spec, threads, (library,))))
    return race.leaders()[0]


def _arrays(spec: Any) -> list[Any]:
    import numpy as np

    from hpcad.backend.gemm.race import needs

    rng = np.random.default_rng(0)
    return [rng.standard_normal(count, np.float32) for count, _ in needs(spec)]


def _views(spec: Any, arrays: list[Any]) -> list[Any]:
    """The operands and the result as NumPy sees them."""
    from hpcad.backend.gemm.plain import view

    a, b, c = (x.ctypes.data for x in arrays)
    return [
        view(spec, a, spec.m, spec.k, spec.trans_a, spec.lda, spec.stride_a),
        view(spec, b, spec.k, spec.n, spec.trans_b, spec.ldb, spec.stride_b),
        view(spec, c, spec.m, spec.n, False, spec.ldc, spec.stride_c),
    ]


def _torch(a: Any, b: Any, c: Any, threads: int) -> Call | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return partial(torch.matmul, *map(torch.from_numpy, (a, b)), out=torch.from_numpy(c))


if __name__ == "__main__":
    sys.exit(main())
