"""Batch scripts for the points of a study: one for every number of nodes, from a site's profile.

The scripts take files of orders as arguments and start one after the other. An array of jobs would
not do: its elements have the same number of nodes.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from hpcad.errors import ConfigError
from hpcad.launch.batch.command import LAUNCHERS, command
from hpcad.launch.batch.profile import Profile, load_profile
from hpcad.launch.batch.request import Request, check
from hpcad.launch.batch.script import comment, environment, modules, resources
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.study import LoadedStudy

_START = """\
set -euo pipefail

venv=${{VENV:-{venv}}} # virtual environment, visible on all nodes

ulimit -c 0 # a thousand ranks would write a thousand core files
"""

_THREADS = """\
# The study's own choice.
export OMP_NUM_THREADS={threads}
"""

_LOOP = """\
# Every file of orders is a start of its own. One that fails does not keep the others from running:
# `hpcad scaling run` looks at what each has left.
for orders in "$@"; do
  log=$(dirname "$orders")/../logs/$(basename "$orders" .json).log
  status=0 began=$SECONDS
  # -K1: one dead rank ends the step, instead of leaving the others waiting for it."""

_END = """\
  echo "$status $((SECONDS - began))" > "${orders%.json}.status"
done
"""


@dataclass(frozen=True)
class PointRequest(Request):
    """A request for nodes on which points of a study run."""

    @property
    def training(self) -> list[str]:
        """What follows the program's name, as a shell of the script's loop needs it."""
        return ["scaling", "point", '"$orders"']


def request_for(loaded: LoadedStudy, point: Point) -> PointRequest:
    """Ask for the nodes of a point.

    Raises
    ------
    ConfigError
        The ranks do not fill the nodes, or the site cannot run them.
    """
    launch = loaded.study.launch
    profile = load_profile(str(launch.site))
    nodes, each = layout(point.ranks, launch.ranks_per_node or profile.node.ranks)
    job = loaded.job
    job = replace(
        job,
        name=f"{loaded.study.name}-{nodes}x{each}",
        data=replace(job.data, batch=point.batch),
    )
    request = PointRequest(
        job,
        str(loaded.job_path),
        (),
        profile,
        str(launch.site),
        nodes,
        each,
        launch.time,
        launch.account,
        launch.partition,
    )
    check(request)
    return request


def layout(ranks: int, per_node: int) -> tuple[int, int]:
    """Nodes, and ranks on each.

    >>> layout(8, 4), layout(2, 4)
    ((2, 4), (1, 2))

    Raises
    ------
    ConfigError
        The last node would have fewer ranks than the others.
    """
    if ranks <= per_node:
        return 1, ranks
    if ranks % per_node:
        raise ConfigError(
            f"{ranks} ranks do not fill nodes of {per_node} ranks: the last would have fewer, and "
            f"be faster; take a multiple of {per_node}, or set [launch] ranks_per_node"
        )
    return ranks // per_node, per_node


def threads_of(loaded: LoadedStudy, profile: Profile) -> int:
    """Threads of a rank: the study's, or the site's, or one."""
    return loaded.study.launch.threads or profile.node.threads_per_rank or 1


def point_script(loaded: LoadedStudy, request: PointRequest) -> str:
    """The text of the script for the points of a request's size."""
    nodes = "1 node" if request.nodes == 1 else f"{request.nodes} nodes"
    ranks = "1 rank" if request.ranks_per_node == 1 else f"{request.ranks_per_node} ranks"
    title = request.profile.site.title
    about = f"Points of the scaling study {loaded.study.name} on {nodes} of {title}, {ranks} each."
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            *comment(about),
            "# Written, and submitted with files of orders as arguments, by:",
            f"#   hpcad scaling run {shlex.quote(str(loaded.path))}",
            "#",
            *resources(request),
            *_own_directives(request),
            "",
            _START.format(venv=shlex.quote(str(Path(sys.executable).parent.parent))),
            *modules(request),
            *environment(request),
            _THREADS.format(threads=threads_of(loaded, request.profile)),
            *_loop(loaded, request),
        ]
    )


def _own_directives(request: PointRequest) -> list[str]:
    lines = []
    if "--exclusive" not in request.profile.directives:
        lines += ["# What else ran there would be measured, too.", "#SBATCH --exclusive"]
    return [
        *lines,
        "# A job that began anew would measure another state of the machine.",
        "#SBATCH --no-requeue",
    ]


def _loop(loaded: LoadedStudy, request: PointRequest) -> list[str]:
    profile, lines = request.profile, [_LOOP]
    for option, setting in profile.srun.items():
        lines += _indented(comment(f"{option}: {setting.why}"))
    if profile.devices is not None:
        lines += _indented(comment(f"{profile.devices.variable}: {profile.devices.why}"))
        lines.append("  # shellcheck disable=SC2016 # the inner shell, one a rank, is to expand it")
    started = command(request, LAUNCHERS["srun"], '"$venv/bin/hpcad"')
    limit = f"timeout --kill-after=30 {loaded.study.launch.timeout:g} "
    first, *rest = f'{limit}{started} > "$log" 2>&1 || status=$?'.splitlines()
    return [*lines, *_indented([first, *rest]), _END]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
