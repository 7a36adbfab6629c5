"""How init tells one process from a world, and a broken launch from a good one."""

from __future__ import annotations

import sys

import pytest
from launched import mpirun, run_bounded

REPORT = r"""
import sys
from hpcad.parallel import init
world = init()
loaded = "mpi4py.MPI" in sys.modules
line = f"{world.rank} {world.size} {world.launcher} {world.thread_level} {loaded}"
sys.stdout.write(line + "\n")  # one write: lines of several ranks stay whole
"""
STEP = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "0",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}
NO_MPI_LIBRARY = """
import sys, importlib.abc

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "mpi4py.MPI":
            raise RuntimeError("cannot load MPI library\\nlibmpi.so: no such file")

sys.meta_path.insert(0, Absent())
"""


def python(program: str, **env: str):
    return run_bounded([sys.executable, "-c", program], timeout=60, env=env)


def test_plain_process_is_alone_and_loads_no_mpi():
    done = python(REPORT)
    assert (done.returncode, done.stdout) == (0, "0 1 none none False\n"), done.stderr


def test_batch_script_is_a_plain_process():
    done = python(REPORT, SLURM_JOB_ID="3", SLURM_NTASKS="4", SLURM_PROCID="0", SLURM_LOCALID="0")
    assert done.stdout == "0 1 none none False\n", done.stderr


def test_mpi_on_request():
    done = python(REPORT, HPCAD_MPI="1")
    assert done.stdout == "0 1 none multiple True\n", done.stderr


def test_mpi_refused_on_request():
    done = python(REPORT, HPCAD_MPI="0", **OPEN_MPI)
    assert done.stdout == "0 1 mpirun (Open MPI) none False\n", done.stderr


def test_request_that_is_not_understood():
    done = python(REPORT, HPCAD_MPI="yes")
    assert done.returncode != 0
    assert "ConfigError: HPCAD_MPI='yes'" in done.stderr.replace("hpcad.errors.", "")


@pytest.mark.parametrize(
    ("launcher", "environ"), [("srun (Slurm)", STEP), ("mpirun (Open MPI)", OPEN_MPI)]
)
def test_silent_single_process_is_refused(launcher, environ):
    done = python(REPORT, **environ)
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"LaunchError: {launcher} promised 4 ranks" in done.stderr
    assert "has 1; start it with" in done.stderr


def test_every_rank_of_a_split_world_ends_with_an_error():
    """mpirun -n 2 of a world that calls itself 4: no rank may go on."""
    program = f"import os; os.environ.update({OPEN_MPI!r})\n" + REPORT
    done = mpirun(2, ["-c", program])
    assert done.returncode != 0
    assert done.stdout == ""
    assert "promised 4 ranks" in done.stderr
    assert "has 2;" in done.stderr


def test_launcher_without_mpi_library():
    done = python(NO_MPI_LIBRARY + REPORT, **STEP)
    assert done.returncode != 0
    assert "LaunchError: this process was started by srun (Slurm), but mpi4py" in done.stderr
    assert "pip install mpich" in done.stderr


def test_one_promised_process_needs_no_mpi_library():
    done = python(NO_MPI_LIBRARY + REPORT, **(STEP | {"SLURM_STEP_NUM_TASKS": "1"}))
    assert done.stdout == "0 1 srun (Slurm) none False\n", done.stderr


def test_program_that_initialises_mpi_itself_is_met():
    program = "import mpi4py; mpi4py.rc.initialize = False\n" + REPORT
    done = mpirun(2, ["-c", program])
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == ["0", "1"], done.stderr


def test_gpu_where_there_is_none():
    program = "from hpcad.parallel import init; init(device='gpu')"
    done = python("import sys; sys.modules['cupy'] = None\n" + program)
    assert done.returncode != 0
    assert "DeviceError: a GPU was asked for" in done.stderr
    assert "device = 'cpu'" in done.stderr


def test_unknown_device():
    done = python("from hpcad.parallel import init; init(device='tpu')")
    assert "ConfigError: unknown device 'tpu'; expected one of cpu, gpu, auto" in done.stderr


def test_ranks_divide_the_cores():
    program = """
import os
from hpcad.parallel import init
world = init()
fair = max(1, len(os.sched_getaffinity(0)) // world.local_size)
agreed = world.communicator.gather_json([world.blas_threads, fair])
if world.is_root:
    print(all(mine == expected for mine, expected in agreed), len(agreed))
"""
    none = {"OPENBLAS_NUM_THREADS": "", "OMP_NUM_THREADS": "", "MKL_NUM_THREADS": ""}
    done = mpirun(2, ["-c", program], env=none)
    assert done.stdout.split() == ["True", "2"], done.stderr
