"""A batch script for Slurm, with a comment for every setting that says why it is there."""

from __future__ import annotations

import shlex
import textwrap

from hpcad.launch.batch.command import LAUNCHERS, command
from hpcad.launch.batch.profile import Setting
from hpcad.launch.batch.request import WARNING_SECONDS, Request, notes

_WIDTH = 98

_START = """\
set -euo pipefail

venv=${VENV:-.venv}                   # virtual environment, visible on all nodes
most_restarts=${MOST_RESTARTS:-100}   # then the job stays ended, whatever ended it

ulimit -c 0 # a thousand ranks would write a thousand core files
"""

_END_TIME = """\
# When this job ends; newer versions of Slurm say it themselves. hpcad saves and stops before.
if [[ -z ${SLURM_JOB_END_TIME:-}${HPCAD_END_TIME:-} ]]; then
  ends=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e) || ends=none
  HPCAD_END_TIME=$(date --date="$ends" +%s 2> /dev/null) || HPCAD_END_TIME=none
  export HPCAD_END_TIME
fi
"""

_THREADS = """\
# What NumPy's linear algebra and hpcad's own loops use in each rank.
export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{threads}}}
"""

_CPUS = """\
# --cpus-per-task of a job does not reach srun by itself since Slurm 22.05.
export SRUN_CPUS_PER_TASK={cpus}
"""

_RUN = """\
echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), nodes $SLURM_JOB_NODELIST"

# -K1: one dead rank ends the step, instead of leaving the others waiting for it. -u: lines reach
# the log at once."""

_END = """\
# A time limit does not requeue a job, nor does a preemption that left it time to end. So it asks
# for that itself when the run has saved and ended early, and goes on from its checkpoint.
"$venv/bin/hpcad" slurm requeue "$status" --most "$most_restarts" || true
exit "$status"
"""


def batch_script(request: Request) -> str:
    """Return the text of the script."""
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            *_header(request),
            "#",
            *_directives(request),
            "",
            _START,
            _END_TIME,
            *modules(request),
            *environment(request),
            *_run(request),
        ]
    )


def _header(request: Request) -> list[str]:
    each = "1 rank" if request.ranks_per_node == 1 else f"{request.ranks_per_node} ranks"
    nodes = "1 node" if request.nodes == 1 else f"{request.nodes} nodes"
    about = f"Train {request.path} on {nodes} of {request.profile.site.title}, {each} a node."
    lines = [*comment(about), "# Made by:", f"#   {request.generation}"]
    lines += comment("Submit it where relative paths shall begin: sbatch THIS_FILE")
    return lines + [line for note in notes(request) for line in comment(f"Note: {note}")]


def _directives(request: Request) -> list[str]:
    return [
        *resources(request),
        "# The log of all starts of a requeued job; without append each start would erase it.",
        "#SBATCH --output=%x-%j.log",
        "#SBATCH --open-mode=append",
        "# After a node has failed, or a job of higher priority took the nodes.",
        "#SBATCH --requeue",
        "# To the ranks, not to this script (no B:), so long before the end or 60 s earlier.",
        f"#SBATCH --signal=USR1@{WARNING_SECONDS}",
    ]


def resources(request: Request) -> list[str]:
    """The directives that ask for nodes, time, and what the site wants."""
    profile = request.profile
    lines = [
        f"#SBATCH --job-name={_job_name(request)}",
        f"#SBATCH --nodes={request.nodes}",
        f"#SBATCH --ntasks-per-node={request.ranks_per_node}",
    ]
    if profile.node.cpus_per_rank is not None:
        lines.append(f"#SBATCH --cpus-per-task={profile.node.cpus_per_rank}")
    lines.append(f"#SBATCH --time={request.time}")
    given = {"--account": request.account, "--partition": request.partition}
    lines += [f"#SBATCH {option}={word}" for option, word in given.items() if word]
    if profile.site.account and not request.account and "--account" not in profile.directives:
        lines += comment(
            f"An account was not given: sbatch --account=... THIS_FILE ({profile.site.account})"
        )
    for option, setting in profile.directives.items():
        if not given.get(option):
            lines += comment(setting.why)
            lines.append(f"#SBATCH {_option(option, setting)}")
    return lines


def modules(request: Request) -> list[str]:
    """The lines that load the site's modules."""
    if not request.profile.modules:
        return []
    lines = ["set +u # the functions behind `module` use variables that are not set"]
    for name, setting in request.profile.modules.items():
        lines += comment(setting.why)
        version = f"/{setting.value}" if setting.value else ""
        lines.append(f"module load {shlex.quote(name + version)}")
    return [*lines, "set -u", ""]


def environment(request: Request) -> list[str]:
    """The lines that set the variables of the ranks."""
    node, lines = request.profile.node, []
    if node.cpus_per_rank is not None:
        lines.append(_CPUS.format(cpus=node.cpus_per_rank))
    if node.threads_per_rank is not None:
        lines.append(_THREADS.format(threads=node.threads_per_rank))
    for name, setting in request.profile.environment.items():
        lines += comment(setting.why)
        lines.append(f"export {name}={shlex.quote(setting.value)}")
    return [*lines, ""] if request.profile.environment else lines


def _run(request: Request) -> list[str]:
    profile = request.profile
    lines = [_RUN]
    for option, setting in profile.srun.items():
        lines += comment(f"{option}: {setting.why}")
    if profile.devices is not None:
        lines += comment(f"{profile.devices.variable}: {profile.devices.why}")
    lines.append("status=0")
    if profile.devices is not None:
        lines.append("# shellcheck disable=SC2016 # the inner shell, one a rank, is to expand it")
    started = command(request, LAUNCHERS["srun"], '"$venv/bin/hpcad"')
    lines += [f"{started} || status=$?", ""]
    return [*lines, _END]


def _option(option: str, setting: Setting) -> str:
    return f"{option}={setting.value}" if setting.value else option


def _job_name(request: Request) -> str:
    """The job's name without what ends a word for sbatch, or has a meaning in a log's name."""
    return "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in request.job.name
    )


def comment(text: str) -> list[str]:
    """A text as lines of a comment."""
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
