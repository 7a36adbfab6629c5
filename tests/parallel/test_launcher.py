"""Each launcher is recognised by its environment, and an allocation alone promises nothing."""

from __future__ import annotations

import pytest

from hpcad.parallel.launcher import HYDRA, OPEN_MPI, SRUN, Launcher, detect

BATCH_SCRIPT = {
    "SLURM_JOB_ID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_NPROCS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}
STEP = BATCH_SCRIPT | {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
HYDRA_RANK = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
OPEN_MPI_RANK = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "PMIX_RANK": "1",
}
FLUX_TASK = {"FLUX_TASK_RANK": "2", "FLUX_JOB_SIZE": "8", "FLUX_TASK_LOCAL_ID": "0"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (HYDRA_RANK, Launcher(HYDRA, 2, 1, 1)),
        (OPEN_MPI_RANK, Launcher(OPEN_MPI, 2, 1, 1)),
        (STEP, Launcher(SRUN, 4, 3, 1)),
        (STEP | {"PMI_RANK": "3", "PMI_SIZE": "4"}, Launcher(SRUN, 4, 3, 1)),  # srun --mpi=pmi2
        (FLUX_TASK | {"PMI_RANK": "2", "PMI_SIZE": "8"}, Launcher("Flux", 8, 2, 0)),
        (
            {"PALS_RANKID": "5", "PALS_LOCAL_RANKID": "1", "PMI_RANK": "5", "PMI_SIZE": "8"},
            Launcher("Cray PALS", 8, 5, 1),
        ),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, Launcher("PMI", 2, 0, None)),
        ({"PMIX_RANK": "7"}, Launcher("PMIx", None, 7, None)),
    ],
)
def test_each_launcher_is_recognised(environ, expected):
    assert detect(environ) == expected


def test_batch_script_promises_nothing():
    assert detect(BATCH_SCRIPT) is None


def test_salloc_shell_promises_nothing():
    assert detect({"SLURM_JOB_ID": "4", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4"}) is None


@pytest.mark.parametrize("step", ["4294967290", "4294967291", "4294967292", "batch"])
def test_steps_of_slurm_itself_promise_nothing(step):
    assert detect(STEP | {"SLURM_STEP_ID": step}) is None


def test_mpirun_inside_a_slurm_job_outranks_slurm():
    proxies = STEP | {"SLURM_STEP_NUM_TASKS": "2"}  # Hydra's own srun: one task per node
    assert detect(proxies | HYDRA_RANK) == Launcher(HYDRA, 2, 1, 1)
    assert detect(BATCH_SCRIPT | OPEN_MPI_RANK) == Launcher(OPEN_MPI, 2, 1, 1)


def test_heterogeneous_job_promises_no_size():
    found = detect(STEP | {"SLURM_HET_SIZE": "2"})
    assert found is not None
    assert found.size is None


def test_garbled_number_is_no_promise():
    found = detect(HYDRA_RANK | {"PMI_SIZE": "two"})
    assert found is not None
    assert found.size is None
