"""Put a job back into Slurm's queue, when the way in which its run ended asks for that.

The batch script does it when the ranks have left, and not one of the ranks: Slurm kills a job that
it requeues, and then nothing of it is left to be killed.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from hpcad.errors import LaunchError
from hpcad.parallel.slurm import job_name, restarts
from hpcad.training.result import OUT_OF_TIME

#: Exit codes of a run that wants to go on, and why.
AGAIN = {
    128 + signal.SIGUSR1: "told to stop, and saved",
    OUT_OF_TIME: "out of time, and saved",
}
#: How often a job is started again; the limit of last resort.
MOST_RESTARTS = 100
#: A run that is preempted, but also one that was cancelled, or that Slurm requeues by itself.
TERMINATED = 128 + signal.SIGTERM

_PREEMPTED = re.compile(r"\bPreemptTime=\d")
_SECONDS = 60

Scontrol = Callable[[Sequence[str]], str]


def requeue(
    status: int, most: int, environ: Mapping[str, str], scontrol: Scontrol | None = None
) -> str:
    """Requeue this job if it should go on; return a sentence that says what was done and why.

    Parameters
    ----------
    status : int
        Exit code of ``srun hpcad train`` or ``mpirun hpcad train``.
    most : int
        How often a job may be started again.
    environ : mapping
        Normally ``os.environ``.
    scontrol : callable, optional
        Runs ``scontrol`` with some words and returns what it printed.

    Raises
    ------
    LaunchError
        ``scontrol`` refuses, or is not there.
    """
    scontrol = scontrol or _scontrol
    job = job_name(environ)
    if not job:
        return "not requeued: this is no Slurm job (SLURM_JOB_ID is not set); start it again"
    why = AGAIN.get(status)
    if status == TERMINATED and _PREEMPTED.search(scontrol(["show", "job", "-o", job])):
        # Slurm requeues it only if it is still there when its time of grace is over.
        why = "preempted, and saved"
    if why is None:
        return f"job {job} is not requeued: exit code {status} does not ask for it"
    if restarts(environ) >= most:
        return f"{why}, but job {job} is not requeued: it was restarted {restarts(environ)} times"
    scontrol(["requeue", job])
    return f"{why}: job {job} is requeued"


def _scontrol(words: Sequence[str]) -> str:
    command = ["scontrol", *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no answer in {_SECONDS} s"
        raise LaunchError(f"`{' '.join(command)}` failed: {reason}; requeue the job by hand") from (
            error
        )
    if done.returncode:
        raise LaunchError(
            f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}; "
            "requeue the job by hand"
        )
    return done.stdout
