"""Cost of one tiny operation in a captured program, against eager tapes and compiled peers.

    python benchmarks/program_overhead.py [--length 1000] [--rounds 40] [--json FILE]

Chains of operations on ten float64 numbers are evaluated and differentiated with respect to their
start and their factor; the arithmetic costs next to nothing. All must find the same value and
gradients to 1e-12 (relative), or the program ends with code 1. hpcad
is measured in three ways: eager; as a program whose every operation is a call of NumPy (what there
is without a C compiler); and as one with compiled kernels. At the end stands what it costs to run a
program that does nothing else than one addition.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import environment
import numpy as np
from interleaved import interleave, summarise
from threadpoolctl import threadpool_limits

import hpcad
import hpcad.numpy as hnp

START = np.linspace(0.1, 1.0, 10)
SCALE, SHIFT = np.full(10, 0.9), np.full(10, 0.01)
TOLERANCE = 1e-12
Chain = Callable[..., Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--length", type=int, default=1000, help="operations in the chain")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])  # JAX sizes its threads by it
    facts = environment.describe() | {"length": options.length, "rounds": options.rounds}
    print("\n".join(environment.lines(facts)))
    print(f"# one core; chains of {options.length} operations on {START.size} float64")
    results = []
    with threadpool_limits(1):
        for title, chain in CHAINS.items():
            found = measure(title, ways_of(chain, options.length), options)
            if found is None:
                return 1
            results.append({"chain": title, **found})
        empty = empty_program()
    print(f"\na program of one addition: {empty:.2f} us a call")
    if options.json:
        found = {"environment": facts, "results": results, "empty_microseconds": empty}
        environment.write_json(options.json, found)
    return 0


# -- chains, written once for all: the namespace and the constants are given --------------


def multiply_add(xp: Any, y: Any, scale: Any, shift: Any, length: int) -> Any:
    for _ in range(length // 2):
        y = y * scale
        y = y + shift
    return y


def recurrence(xp: Any, y: Any, scale: Any, shift: Any, length: int) -> Any:
    for _ in range(length // 3):
        y = xp.tanh(scale * y + shift)
    return y


CHAINS: dict[str, Chain] = {
    "y * array, y + array": multiply_add,
    "tanh(w * y + b)": recurrence,
}


# -- ways to evaluate and differentiate one -----------------------------------------------


class Way:
    """One way; called, it returns the value and both gradients."""

    def __init__(self, name: str, run: Callable[[], Any]) -> None:
        self.name, self.run = name, run

    def __call__(self, _feed: Any = None) -> Any:
        return self.run()


def ways_of(chain: Chain, length: int) -> list[Way]:
    """hpcad's ways, the compiled one first, and those of the peers that are installed."""
    pull = hpcad.value_and_grad(
        lambda x, scale: chain(hnp, x, scale, SHIFT, length).sum(), argnums=(0, 1)
    )
    ways = [
        Way("hpcad compiled, kernels", compiled(pull)),
        Way("hpcad compiled, NumPy only", compiled(pull, native=False)),
        Way("hpcad eager", lambda: pull(START, SCALE)),
    ]
    for make in (torch_ways, jax_ways):
        try:
            ways += make(chain, length)
        except ImportError as error:
            print(f"# left out: {error}")
    return ways


def compiled(pull: Callable, **options: Any) -> Callable[[], Any]:
    program = hpcad.compile(lambda x, scale: pull(x, scale), strict=True, **options)
    return lambda: program(START, SCALE)


def torch_ways(chain: Chain, length: int) -> list[Way]:
    import torch

    torch.set_num_threads(1)
    start, scale, shift = (torch.from_numpy(x) for x in (START, SCALE, SHIFT))

    def run() -> Any:
        leaves = start.clone().requires_grad_(True), scale.clone().requires_grad_(True)
        value = chain(torch, *leaves, shift, length).sum()
        value.backward()
        return value.detach(), [leaf.grad for leaf in leaves]

    return [Way("torch eager", run)]


def jax_ways(chain: Chain, length: int) -> list[Way]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    start, scale, shift = (jnp.array(x) for x in (START, SCALE, SHIFT))
    pull = jax.jit(
        jax.value_and_grad(lambda x, w: chain(jnp, x, w, shift, length).sum(), argnums=(0, 1))
    )
    return [Way("JAX jit", lambda: jax.block_until_ready(pull(start, scale)))]


def empty_program(calls: int = 10_000) -> float:
    """Microseconds of a call of the smallest program: the fixed cost of a replay."""
    program = hpcad.compile(lambda x: x + 1.0, strict=True)
    for _ in range(10):
        program(START)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(calls // 10):
            program(START)
        times.append((time.perf_counter() - started) / (calls // 10))
    return 1e6 * float(np.median(times))


def flat(result: Any) -> np.ndarray:
    """Value and gradients in one array."""
    value, gradients = result
    return np.concatenate([np.asarray(x).reshape(-1) for x in (value, *gradients)])


# -- measuring ----------------------------------------------------------------------------


def measure(title: str, ways: list[Way], options: argparse.Namespace) -> dict[str, Any] | None:
    """Check that all find the same, time them in turn, and print microseconds per operation.

    Returns the rows of the table and every sample; None where results differ.
    """
    for _ in range(3):  # the third call of a compiled function is the first of its program
        results = np.array([flat(way()) for way in ways])
        worst = float(np.max(np.abs(results / results[0] - 1.0)))
        if not worst <= TOLERANCE:  # NaN is refused, too
            message = f"refused: results of {title} differ by {worst}"
            print(f"program_overhead: {message}", file=sys.stderr)
            return None
    feeds: list[list[Any]] = [[None]] * len(ways)
    samples = interleave(ways, feeds, options.rounds, 5, 3) * (1e3 / options.length)
    rows = summarise([way.name for way in ways], samples)
    print(f"\n{title}: value and gradients, equal to {worst:.0e}")
    print(f"{'':<30}{'median us/op':>13}{'10th..90th percentile':>24}")
    for row in rows:
        spread = f"{row['p10']:.3f} .. {row['p90']:.3f}"
        print(f"{row['name']:<30}{row['median']:>13.3f}{spread:>24}")
    times = {row["name"]: mine for row, mine in zip(rows, samples.tolist(), strict=True)}
    return {"rows": rows, "microseconds": times}


if __name__ == "__main__":
    sys.exit(main())
