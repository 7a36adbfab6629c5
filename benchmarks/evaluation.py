"""Evaluation as a program against eager evaluation: the networks of the jobs, on the host.

    python benchmarks/evaluation.py [--samples 2048] [--batch 256] [--rounds 20] [--json FILE]

Both go over the same samples in one process, in turn, and must find the same metrics to 1e-5
(relative), or the program ends with code 1. A sample is one evaluation of the whole dataset; the
first of a program, in which it is made, stands by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import environment
import numpy as np
from interleaved import interleave, summarise
from threadpoolctl import threadpool_limits

from hpcad.data import ArrayDataset
from hpcad.models import CNN, MLP, CharGPT, CharGPTConfig, CNNConfig, MLPConfig
from hpcad.parallel import init
from hpcad.training import Prepare
from hpcad.training.evaluation import Evaluation

TOLERANCE = 1e-5
CLASSES, SYMBOLS, CONTEXT = 10, 65, 64
MODELS: dict[str, Callable[[], Any]] = {
    "MLP 784-256-256-10": lambda: MLP(MLPConfig([256, 256]), 784, CLASSES),
    "CNN 28x28, 16 and 32 channels": lambda: CNN(CNNConfig([16, 32], 64), (28, 28), CLASSES),
    "GPT, 2 layers of 128, 64 tokens": lambda: CharGPT(
        CharGPTConfig(layers=2, heads=4, width=128), SYMBOLS, CONTEXT
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256, help="samples evaluated at a time")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="of BLAS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    facts = environment.describe() | {k: v for k, v in vars(options).items() if k != "json"}
    print("\n".join(environment.lines(facts)))
    print(f"# {options.samples} samples, {options.batch} at a time, {options.threads} BLAS threads")
    print(f"{'':<34}{'eager ms':>10}{'program ms':>12}{'program/eager':>22}{'first ms':>10}")
    results = []
    with threadpool_limits(options.threads):
        for name, make in MODELS.items():
            found = measure(name, make(), options)
            if found is None:
                return 1
            results.append(found)
    if options.json:
        environment.write_json(options.json, {"environment": facts, "results": results})
    return 0


def measure(name: str, model: Any, options: argparse.Namespace) -> dict[str, Any] | None:
    """Check, time in turn, and print a row; None where the metrics differ."""
    model.initialize(1, np.float32)
    tokens = isinstance(model, CharGPT)
    data = dataset(options.samples, tokens)
    program, eager = (
        Evaluation(
            model,
            lambda model, batch: model.evaluate(batch),
            Prepare(np.float32, real_input=not tokens),
            init(),
            batch=options.batch,
            compile=compiled,
        )
        for compiled in (True, False)
    )
    started = time.perf_counter()
    found = program(data)
    first = 1e3 * (time.perf_counter() - started)
    expected = eager(data)
    worst = max(abs(found[key] / expected[key] - 1.0) for key in expected if expected[key])
    if program.program_bytes == 0 or not worst <= TOLERANCE:
        print(f"evaluation: refused: metrics of {name} differ by {worst}, or there is no program",
              file=sys.stderr)  # fmt: skip
        return None
    samples = interleave([program, eager], [[data], [data]], options.rounds, 1, 2)
    mine, other = summarise(["program", "eager"], samples)
    low, high = other["ratio_interval"]
    ratio = f"{other['ratio']:.3f} [{low:.3f}, {high:.3f}]"
    print(f"{name:<34}{other['median']:>10.2f}{mine['median']:>12.2f}{ratio:>22}{first:>10.1f}")
    return {"model": name, "rows": [mine, other], "milliseconds": samples.tolist(), "first": first}


def dataset(samples: int, tokens: bool) -> ArrayDataset:
    """Random pictures with labels, or tokens with the next ones."""
    random = np.random.default_rng(0)
    if tokens:
        x = random.integers(0, SYMBOLS, (samples, CONTEXT))
        return ArrayDataset({"x": x, "y": np.roll(x, -1, axis=1)})
    x = random.standard_normal((samples, 28, 28)).astype(np.float32)
    return ArrayDataset({"x": x, "y": random.integers(0, CLASSES, samples)})


if __name__ == "__main__":
    sys.exit(main())
