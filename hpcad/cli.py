"""`hpcad ...`: the command line.

Each subcommand imports what it needs when it runs, so that `hpcad --help` and `hpcad info` are
quick and work where neither MPI nor a GPU is.

An `HpcadError` is printed as one sentence, once per job, and its `exit_code` is returned. Anything
else keeps its traceback; under MPI the hooks of `hpcad.parallel.init` then end all ranks.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hpcad import __version__
from hpcad.errors import ConfigError, HpcadError, LaunchError

if TYPE_CHECKING:
    from hpcad.parallel import World
    from hpcad.training.job import Job

INTERRUPTED = 130
BROKEN_PIPE = 141  # as shells report it
_ROOT_HEAD_START = 0.5  # seconds in which rank 0 may report an error that all ranks have


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    argv
        The arguments without the program's name; those of the process by default.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = _parse(words)
    try:
        if getattr(arguments, "ranks", None) is not None:
            return _train_on_ranks(arguments.ranks, words)
        code = int(arguments.func(arguments))
        sys.stdout.flush()  # a closed pipe is to be noticed here
        return code
    except HpcadError as error:
        # What arrives here was raised on all ranks alike: one of them says it.
        if _launched_rank() in (None, 0):
            _print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print("hpcad: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if _launched_rank() is not None:
            raise  # the hooks end the other ranks
        # The reader has seen enough (`| head`); what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hpcad",
        description="MPI-parallel training on automatic differentiation.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hpcad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    plot = commands.add_parser("plot", help="draw the curves of a run (needs matplotlib)")
    plot.add_argument("run", metavar="DIRECTORY", type=Path, help="a run, such as runs/digits")
    plot.add_argument("-o", "--output", metavar="FILE", type=Path, help="png, svg or pdf")
    plot.set_defaults(func=_plot)
    info = commands.add_parser("info", help="versions, MPI library, devices, BLAS, launcher")
    info.set_defaults(func=_info)
    _add_doctor(commands)
    _add_env(commands)
    _add_room(commands, "data", "pack, split, check and measure datasets", asked="data" in argv[:1])
    text = "list, inspect, verify, compare, convert and prune checkpoints"
    _add_room(commands, "ckpt", text, asked="ckpt" in argv[:1])
    _add_room(
        commands, "slurm", "write batch scripts for a site, requeue jobs", asked="slurm" in argv[:1]
    )
    text = "run, report, compare and predict scaling studies"
    _add_room(commands, "scaling", text, asked="scaling" in argv[:1])
    return parser.parse_args(argv)


def _add_room(
    commands: argparse._SubParsersAction[Any], name: str, text: str, *, asked: bool
) -> None:
    """Add the commands of a room. Rooms import h5py: only the one that was asked for."""
    if not asked:
        commands.add_parser(name, help=text)
    elif name == "data":
        from hpcad.data.commands import add_parsers as add_data

        add_data(commands)
    elif name == "scaling":
        from hpcad.scaling.commands import add_parsers as add_scaling

        add_scaling(commands)
    elif name == "slurm":
        from hpcad.launch.batch.commands import add_parsers as add_slurm
        from hpcad.models import REGISTRY

        add_slurm(commands, {kind: entry.config for kind, entry in REGISTRY.items()})
    else:
        from hpcad.checkpoint.commands import add_parsers as add_checkpoint

        add_checkpoint(commands)


def _add_train(commands: argparse._SubParsersAction[Any]) -> None:
    train = commands.add_parser(
        "train",
        help="run a job file",
        description="Run a job file. It continues by itself when its output directory holds a "
        "checkpoint. Start it under mpirun or srun to use several ranks.",
        allow_abbrev=False,
    )
    train.add_argument("job", metavar="JOB.toml", type=Path, nargs="?")
    train.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="replace values of the job file, e.g. --set training.epochs=3 data.batch=128",
    )
    train.add_argument(
        "--ranks",
        type=int,
        metavar="N",
        help="start N ranks on this machine under mpirun (on a cluster, use srun or mpirun itself)",
    )
    train.add_argument(
        "--timeline",
        metavar="DIRECTORY",
        type=Path,
        help="write what each rank did when there, for https://ui.perfetto.dev (a file per rank)",
    )
    train.add_argument(
        "--time-limit",
        metavar="LIMIT",
        help="save and stop in time to be over then, such as 02:00:00; by itself where the "
        "batch system says when the job ends (SLURM_JOB_END_TIME, HPCAD_END_TIME)",
    )
    start = train.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        metavar="PATH",
        nargs="?",
        const=True,
        type=lambda text: True if text == "auto" else text,
        help="continue from this checkpoint file, or from the newest one (auto, the default)",
    )
    start.add_argument(
        "--fresh",
        action="store_true",
        help="start over; an output directory of an earlier run is renamed, not removed",
    )
    train.set_defaults(func=_train)


def _add_doctor(commands: argparse._SubParsersAction[Any]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="look for mistakes of a launch, on all ranks",
        description="Start it as the job: `mpirun -n 4 hpcad doctor`, `srun hpcad doctor`. Prints "
        "what every rank has, and what to change. Ends with 13 where something is wrong, else 0.",
        allow_abbrev=False,
    )
    doctor.add_argument(
        "--device",
        choices=("cpu", "gpu", "auto"),
        default="auto",
        help="what the job computes on; auto (the default): GPUs where every rank has one",
    )
    links = doctor.add_mutually_exclusive_group()
    links.add_argument(
        "--links",
        choices=("few", "all"),
        default="few",
        help="measure up to 15 links of every node, in a few seconds (few, the default), or all",
    )
    links.add_argument(
        "--no-links", dest="links", action="store_const", const="none", help="measure no network"
    )
    doctor.add_argument("--json", action="store_true", help="print facts and findings as JSON")
    doctor.set_defaults(func=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from hpcad.launch.doctor.command import run

    return run(arguments.device, links=arguments.links, as_json=arguments.json)


def _add_env(commands: argparse._SubParsersAction[Any]) -> None:
    room = commands.add_parser("env", help="copy the environment to a disk of each node")
    actions = room.add_subparsers(dest="env_command", required=True, metavar="COMMAND")
    text = "read a virtual environment once, and unpack it on every node of the job"
    copy = actions.add_parser(
        "broadcast",
        help=text,
        description=f"{text}. Start it with one rank a node: `srun --ntasks-per-node=1 hpcad env "
        "broadcast $TMPDIR/env`. Prints the line that puts the copy on PATH.",
        allow_abbrev=False,
    )
    copy.add_argument("to", metavar="DIRECTORY", help="of the copy, on a disk of each node")
    copy.add_argument("--environment", metavar="DIRECTORY", help="default: that of this Python")
    copy.set_defaults(func=_broadcast_environment)


def _broadcast_environment(arguments: argparse.Namespace) -> int:
    from hpcad.launch.environment.command import broadcast

    return broadcast(arguments.to, arguments.environment)


def _info(arguments: argparse.Namespace) -> int:
    from hpcad.launch.info import print_info

    return print_info()


def _plot(arguments: argparse.Namespace) -> int:
    from hpcad.training.plot import plot_run

    print(plot_run(arguments.run, arguments.output))
    return 0


def _train_on_ranks(ranks: int, words: list[str]) -> NoReturn:
    """Become ``mpirun -n ranks hpcad train ...`` without the option."""
    from hpcad.launch.mpirun import run_again

    if _launched_rank() is not None:
        raise LaunchError(
            "--ranks was given, but this process was already started by a launcher; "
            "leave --ranks out, or start hpcad without mpirun or srun"
        )
    at = next(i for i, word in enumerate(words) if word.partition("=")[0] == "--ranks")
    run_again(ranks, words[:at] + words[at + (1 if "=" in words[at] else 2) :])


def _job_path(arguments: argparse.Namespace) -> Path:
    """The job file, also where ``--set`` stands before it and has taken it for a setting."""
    if arguments.job is None:
        paths = [word for word in arguments.overrides if "=" not in word]
        if len(paths) != 1:
            raise ConfigError("no job file was given; say `hpcad train JOB.toml`")
        arguments.overrides.remove(paths[0])
        return Path(paths[0])
    return arguments.job


def _train(arguments: argparse.Namespace) -> int:
    from hpcad.parallel.world import init, load_mpi

    load_mpi()  # before the imports below, which take each rank another time
    from hpcad.models import REGISTRY
    from hpcad.training.job import load_job

    began = time.time()
    models = {kind: entry.config for kind, entry in REGISTRY.items()}
    job, problem, end = None, None, None
    try:
        if arguments.time_limit is not None:
            end = began + _seconds(arguments.time_limit)
        job = load_job(_job_path(arguments), arguments.overrides, models=models)
    except ConfigError as error:
        if _launched_rank() is None:
            raise  # one process: nobody to agree with, and no reason to start MPI
        problem = error
    world = init(job.training.device if job else "cpu")
    # A rank whose node does not see the file would otherwise leave the others waiting.
    world.communicator.agree(problem, name="job file")
    assert job is not None  # agree raised otherwise
    resume = True if arguments.resume is None else arguments.resume
    if arguments.fresh and not _restarted(world):
        _set_aside(Path(job.output.directory), world)
        resume = False
    return _run(job, REGISTRY[job.model.kind], world, resume, arguments.timeline, end)


def _seconds(limit: str) -> int:
    from hpcad.launch.batch.request import seconds

    return seconds(limit, "--time-limit")


def _restarted(world: World) -> bool:
    """Whether Slurm has started this job again: --fresh would throw away what it has done."""
    from hpcad.parallel.slurm import restarts

    count = restarts(os.environ)
    if count and world.is_root:
        print(f"restart {count} of this job: it goes on, although --fresh was given", flush=True)
    return bool(count)


def _run(
    job: Job,
    entry: Any,
    world: World,
    resume: bool | str,
    timeline: Path | None,
    end: float | None,
) -> int:
    """Run the job; an error of one rank ends it for all, at once.

    The exit code of a run that ended early says so: it is not done, and may be started again.
    """
    from hpcad.training.run import run

    try:
        return run(job, entry, world, resume, timeline, end).exit_code
    except HpcadError as error:
        if world.size == 1:
            raise
        _end_job(world, str(error), error.exit_code)
    except KeyboardInterrupt:
        if world.size == 1:
            raise
        _end_job(world, "interrupted", INTERRUPTED)


def _end_job(world: World, message: str, code: int) -> NoReturn:
    """Print the error and end all ranks.

    Often all ranks raise the same error. Rank 0 then prints it and ends the others before they
    do; only when rank 0 had no error does the rank that had one come to print it.
    """
    if not world.is_root:
        time.sleep(_ROOT_HEAD_START)
    reported = message.startswith("rank ")  # by an agreement, which named rank and host
    _print_error(message if reported else f"{message} (rank {world.rank} on {world.host})")
    world.communicator.abort(code)


def _set_aside(directory: Path, world: World) -> None:
    """Rename the output directory of an earlier run, if there is one, on rank 0."""
    problem = None
    if world.is_root:
        try:
            moved = set_aside(directory)
            if moved is not None:
                print(f"{directory} of an earlier run is now {moved}", file=sys.stderr)
        except HpcadError as error:
            problem = error
    world.communicator.agree(problem, name="set aside")


def set_aside(directory: Path) -> Path | None:
    """Rename `directory` to itself plus a time stamp, and return the new path.

    Returns None when there is nothing to keep: no such directory, or an empty one.

    Raises
    ------
    ConfigError
        It is not a directory, or the current directory lies in it, or it cannot be renamed.
    """
    if not directory.exists():
        return None
    if not directory.is_dir() or Path.cwd().is_relative_to(directory.resolve()):
        raise ConfigError(
            f"--fresh cannot rename {directory}: it is not a directory of this run's own; "
            "set [output] directory to one, such as runs/<name>"
        )
    try:
        if not any(directory.iterdir()):
            return None
        target = _free_name(directory)
        directory.rename(target)
    except OSError as error:
        raise ConfigError(
            f"--fresh cannot rename {directory}: {error.strerror}; rename it, or choose another "
            "[output] directory"
        ) from error
    return target


def _free_name(directory: Path) -> Path:
    base = f"{directory.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    names = [base, *(f"{base}-{number}" for number in range(1, 1000))]
    return next(path for name in names if not (path := directory.with_name(name)).exists())


def _launched_rank() -> int | None:
    """Return the rank that the launcher gave this process; None for a plain process."""
    from hpcad.parallel.launcher import detect

    launcher = detect(os.environ)
    return None if launcher is None else (launcher.rank or 0)


def _print_error(message: str) -> None:
    print(f"hpcad: error: {message}", file=sys.stderr, flush=True)
