"""Cost of one recorded operation: hpcad, PyTorch and HIPS autograd, side by side in one run.

    python benchmarks/tape_overhead.py [--length 1000] [--rounds 60] [--json FILE]

A chain of operations on ten float64 numbers is recorded and differentiated: the arithmetic costs
next to nothing, so what is measured is the tape. All contenders must find the same gradient to
1e-12, or the program ends with code 1. Each has its safety on: hpcad guards the arrays that it
captures and follows nested transforms, PyTorch keeps version counters.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environment
import numpy as np
from interleaved import interleave, summarise
from threadpoolctl import threadpool_limits

import hpcad
import hpcad.numpy as hnp

START = np.linspace(0.1, 1.0, 10)
TOLERANCE = 1e-12


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--length", type=int, default=1000, help="operations in the chain")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    try:
        import autograd
        import autograd.numpy as anp
        import torch
    except ImportError as error:
        print(f"tape_overhead: {error}; install torch and autograd", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    facts = environment.describe() | {"torch": torch.__version__, "length": options.length}
    facts |= {"autograd": version("autograd"), "rounds": options.rounds}
    print("\n".join(environment.lines(facts)))
    print(f"# PyTorch {torch.__version__}, 1 thread; HIPS autograd {version('autograd')}; "
          f"chains of {options.length} operations on {START.size} float64")  # fmt: skip

    results = []
    with threadpool_limits(1):
        for title, chains in cases(options.length, anp, torch).items():
            contenders = [Contender(*pair) for pair in {
                "hpcad.grad": hpcad_grad(chains[0]),
                "hpcad Parameter.backward": hpcad_backward(chains[0]),
                "PyTorch backward": torch_backward(chains[2], torch),
                "HIPS autograd grad": autograd_grad(chains[1], autograd),
                "no derivative (NumPy)": lambda chain=chains[1]: chain(START),
            }.items()]  # fmt: skip
            found = measure(title, contenders, options)
            if found is None:
                return 1
            results.append({"chain": title, **found})
    if options.json:
        environment.write_json(options.json, {"environment": facts, "results": results})
    return 0


def cases(length: int, anp: Any, torch: Any) -> dict[str, tuple[Callable, Callable, Callable]]:
    """The chains, each as written for hpcad, NumPy / autograd and PyTorch."""

    def multiply_add(y: Any) -> Any:
        for _ in range(length // 2):
            y = y * 0.999
            y = y + 0.001
        return y

    def sine(sin: Callable) -> Callable:
        def chain(y: Any) -> Any:
            for _ in range(length):
                y = sin(y)
            return y

        return chain

    def array_constants(y: Any) -> Any:
        for _ in range(length // 2):
            y = y * FACTOR
            y = y + FACTOR
        return y

    def torch_constants(y: Any) -> Any:
        for _ in range(length // 2):
            y = y * factor
            y = y + factor
        return y

    factor = torch.from_numpy(FACTOR)
    return {
        "y * 0.999, y + 0.001": (multiply_add, multiply_add, multiply_add),
        "y * array, y + array": (array_constants, array_constants, torch_constants),
        "sin(y)": (sine(hnp.sin), sine(anp.sin), sine(torch.sin)),
    }


FACTOR = np.full(10, 0.5)


class Contender:
    """One way to differentiate a chain."""

    def __init__(self, name: str, run: Callable[[], Any]) -> None:
        self.name = name
        self.run = run

    def __call__(self, _feed: Any) -> Any:
        return self.run()


def hpcad_grad(chain: Callable) -> Callable[[], Any]:
    gradient = hpcad.grad(lambda x: chain(x).sum())
    return lambda: gradient(START)


def hpcad_backward(chain: Callable) -> Callable[[], Any]:
    leaf = hpcad.Parameter(START.copy())

    def run() -> Any:
        leaf.fresh = False  # the next backward overwrites
        chain(leaf).sum().backward()
        return leaf.grad

    return run


def autograd_grad(chain: Callable, autograd: Any) -> Callable[[], Any]:
    gradient = autograd.grad(lambda x: autograd.numpy.sum(chain(x)))
    return lambda: gradient(START)


def torch_backward(chain: Callable, torch: Any) -> Callable[[], Any]:
    start = torch.from_numpy(START)

    def run() -> Any:
        leaf = start.clone().requires_grad_(True)
        chain(leaf).sum().backward()
        return leaf.grad

    return run


def measure(
    title: str, contenders: list[Contender], options: argparse.Namespace
) -> dict[str, Any] | None:
    """Check that all find one gradient, time them in turn, and print microseconds per operation.

    Returns the rows of the table and every sample; None where the gradients differ.
    """
    gradients = [np.asarray(contender(None)) for contender in contenders[:-1]]
    worst = float(np.max(np.abs(np.array(gradients) - gradients[0])))  # NaN stays NaN
    if not worst <= TOLERANCE:
        print(f"tape_overhead: refused: gradients of {title} differ by {worst}", file=sys.stderr)
        return None
    feeds: list[list[Any]] = [[None]] * len(contenders)
    samples = interleave(contenders, feeds, options.rounds, 3, 3) * (1e3 / options.length)
    rows = summarise([c.name for c in contenders], samples)
    print(f"\n{title}: record + backward")
    print(
        f"{'':<28}{'median us/op':>13}{'10th..90th percentile':>24}{'hpcad.grad / this (95 %)':>28}"
    )
    for row in rows:
        low, high = row["ratio_interval"]
        ratio = f"{row['ratio']:.2f} ({low:.2f} .. {high:.2f})" if row is not rows[0] else ""
        spread = f"{row['p10']:.2f} .. {row['p90']:.2f}"
        print(f"{row['name']:<28}{row['median']:>13.2f}{spread:>24}{ratio:>28}")
    names = [c.name for c in contenders]
    return {"rows": rows, "microseconds": dict(zip(names, samples.tolist(), strict=True))}


if __name__ == "__main__":
    sys.exit(main())
