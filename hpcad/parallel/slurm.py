"""What Slurm says of the job that a process belongs to."""

from __future__ import annotations

from collections.abc import Mapping


def job_name(environ: Mapping[str, str]) -> str:
    """The number by which ``scontrol`` finds this job alone; empty outside Slurm.

    One element of an array has the number of the whole array, so elements are named by both.

    Examples
    --------
    >>> job_name({"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"})
    '12_3'
    """
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environ.get("SLURM_JOB_ID", "")


def restarts(environ: Mapping[str, str]) -> int:
    """How often Slurm has started this job again; 0 where it does not say."""
    text = environ.get("SLURM_RESTART_COUNT", "")
    return int(text) if text.isdecimal() else 0
