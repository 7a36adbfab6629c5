"""`hpcad scaling simulate`: predict the step of a job at any number of ranks of a machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcad.errors import ConfigError

if TYPE_CHECKING:
    from hpcad.scaling.simulation.machine import Machine
    from hpcad.scaling.simulation.prediction import Request
    from hpcad.scaling.simulation.workload import Workload

RANKS = "1,2,4,8,64,512,4096"


def add_simulate(commands: argparse._SubParsersAction[Any]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "simulate",
        help="predict the step at any number of ranks of a described machine",
        description="Predict training steps from what a job's compiled program does, a description "
        "of a model, or a measured study. Nothing is measured and nothing is started.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        type=Path,
        help="a job file, a description of a model ([layers]), or the directory of a study",
    )
    parser.add_argument(
        "--machine", required=True, metavar="NAME|FILE", help="one that hpcad knows, or your own"
    )
    parser.add_argument(
        "--ranks",
        dest="rank_counts",  # `ranks` is a number of ranks to start
        type=_counts,
        default=RANKS,
        metavar="1,8,64",
        help=f"default: {RANKS}",
    )
    parser.add_argument(
        "--sweep",
        choices=("weak", "strong"),
        default="weak",
        help="whether --batch is that of a rank (weak, the default) or of all ranks (strong)",
    )
    parser.add_argument("--batch", type=float, help="samples; default: the job's, as a rank's")
    parser.add_argument(
        "--capture-batch", type=int, metavar="N", help="samples to capture a job's program with"
    )
    parser.add_argument("--bucket-mb", type=float, metavar="MB", help="length of the messages")
    parser.add_argument(
        "--interval", type=float, metavar="SECONDS", help="between checkpoints; default: the best"
    )
    parser.add_argument(
        "--wait-for-checkpoints",
        action="store_true",
        help="training stops while a checkpoint is written",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the steps that are drawn")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="png, svg or pdf (matplotlib)")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="replace values of the job file",
    )
    parser.set_defaults(func=simulate_command)


def _counts(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers of ranks, such as 1,8,64")
    return sorted({int(word) for word in words})


def simulate_command(arguments: argparse.Namespace) -> int:
    """Predict, print the table, and write what was asked for."""
    from hpcad.scaling.simulation.machine_file import load_machine
    from hpcad.scaling.simulation.simulate import simulate
    from hpcad.scaling.simulation.table import as_json, draw, table

    request = _request(arguments)
    machine = load_machine(arguments.machine)
    machine.members(max(arguments.rank_counts))  # complains before anything is captured
    workload, machine = _workload(arguments, machine)
    found = simulate(workload, machine, arguments.rank_counts, request)
    print(table(workload, machine, found))
    if arguments.json is not None:
        content = as_json(workload, machine, request, found)
        try:
            arguments.json.write_text(json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise ConfigError(f"cannot write {arguments.json}: {error.strerror}") from error
    if arguments.plot is not None:
        draw(arguments.plot, workload, machine, found)
    return 0


def _request(arguments: argparse.Namespace) -> Request:
    from hpcad.scaling.simulation.prediction import Request

    for name in ("batch", "bucket_mb", "interval"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be above 0, not {value:g}")
    buckets = None
    if arguments.bucket_mb is not None:
        buckets = (1e6 * arguments.bucket_mb / 8, 1e6 * arguments.bucket_mb)
    return Request(
        sweep=arguments.sweep,
        batch=arguments.batch,
        bucket_bytes=buckets,
        background=not arguments.wait_for_checkpoints,
        interval=arguments.interval,
        seed=arguments.seed,
    )


def _workload(arguments: argparse.Namespace, machine: Machine) -> tuple[Workload, Machine]:
    """What is simulated, and the machine: with the study's own device, where it is a study."""
    if arguments.what.is_dir():
        from hpcad.scaling.simulation.measured import measured

        found = measured(arguments.what)
        noise = found.noise if machine.noise.sigma == 0 else machine.noise
        title = f"{machine.title}, with the study's device"
        changed = dataclasses.replace(machine, title=title, device=found.device, noise=noise)
        return found.workload, changed
    from hpcad.scaling.simulation.machine_file import read_table

    content, _ = read_table(arguments.what, "job file or description")
    if "layers" in content:
        from hpcad.scaling.simulation.described import load_workload

        return load_workload(arguments.what), machine
    from hpcad.models import REGISTRY
    from hpcad.scaling.simulation.captured import captured

    job = captured(arguments.what, REGISTRY, arguments.overrides, arguments.capture_batch)
    return job, machine
