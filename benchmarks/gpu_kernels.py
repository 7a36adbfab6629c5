"""GB/s of generated kernels and hand-written routines on a GPU, beside a plain copy.

    python benchmarks/gpu_kernels.py [--rounds 15] [--only NAME] [--json FILE]

Before, each computes a tiny case, which must be what NumPy makes of it, or the program ends with
exit code 1. The limit is the driver's copy from one place of the device to another in the same
run, which takes turns with each kernel. Operands are larger than the L2 cache, several sets of them
where one is not. ``--device strict`` takes only the tiny cases, and times nothing; without a GPU
the exit code is 2. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import environment
import gpu_environment
from gpu_kernel_cases import kernel_cases
from gpu_kernel_check import compared, on_device
from gpu_kernel_sizes import FULL, TINY, Case, Sizes
from gpu_routine_cases import routine_cases
from gpu_timer import DeviceTimer, copy_works
from interleaved import in_turn
from medians import median_interval, ratio_interval

SHARE = 0.8  # of the copy's rate, which kernels are expected to reach
COPIED = 512 << 20  # bytes
BEYOND_L2 = 4  # caches full of operands between two uses of one


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; return the exit code."""
    options = _options(arguments)
    try:
        backend = gpu_environment.device(options.device)
    except gpu_environment.NoGpuError as error:
        return gpu_environment.refused("gpu_kernels", error)
    xp, strict = backend.xp, options.device == "strict"
    facts = gpu_environment.describe(xp, strict)
    print("\n".join(gpu_environment.lines(facts)))
    with xp.cuda.Stream(non_blocking=True):
        wrong = _check(_cases(TINY, options.only), xp)
        if wrong or strict:
            return 1 if wrong else 0
        rows = _measure(xp, options, facts["l2_bytes"])
    if options.json:
        found = facts | {"rounds": options.rounds, "copied_bytes": COPIED, "rows": rows}
        environment.write_json(options.json, found)
    return 0


def _cases(sizes: Sizes, only: str) -> list[Case]:
    found = [*kernel_cases(sizes), *routine_cases(sizes)]
    return [case for case in found if only in case.name]


def _check(cases: list[Case], xp: Any) -> list[str]:
    """Compare tiny cases with NumPy; return what is wrong."""
    wrong = []
    for case in cases:
        reason = compared(case, xp)
        if reason is not None:
            wrong.append(f"{case.name}, {case.dtype}: {reason}")
    for line in wrong:
        print(f"gpu_kernels: refused: {line}", file=sys.stderr)
    print(f"# {len(cases) - len(wrong)} of {len(cases)} tiny cases are what NumPy computes")
    return wrong


# -- timing -------------------------------------------------------------------------------------


def _measure(xp: Any, options: argparse.Namespace, l2_bytes: int) -> list[dict[str, Any]]:
    """Print a line per case, and at the end the copy and how many reach their share of it."""
    timer, copies = DeviceTimer(xp), copy_works(xp, COPIED)
    print(
        f"{'':<28}{'type':<10}{'MB':>8}{'us':>9}{'GB/s: median (95 %)':>28}"
        f"{'of the copy (95 %)':>26}"
    )
    rows = []
    for case in _cases(FULL, options.only):
        sets = math.ceil(BEYOND_L2 * l2_bytes / case.traffic)
        kept = [on_device(case, xp) for _ in range(max(1, sets))]
        works = [one.call for one in kept]
        samples = _in_turn(timer, [(copies, 2 * COPIED), (works, case.traffic)], options.rounds)
        rows.append(_row(case, samples))
        print(_line(rows[-1]), flush=True)
        del kept, works
        xp.get_default_memory_pool().free_all_blocks()
    if rows:
        print("\n".join(_summary(rows)))
    return rows


def _in_turn(
    timer: DeviceTimer, contenders: Sequence[tuple[list[Any], int]], rounds: int
) -> list[list[float]]:
    """Bytes per second of each contender, one per round; they take turns."""

    def turn(works: list[Any], nbytes: int, repeats: int, _: int) -> list[float]:
        return [nbytes / timer.seconds(works, repeats)]

    turns = [partial(turn, works, n, timer.repeats_for(works)) for works, n in contenders]
    return in_turn(turns, rounds, 2)[:, :, 0].tolist()


def _row(case: Case, samples: list[list[float]]) -> dict[str, Any]:
    copied, mine = samples
    ratio = ratio_interval([[x] for x in mine], [[x] for x in copied])
    return {
        "name": case.name,
        "dtype": case.dtype,
        "bytes": case.traffic,
        "flops": case.flops,
        "bytes_per_second": mine,
        "copy_bytes_per_second": copied,
        "share_of_copy": ratio,
    }


def _line(row: dict[str, Any]) -> str:
    rate, low, high = (1e-9 * x for x in median_interval(row["bytes_per_second"]))
    share, least, most = row["share_of_copy"]
    rates = f"{rate:,.0f} ({low:,.0f} .. {high:,.0f})"
    shares = f"{share:.2f} ({least:.2f} .. {most:.2f})"
    microseconds = 1e-3 * row["bytes"] / rate
    if row["flops"]:
        remark = f"  {1e-6 * row['flops'] / microseconds:,.1f} TFLOP/s"
    else:
        remark = "" if share >= SHARE else "  below"
    return (
        f"{row['name']:<28}{row['dtype']:<10}{1e-6 * row['bytes']:>8.0f}{microseconds:>9.1f}"
        f"{rates:>28}{shares:>26}{remark}"
    )


def _summary(rows: list[dict[str, Any]]) -> list[str]:
    copies = [rate for row in rows for rate in row["copy_bytes_per_second"]]
    rate, low, high = (1e-9 * x for x in median_interval(copies))
    shares = [row["share_of_copy"][0] for row in rows if not row["flops"]]
    reached = sum(share >= SHARE for share in shares)
    return [
        f"copy, read and written: {rate:,.0f} ({low:,.0f} .. {high:,.0f}) GB/s",
        f"{reached} of {len(shares)} that memory limits reach {SHARE:.0%} of it",
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("gpu", "strict"), default="gpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", metavar="NAME", help="cases whose name contains it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
