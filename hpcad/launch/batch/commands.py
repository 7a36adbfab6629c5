"""`hpcad slurm ...`: batch scripts and launch commands for a job file; requeueing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError
from hpcad.launch.batch.command import LAUNCHERS, command, launcher_named
from hpcad.launch.batch.profile import known_sites, load_profile
from hpcad.launch.batch.request import Request, notes, requested
from hpcad.launch.batch.requeue import MOST_RESTARTS, requeue
from hpcad.launch.batch.script import batch_script
from hpcad.training.job import load_job


def add_parsers(subparsers: argparse._SubParsersAction[Any], models: Mapping[str, type]) -> None:
    """Register `slurm` with its commands.

    Parameters
    ----------
    models
        Kind of a model -> its configuration dataclass, to read job files.
    """
    room = subparsers.add_parser("slurm", help="write batch scripts for a site, requeue jobs")
    commands = room.add_subparsers(dest="slurm_command", required=True, metavar="COMMAND")
    text = "write a batch script for a job file"
    parser = commands.add_parser("generate", help=text, description=text, allow_abbrev=False)
    parser.add_argument("job", metavar="JOB.toml", type=Path)
    parser.add_argument(
        "--site",
        required=True,
        help=f"{', '.join(known_sites())}, or the path of a profile of your own",
    )
    parser.add_argument("--nodes", required=True, type=int, metavar="N")
    parser.add_argument("--ranks-per-node", type=int, metavar="N", help="default: the site's")
    parser.add_argument("--time", metavar="LIMIT", help="such as 02:00:00; default 01:00:00")
    parser.add_argument("--account", metavar="NAME")
    parser.add_argument("--partition", metavar="NAME", help="default: the site's")
    parser.add_argument(
        "--launcher",
        default="srun",
        help="srun writes the batch script; "
        f"{', '.join(name for name in LAUNCHERS if name != 'srun')} print the command alone",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="write it here, not to stdout")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="replace values of the job file, now and when it runs",
    )
    parser.set_defaults(func=lambda arguments: generate(arguments, models))
    _add_requeue(commands)


def _add_requeue(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "requeue",
        help="requeue the job that a script belongs to, if its run asks for that",
        description="For the end of a batch script: requeues this job, or this element of an "
        "array, when the exit code of its run says that it has saved and wants to go on.",
        allow_abbrev=False,
    )
    parser.add_argument("status", metavar="EXIT_CODE", type=int, help="of srun or mpirun")
    parser.add_argument(
        "--most",
        metavar="N",
        type=int,
        default=MOST_RESTARTS,
        help=f"leave it ended after so many restarts (default {MOST_RESTARTS})",
    )
    parser.set_defaults(func=_requeue)


def _requeue(arguments: argparse.Namespace) -> int:
    print(requeue(arguments.status, arguments.most, os.environ), flush=True)
    return 0


def generate(arguments: argparse.Namespace, models: Mapping[str, type]) -> int:
    """Print the script or command, or write it to a file."""
    launcher = launcher_named(arguments.launcher)
    profile = load_profile(arguments.site)
    request = requested(
        load_job(arguments.job, arguments.overrides, models=models),
        str(arguments.job),
        arguments.overrides,
        profile,
        arguments.site,
        nodes=arguments.nodes,
        ranks_per_node=arguments.ranks_per_node,
        time=arguments.time,
        account=arguments.account,
        partition=arguments.partition,
    )
    if arguments.launcher == "srun":
        text = batch_script(request)
    else:
        _refuse_slurm_options(arguments)
        text = _command_text(request, arguments.launcher, launcher.about)
    for note in notes(request):
        print(f"hpcad: note: {note}", file=sys.stderr)
    if arguments.output is None:
        print(text, end="")
    else:
        _write(arguments.output, text)
        print(f"wrote {arguments.output}")
    return 0


def _refuse_slurm_options(arguments: argparse.Namespace) -> None:
    for name in ("time", "account", "partition"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name} is an option of a batch script; with --launcher {arguments.launcher}, "
                "which prints a command for nodes that you have already, leave it away"
            )


def _command_text(request: Request, name: str, about: str) -> str:
    head = f"# {request.ranks} ranks, {request.ranks_per_node} a node, by {name} ({about}).\n"
    return f"{head}{command(request, LAUNCHERS[name], '${VENV:-.venv}/bin/hpcad')}\n"


def _write(path: Path, text: str) -> None:
    """Write a new file: what somebody has changed by hand is not replaced.

    Raises
    ------
    ConfigError
        There is another file of that name, or it cannot be written.
    """
    try:
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise ConfigError(
                f"--output {path}: there is a file of that name with other contents; "
                "remove it, or choose another name"
            )
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        place = os.fspath(path)
        raise ConfigError(f"--output {place} cannot be written: {error.strerror}") from error
