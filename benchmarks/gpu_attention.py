"""Attention of GPT-2 on a GPU: by cuDNN and by hpcad's kernels, in turn.

    python benchmarks/gpu_attention.py [--batch 16] [--length 1024] [--heads 12] [--head 64] [--all]

Queries, keys and values are windows of one array, as in training. Before, a tiny case must come out
alike by both, or the program ends with exit code 1. ``--device strict`` takes only that, and times
nothing; without a GPU, or without cuDNN, the exit code is 2. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import environment
import gpu_environment
import numpy as np
from gpu_timer import DeviceTimer
from interleaved import in_turn
from medians import median_interval, ratio_interval

from hpcad.backend.cudnn import bind_attention, bind_attention_back
from hpcad.backend.half import named
from hpcad.errors import DeviceError
from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.attention import Attention

WAYS = ("forward", "back")
TOLERANCE = {"float16": 1e-2, "bfloat16": 6e-2}
Call = Callable[[], None]


class Heads:
    """Arrays of attention and of its gradient, and who may compute it.

    Parameters
    ----------
    sizes : tuple of int
        Batch, length, heads, elements of a head.
    """

    def __init__(self, xp: Any, dtype: str, sizes: Sequence[int], causal: bool) -> None:
        batch, length, heads, head = sizes
        random, kind = np.random.default_rng(0), named(dtype)

        def filled(*shape: int) -> Any:
            return xp.asarray(random.standard_normal(shape, np.float32).astype(kind))

        packed, found = filled(batch, length, 3, heads, head), filled(batch, length, 3, heads, head)
        out, g = (filled(batch, length, heads, head).transpose(0, 2, 1, 3) for _ in range(2))
        q, k, v = (packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
        gradients = [found[:, :, i].transpose(0, 2, 1, 3) for i in range(3)]
        log_sums = xp.empty((batch, heads, length), np.float32)
        self.xp, self.causal = xp, causal
        self.spec = Attention.packed(dtype, batch, length, heads, head, causal)
        self.arrays = {
            "forward": [q, k, v, out, log_sums],
            "back": [q, k, v, out, g, log_sums, *gradients],
        }

    def by_cudnn(self) -> dict[str, Call | None]:
        """Calls; None where cuDNN has no plan."""
        bind = dict(zip(WAYS, (bind_attention, bind_attention_back), strict=True))
        return {way: bind[way](self.xp, *self.arrays[way], causal=self.causal) for way in WAYS}

    def by_kernels(self) -> dict[str, Call]:
        loaded = load([self.spec.forward(), self.spec.backward()], self.xp)
        places = ([array.data.ptr for array in self.arrays[way]] for way in WAYS)
        pairs = zip(loaded, places, strict=True)
        return {way: unit.bind(at) for way, (unit, at) in zip(WAYS, pairs, strict=True)}

    def results(self) -> list[Any]:
        """What is written: results, logarithms, gradients."""
        return [*self.arrays["forward"][3:], *self.arrays["back"][6:]]

    def flops(self, way: str) -> int:
        return self.spec.flops if way == "forward" else self.spec.flops * 5 // 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; return the exit code."""
    options = _options(arguments)
    os.environ["HPCAD_CUDNN"] = "1"
    try:
        xp = gpu_environment.device(options.device).xp
        strict = options.device == "strict"
        facts = gpu_environment.describe(xp, strict)
        with xp.cuda.Stream(non_blocking=True):
            alike = _alike(Heads(xp, options.dtype, (2, 32, 2, 16), not options.all), options.dtype)
            if strict or not alike:
                return 0 if alike else 1
            print("\n".join(gpu_environment.lines(facts)))
            rows = _measure(xp, options)
    except (gpu_environment.NoGpuError, DeviceError) as error:
        return gpu_environment.refused("gpu_attention", error)
    if options.json:
        sizes = {key: getattr(options, key) for key in ("batch", "length", "heads", "head", "all")}
        environment.write_json(options.json, facts | sizes | {"rows": rows})
    return 0


def _alike(heads: Heads, dtype: str) -> bool:
    """Whether both compute the same of a tiny case."""
    found = []
    for calls in (heads.by_cudnn(), heads.by_kernels()):
        for array in heads.results():
            array[...] = np.nan
        for way in WAYS:
            call = calls[way]
            if call is None:
                raise DeviceError(f"cuDNN has no plan for a tiny case ({way})")
            call()
        found.append([heads.xp.asnumpy(array).astype(np.float32) for array in heads.results()])
    worst = max(float(np.abs(a - b).max()) for a, b in zip(*found, strict=True))
    print(f"# tiny case: cuDNN and hpcad's kernels differ by at most {worst:.2g}")
    return worst <= TOLERANCE[dtype]


def _measure(xp: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print a line for each way, and return the samples."""
    sizes = options.batch, options.length, options.heads, options.head
    heads, timer = Heads(xp, options.dtype, sizes, not options.all), DeviceTimer(xp)
    contenders = {"cudnn": heads.by_cudnn(), "hpcad": heads.by_kernels()}
    rows = []
    for way in WAYS:
        calls = {name: found[way] for name, found in contenders.items()}
        if calls["cudnn"] is None:
            print(f"{way}: cuDNN has no plan")
            continue
        turns = [partial(_turn, timer, c, timer.repeats_for([c])) for c in calls.values()]
        samples = in_turn(turns, options.rounds, 2)[:, :, 0].tolist()
        rows.append({"way": way, "seconds": dict(zip(calls, samples, strict=True))})
        for name, seconds in zip(calls, samples, strict=True):
            middle, low, high = (1e6 * x for x in median_interval(seconds))
            rate = 1e-6 * heads.flops(way) / middle
            print(
                f"{way:<9}{name:<7}{middle:>9.1f} us ({low:.1f} .. {high:.1f}){rate:>8.1f} TFLOP/s"
            )
        share, least, most = ratio_interval(*([[x] for x in mine] for mine in samples[::-1]))
        print(f"{way:<9}hpcad takes {share:.2f} ({least:.2f} .. {most:.2f}) times as long as cuDNN")
    return rows


def _turn(timer: DeviceTimer, call: Call, repeats: int, _: int) -> list[float]:
    return [timer.seconds([call], repeats)]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("gpu", "strict"), default="gpu")
    parser.add_argument("--dtype", choices=tuple(TOLERANCE), default="bfloat16")
    for name, number in (("batch", 16), ("length", 1024), ("heads", 12), ("head", 64)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--all", action="store_true", help="queries see all keys: not causal")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
