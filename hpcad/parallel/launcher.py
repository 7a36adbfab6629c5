"""What the program that started this process promised, read from the environment.

Only a *promise*: several pairs of launcher and MPI library start N processes that never find one
another, each believing to be alone. :func:`hpcad.parallel.init` therefore compares the promise
with the world that MPI delivers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Launcher:
    """A launcher's promise.

    Attributes
    ----------
    name : str
        For messages, e.g. ``"srun (Slurm)"``.
    size, rank, local_rank : int or None
        World size, rank in it, rank on this node; ``None`` where the launcher does not say.
    """

    name: str
    size: int | None
    rank: int | None
    local_rank: int | None


SRUN = "srun (Slurm)"
OPEN_MPI = "mpirun (Open MPI)"
HYDRA = "mpirun (Hydra: MPICH or Intel MPI)"

# Innermost launcher first: an mpirun inside a Slurm job sees Slurm's variables too, and Hydra
# starts its own proxies with srun. A row applies when its rank and local rank variables are set.
#
#    launcher      rank                    size                    local rank
_TABLE = (
    (OPEN_MPI,    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    (HYDRA,       "PMI_RANK",             "PMI_SIZE",             "MPI_LOCALRANKID"),
    ("Cray PALS", "PALS_RANKID",          "PMI_SIZE",             "PALS_LOCAL_RANKID"),
    ("jsrun",     "JSM_NAMESPACE_RANK",   "JSM_NAMESPACE_SIZE",   "JSM_NAMESPACE_LOCAL_RANK"),
    ("MVAPICH",   "MV2_COMM_WORLD_RANK",  "MV2_COMM_WORLD_SIZE",  "MV2_COMM_WORLD_LOCAL_RANK"),
    ("Flux",      "FLUX_TASK_RANK",       "FLUX_JOB_SIZE",        "FLUX_TASK_LOCAL_ID"),
    (SRUN,        "SLURM_PROCID",         "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    ("PMI",       "PMI_RANK",             "PMI_SIZE",             None),
    ("PMIx",      "PMIX_RANK",            None,                   None),
)  # fmt: skip


def detect(environ: Mapping[str, str]) -> Launcher | None:
    """Return the promise of the innermost launcher, or ``None`` for a plain process.

    Parameters
    ----------
    environ : mapping
        Normally ``os.environ``.

    Notes
    -----
    The script of ``sbatch`` and the shell of ``salloc`` carry ``SLURM_NTASKS``, the size of the
    *allocation*; a program started there without ``srun`` or ``mpirun`` is one process, and is
    promised nothing. So only the variables of a step count.
    """
    for name, rank, size, local_rank in _TABLE:
        if rank not in environ or (local_rank and local_rank not in environ):
            continue
        if name == SRUN and not _is_task_step(environ):
            continue
        return Launcher(
            name, _promised_size(environ, size), _int(environ, rank), _int(environ, local_rank)
        )
    return None


#: Where batch systems put the name of a job (Slurm, PBS, LSF, Grid Engine, Flux).
_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")


def batch_job(environ: Mapping[str, str]) -> str:
    """The name that a batch system gave this process's job; empty outside of one.

    Examples
    --------
    >>> batch_job({"PBS_JOBID": "12.server"})
    '12.server'
    """
    return next((environ[name] for name in _JOB_VARIABLES if name in environ), "")


def _promised_size(environ: Mapping[str, str], variable: str | None) -> int | None:
    # In a heterogeneous Slurm job each component counts only its own tasks.
    if variable == "SLURM_STEP_NUM_TASKS" and "SLURM_HET_SIZE" in environ:
        return None
    return _int(environ, variable)


def _is_task_step(environ: Mapping[str, str]) -> bool:
    """Whether this is a step of ``srun``, not the batch script or an interactive shell.

    Slurm numbers its own steps (batch, extern, interactive) from the top of 32 bits.
    """
    step = _int(environ, "SLURM_STEP_ID")
    return step is not None and 0 <= step < 0xFFFFFFF0


def _int(environ: Mapping[str, str], variable: str | None) -> int | None:
    try:
        return int(environ[variable or ""])
    except (KeyError, ValueError):
        return None
