"""TFLOP/s of the matrix products of GPT-2 124M on a GPU: hpcad's plans against torch.matmul.

    python benchmarks/gpu_gemm.py [--batch 32] [--dtype bfloat16] [--only NAME] [--json FILE]

All products of a training step, forward and backward: of the layers, of attention on slices of the
packed heads, of the logits; then some with what follows fused. Operands are random, as zeros take a
card less power. hpcad's algorithms are those that were measured to be the fastest (`of` tells how
many the library proposed, `algorithm` which of them it is); PyTorch computes the same on the same
memory, where it is installed with CUDA: with separate kernels where hpcad fuses, and with a copy of
the heads where torch.matmul wants one. The contenders take turns, timed by events. Each shape is
timed on one set of operands, which the L2 cache may hold in part.

Then the forms that a compiled step chooses among: elementwise kernels of their own, or epilogues
of the products before them, for the MLP of a layer (and one with ReLU) and the gradients of its
weights. The one marked is taken.

Before, each product of a tiny network must be what NumPy makes of it, and each form what separate
kernels make of it, or the program ends with exit code 1. ``--device strict`` does only that;
without a GPU the exit code is 2. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import environment
import gpu_environment
import gpu_gemm_forms
from gpu_gemm_cases import TINY, Case, Sizes, gemm_cases
from gpu_gemm_contenders import TOLERANCE, OnDevice, UnboundError, torch_with_cuda
from gpu_marks import peak_of
from gpu_timer import DeviceTimer
from interleaved import in_turn
from medians import median_interval, ratio_interval

from hpcad.backend.cublaslt.tuning import tune

SHARE = 0.95  # of torch's rate, which products are expected to reach
WARM_ROUNDS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; return the exit code."""
    options = _options(arguments)
    try:
        backend = gpu_environment.device(options.device)
    except gpu_environment.NoGpuError as error:
        return gpu_environment.refused("gpu_gemm", error)
    xp, strict = backend.xp, options.device == "strict"
    facts = gpu_environment.describe(xp, strict)
    print("\n".join(gpu_environment.lines(facts)))
    with xp.cuda.Stream(non_blocking=True) as stream:
        wrong = _check(xp, options)
    wrong += gpu_gemm_forms.check(backend, options.dtype, options.only)
    if wrong or strict:
        return 1 if wrong else 0
    with stream:
        rows = _measure(xp, stream, options)
    print("\n".join(summary(rows, peak_of(facts["device"], options.dtype))))
    tokens = options.batch * options.length
    forms = gpu_gemm_forms.measure(backend, tokens, options.dtype, options.only)
    if options.json:
        chosen = {name: getattr(options, name) for name in ("batch", "length", "dtype", "rounds")}
        environment.write_json(options.json, facts | chosen | {"rows": rows, "forms": forms})
    return 0


def _cases(sizes: Sizes, only: str) -> list[Case]:
    return [case for case in gemm_cases(sizes) if only in case.name]


def _check(xp: Any, options: argparse.Namespace) -> list[str]:
    """Compare the tiny products with NumPy; return what is wrong."""
    cases, wrong = _cases(TINY, options.only), []
    for case in cases:
        try:
            difference = OnDevice(case, xp, options.dtype).difference()
        except UnboundError as error:
            wrong.append(str(error))
            continue
        if not difference < TOLERANCE:
            wrong.append(f"{case.name}: differs from NumPy by {difference:.1e} of its size")
    for line in wrong:
        print(f"gpu_gemm: refused: {line}", file=sys.stderr)
    print(f"# {len(cases) - len(wrong)} of {len(cases)} tiny products are what NumPy computes")
    return wrong


# -- timing -------------------------------------------------------------------------------------


