"""The command that starts the ranks, for each launcher.

`LAUNCHERS` is the table of those that hpcad knows. A launcher differs from another in how it is
told the numbers, the binding and the environment, and in the variable that holds the local rank.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from hpcad.errors import ConfigError
from hpcad.launch.batch.profile import Profile
from hpcad.launch.batch.request import Request

Words = Callable[[Request], list[str]]
_INDENT = " \\\n  "


@dataclass(frozen=True)
class Launcher:
    """How ranks are started.

    Attributes
    ----------
    about : str
        Whose command it is.
    local_rank : str
        The variable in which a rank finds its number on the node.
    words : callable
        From a request to the command with its options, a line of the script each.
    """

    about: str
    local_rank: str
    words: Words


def environment(request: Request) -> dict[str, str]:
    """The variables that all ranks need: those of the site, and the threads of a rank."""
    profile = request.profile
    variables = {name: setting.value for name, setting in profile.environment.items()}
    if profile.node.threads_per_rank is not None:
        variables["OMP_NUM_THREADS"] = str(profile.node.threads_per_rank)
    return variables


def device_words(profile: Profile, local_rank: str) -> list[str]:
    """The words before the program that show each rank its own device; none where Slurm does."""
    if profile.devices is None:
        return []
    order = " ".join(map(str, profile.devices.order))
    shown = f"export {profile.devices.variable}=${{order[${local_rank}]}}"
    return [f"bash -c 'order=({order}); {shown}; exec \"$@\"' rank"]


def command(request: Request, launcher: Launcher, program: str) -> str:
    """Return the whole command, over several lines.

    Parameters
    ----------
    program : str
        The `hpcad` to start, quoted as a shell needs it.
    """
    words = launcher.words(request) + device_words(request.profile, launcher.local_rank)
    return _INDENT.join([*words, " ".join([program, *request.training])])


def launcher_named(name: str) -> Launcher:
    """Return one of `LAUNCHERS`.

    Raises
    ------
    ConfigError
        There is none of that name.
    """
    if name not in LAUNCHERS:
        known = ", ".join(LAUNCHERS)
        raise ConfigError(f"there is no launcher {name!r}; known: {known}")
    return LAUNCHERS[name]


def _srun(request: Request) -> list[str]:
    options = [
        f"{option}={shlex.quote(setting.value)}" if setting.value else option
        for option, setting in request.profile.srun.items()
    ]
    return ["srun -K1 -u", *options]


def _mpirun(request: Request) -> list[str]:
    cores = request.profile.node.threads_per_rank
    mapping = f"--map-by ppr:{request.ranks_per_node}:node"
    bound = f"{mapping}:PE={cores} --bind-to core" if cores else f"{mapping} --bind-to none"
    return [f"mpirun -n {request.ranks} {bound}", *_variables("-x {}={}", request)]


def _hydra(request: Request) -> list[str]:
    cores = request.profile.node.threads_per_rank
    binding = f"-bind-to core:{cores}" if cores else "-bind-to none"
    start = f"mpiexec -n {request.ranks} -ppn {request.ranks_per_node} {binding}"
    return [start, *_variables("-genv {} {}", request)]


def _pals(request: Request) -> list[str]:
    cores = request.profile.node.threads_per_rank
    binding = f"--cpu-bind depth --depth {cores}" if cores else "--cpu-bind none"
    start = f"mpiexec -n {request.ranks} --ppn {request.ranks_per_node} {binding}"
    return [start, *_variables("--env {}={}", request)]


def _variables(form: str, request: Request) -> list[str]:
    return [form.format(name, shlex.quote(text)) for name, text in environment(request).items()]


LAUNCHERS = {
    "srun": Launcher("Slurm", "SLURM_LOCALID", _srun),
    "mpirun": Launcher("Open MPI 5", "OMPI_COMM_WORLD_LOCAL_RANK", _mpirun),
    "hydra": Launcher("MPICH and Intel MPI", "MPI_LOCALRANKID", _hydra),
    "pals": Launcher("Cray PALS, under PBS", "PALS_LOCAL_RANKID", _pals),
}
