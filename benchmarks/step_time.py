"""Time of one training step: hpcad, compiled and eager, against PyTorch and JAX, in one run.

    python benchmarks/step_time.py [--models mlp,cnn,...] [--rounds 15] [--threads 1] [--json FILE]

All start from the same weights and see the same batches; before anything is timed, five steps of
each are compared, and the program ends with code 1 where the losses differ. Of each peer all
settings that may be its best take part in a short trial, and the best of them in the measurement.
benchmarks/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environment
from step_cases import CASES, FIVE
from step_contenders import (
    BEST_GEMM,
    COMPILED,
    EAGER,
    JAX,
    TORCH,
    TORCH_COMPILE,
    blas_at_hand,
)
from step_measure import DifferentWorkError, measure
from step_pool import WorkerError
from step_table import geometric_means, print_means, print_result

_NEEDED = {TORCH: "torch", TORCH_COMPILE: "torch", JAX: "jax"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; return the exit code."""
    options = _options(arguments)
    families, missing = _families(options.contenders)
    if missing:
        print(f"step_time: install {' and '.join(missing)} (hpcad[bench]), or leave the peers out "
              f"by --contenders", file=sys.stderr)  # fmt: skip
        return 2
    facts = _facts(options)
    _print_head(facts)
    results = []
    # What hpcad measures to choose among BLAS libraries belongs to this run: an earlier choice may
    # have been made while the machine was busy.
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("HPCAD_CACHE_DIR", cache)
        for name in options.models:
            print(f"\n{name}: {CASES[name].title}", flush=True)
            try:
                results.append(measure(name, CASES[name], families, options))
            except (WorkerError, DifferentWorkError) as error:
                print(f"step_time: {error}", file=sys.stderr)
                return 1
            print_result(results[-1])
            if options.json:  # after each, so that a run that is ended early leaves what it found
                means = geometric_means(results)
                found = {"environment": facts, "results": results, "geometric_means": means}
                environment.write_json(options.json, found)
    print()
    print_means(geometric_means(results), len(results))
    return 0


# -- the command line, and what is measured -----------------------------------------------

_SHORT = {
    "compiled": COMPILED,
    "best-gemm": BEST_GEMM,
    "eager": EAGER,
    "torch": TORCH,
    "torch-compile": TORCH_COMPILE,
    "jax": JAX,
}


def _families(wanted: list[str]) -> tuple[list[str], list[str]]:
    """Those that were asked for, in the order of the table, and the packages that are missing."""
    found = [family for name, family in _SHORT.items() if name in wanted]
    needed = dict.fromkeys(_NEEDED[f] for f in found if f in _NEEDED)
    return found, [name for name in needed if importlib.util.find_spec(name) is None]


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    peers = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]
    return environment.describe() | {
        "peers": {name: version(name) for name in peers},
        "gemm_libraries": options.blas,
        "threads": options.threads,
        "rounds": options.rounds,
        "steps": options.steps,
        "trial_rounds": options.trial,
        "clock": options.clock,
    }


def _print_head(facts: dict[str, Any]) -> None:
    print("\n".join(environment.lines(facts)))
    print(f"# {', '.join(f'{name} {number}' for name, number in facts['peers'].items())}; "
          f"libraries of the best GEMM: {facts['gemm_libraries']}")  # fmt: skip
    print(f"# float32; each contender in a process of its own, bound to {facts['threads']} core(s);"
          f" {facts['rounds']} rounds of {facts['steps']} timed steps, in turn")  # fmt: skip
    if facts["clock"] == "cpu":
        print("# times are processor times of all threads together, not of the clock on the wall")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--models", type=_names_of(CASES), default=list(FIVE), metavar="mlp,cnn,...",
        help=f"of {', '.join(CASES)}",
    )  # fmt: skip
    parser.add_argument(
        "--contenders", type=_names_of(_SHORT), default=list(_SHORT), metavar="compiled,torch,...",
        help=f"of {', '.join(_SHORT)}",
    )  # fmt: skip
    parser.add_argument("--rounds", type=_positive, default=15)
    parser.add_argument("--steps", type=_positive, default=3, help="timed steps in a turn")
    parser.add_argument("--warmup", type=_positive, default=2, help="rounds that are not counted")
    parser.add_argument("--trial", type=_positive, default=3, help="rounds of the trial")
    parser.add_argument("--threads", type=_threads, default=1)
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, to compare "
        "single threads on a machine that is busy",
    )  # fmt: skip
    parser.add_argument(
        "--blas", default=None, help="libraries of the best GEMM, as HPCAD_BLAS takes them; "
        "'numpy' leaves that contender out; default: all that are found",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    options.blas = options.blas or blas_at_hand()
    return options


def _names_of(known: Mapping[str, Any]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            message = f"unknown: {unknown[0]!r}; known: {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        return names

    return parse


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _threads(text: str) -> int:
    number, most = _positive(text), environment.available_cores()
    if number > most:
        raise argparse.ArgumentTypeError(f"{number} threads, but this process has {most} core(s)")
    return number


if __name__ == "__main__":
    sys.exit(main())
