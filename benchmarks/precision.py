"""Do jobs train as well in half precision as in float32?

    python benchmarks/precision.py [--steps-of 1.0] [--seeds 3] [--eager] [--json FILE]

Three jobs, each with bfloat16, float16 and float32, the same seed and the same number of steps:

- an MLP 64-64-32-10 on the digits that come with hpcad, otherwise the job `jobs/digits.toml`;
- the convolutional network of `jobs/digits.toml`;
- the character GPT of `jobs/char_gpt.toml`, for 400 steps, on a text of 200 made-up words.

What another precision changes is held against what another seed changes: float32 runs with other
seeds as well. A difference from float32 of the same seed is allowed to be as large as the widest
difference among float32 runs, and 1 % of the loss at least; larger ones end the program with exit
code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from environment import describe, lines

import hpcad
from hpcad import cli
from hpcad.models import REGISTRY
from hpcad.training.job import load_job
from hpcad.training.metrics import read_metrics
from hpcad.training.run import run

JOBS = Path(__file__).resolve().parents[1] / "jobs"
LAST = 20  # steps whose losses are averaged
LEAST = 0.01  # a difference in the loss, as a share of it, that is always allowed
GPT_STEPS = 400


@dataclass
class Outcome:
    """How a run ended: the mean loss of its last steps, and loss and accuracy on the test set."""

    job: str
    precision: str
    seed: int
    steps: int
    train_loss: float
    test_loss: float
    accuracy: float


def text(folder: Path) -> None:
    """Pack a text of 65 symbols, whose words come again."""
    rng = np.random.default_rng(0)
    symbols = [chr(48 + i) for i in range(65)]
    words = ["".join(rng.choice(symbols, rng.integers(2, 9))) for _ in range(200)]
    (folder / "text").write_text(" ".join(rng.choice(words, 20_000)))
    arguments = [folder / "packed", "--text", folder / "text", "--split", "0.98"]
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["data", "pack", *map(str, arguments)])


def cases(folder: Path, share: float) -> dict[str, tuple[str, list[str]]]:
    """The job file of each job, and what is set otherwise."""
    steps = f"training.steps={max(LAST, round(900 * share))}"
    mlp = 'model={kind="mlp", hidden=[64, 32]}'
    data = [f"data.train={folder}/packed/train", f"data.test={folder}/packed/val"]
    short = f"training.steps={max(LAST, round(GPT_STEPS * share))}"
    return {
        "digits MLP": ("digits", [mlp, steps]),
        "digits CNN": ("digits", [steps]),
        "character GPT": ("char_gpt", [*data, short, "schedule.warmup=20"]),
    }


def outcome(name: str, file: str, settings: list[str], precision: str, seed: int) -> Outcome:
    """Run a job."""
    with tempfile.TemporaryDirectory() as directory:
        own = [
            f"output.directory={directory}/run",
            f"training.precision={precision}",
            f"seed={seed}",
            "training.log_every=1",
            "training.evaluate_every=1000000",
            "checkpoint.enabled=false",
        ]
        models = {kind: entry.config for kind, entry in REGISTRY.items()}
        job = load_job(JOBS / f"{file}.toml", [*settings, *own], models=models)
        with contextlib.redirect_stdout(io.StringIO()):
            result = run(job, REGISTRY[job.model.kind], hpcad.init())
        losses = [row["loss"] for row in read_metrics(f"{directory}/run") if "loss" in row]
    return Outcome(
        name,
        precision,
        seed,
        result.step,
        float(np.mean(losses[-LAST:])),
        result.metrics["loss"],
        result.metrics["accuracy"],
    )


def allowed(runs: list[Outcome]) -> float:
    """The difference in the training loss that is allowed: what seeds make, and 1 % at least."""
    losses = [run.train_loss for run in runs if run.precision == "float32"]
    return max(max(losses) - min(losses), LEAST * losses[0])


def main() -> None:
    """Run everything, print a table, and check the differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps-of", type=float, default=1.0, help="share of the steps to run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    machine, found = describe(), []
    print("\n".join(lines(machine)))
    head = "job", "steps", "precision", "seed", "training loss", "apart", "allowed", "test loss"
    print(f"| {' | '.join(head)} | accuracy |\n{'|---' * 9}|", flush=True)
    within = True
    with tempfile.TemporaryDirectory() as folder:
        text(Path(folder))
        for name, (file, settings) in cases(Path(folder), options.steps_of).items():
            settings = [*settings, f"training.compile={str(not options.eager).lower()}"]
            plan = [("float32", seed) for seed in range(1, options.seeds + 1)]
            plan += [("bfloat16", 1), ("float16", 1)]
            runs: list[Outcome] = []
            for precision, seed in plan:
                runs.append(outcome(name, file, settings, precision, seed))
                within &= _row(runs)
            found += runs
    if options.json:
        table = [asdict(run) for run in found]
        options.json.write_text(json.dumps({"machine": machine, "runs": table}, indent=1))
    if not within:
        sys.exit("a difference is larger than allowed")


def _row(runs: list[Outcome]) -> bool:
    """Print the last run; whether it is as near to the first one as it must be."""
    last, apart, most = runs[-1], "", ""
    within = True
    if last.precision != "float32":
        difference, limit = last.train_loss - runs[0].train_loss, allowed(runs)
        apart, most, within = f"{difference:+.4f}", f"{limit:.4f}", abs(difference) <= limit
    print(
        f"| {last.job} | {last.steps} | {last.precision} | {last.seed} | {last.train_loss:.4f} | "
        f"{apart} | {most} | {last.test_loss:.4f} | {100 * last.accuracy:.1f} % |",
        flush=True,
    )
    return within


if __name__ == "__main__":
    main()