def _measure(xp: Any, stream: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print a line per product."""
    torch, timer, rows = torch_with_cuda(), DeviceTimer(xp), []
    if torch is None:
        print("# PyTorch with CUDA is not installed: hpcad alone")
    theirs = nullcontext() if torch is None else torch.cuda.stream(_shared(torch, stream))
    print(HEAD)
    with theirs:
        for case in _cases(Sizes(options.batch, options.length), options.only):
            held = OnDevice(case, xp, options.dtype)
            tune([held.product])
            works = [held.product] if torch is None else [held.product, held.torch_work(torch)]
            seconds = _in_turn(timer, works, options.rounds)
            rows.append(_row(case, held, seconds))
            print(line_of(rows[-1]), flush=True)
            del held, works
            xp.get_default_memory_pool().free_all_blocks()
    return rows


def _shared(torch: Any, stream: Any) -> Any:
    """PyTorch's name for a stream of CuPy."""
    return torch.cuda.ExternalStream(stream.ptr)


def _in_turn(timer: DeviceTimer, works: Sequence[Any], rounds: int) -> list[list[float]]:
    """Seconds of each, one sample per round."""

    def turn(work: Any, repeats: int, _: int) -> list[float]:
        return [timer.seconds([work], repeats)]

    turns = [partial(turn, work, timer.repeats_for([work])) for work in works]
    return in_turn(turns, rounds, WARM_ROUNDS)[:, :, 0].tolist()


def _row(case: Case, held: OnDevice, seconds: list[list[float]]) -> dict[str, Any]:
    plan = held.product.plan
    p = plan.problem
    return {
        "name": case.name,
        "count": case.count,
        "flops": case.flops(),
        "shape": f"{p.columns}x{p.depth}x{p.rows}" + (f" x{p.batch}" if p.batch > 1 else ""),
        "calls": held.product.flops // p.flops,
        "algorithm": plan.candidates.index(plan.algorithm),
        "of": len(plan.candidates),
        "seconds": dict(zip(("hpcad", "torch"), seconds, strict=False)),
    }


# -- tables -------------------------------------------------------------------------------------

HEAD = (
    f"{'':<30}{'m x k x n':>24}{'calls':>6}{'algorithm':>10}{'us':>9}"
    f"{'TFLOP/s: median (95 %)':>26}{'torch':>8}{'of torch (95 %)':>24}"
)


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    mine, others = row["seconds"]["hpcad"], row["seconds"].get("torch")
    took, fast, slow = median_interval(mine)
    rate, low, high = (1e-12 * row["flops"] / x for x in (took, slow, fast))
    text = (
        f"{row['name']:<30}{row['shape']:>24}{row['calls']:>6}"
        f"{_which(row):>10}{1e6 * took:>9.1f}"
        f"{f'{rate:,.0f} ({low:,.0f} .. {high:,.0f})':>26}"
    )
    if others is None:
        return text
    share, least, most = _share(row)
    theirs = 1e-12 * row["flops"] / median_interval(others)[0]
    mark = "" if share >= SHARE else "  below"
    return f"{text}{theirs:>8,.0f}{f'{share:.2f} ({least:.2f} .. {most:.2f})':>24}{mark}"


def _which(row: dict[str, Any]) -> str:
    return f"{row['algorithm']} of {row['of']}"


def _share(row: dict[str, Any]) -> tuple[float, float, float]:
    """hpcad's rate over torch's, with its interval."""
    mine, others = ([[x] for x in row["seconds"][name]] for name in ("hpcad", "torch"))
    return ratio_interval(others, mine)


def summary(rows: list[dict[str, Any]], peak: float | None) -> list[str]:
    """The products of a step together.

    Parameters
    ----------
    rows : list of dict
    peak : float or None
        FLOP/s of the card.
    """
    counted = [row for row in rows if row["count"]]
    if not counted:
        return []
    flops = sum(row["count"] * row["flops"] for row in counted)
    found = []
    for name in counted[0]["seconds"]:
        total = sum(row["count"] * median_interval(row["seconds"][name])[0] for row in counted)
        share = "" if peak is None else f", {flops / total / peak:.0%} of the card's peak"
        found.append(
            f"{name}: products of a step {1e3 * total:.2f} ms, "
            f"{1e-12 * flops / total:,.0f} TFLOP/s{share}"
        )
    raced = [row for row in rows if "torch" in row["seconds"]]
    if raced:
        reached = sum(_share(row)[0] >= SHARE for row in raced)
        found.append(f"{reached} of {len(raced)} reach {SHARE:.0%} of torch's rate")
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("gpu", "strict"), default="gpu")
    parser.add_argument("--batch", type=int, default=32, help="sequences")
    parser.add_argument("--length", type=int, default=1024, help="places in a sequence")
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--only", default="", metavar="NAME", help="products whose name contains it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
