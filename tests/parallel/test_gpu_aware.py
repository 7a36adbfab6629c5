"""Whether MPI is GPU-aware: yes only where the library, or its build, says so."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest
from launched import mpirun

from hpcad.errors import ConfigError
from hpcad.parallel.devices import gpu_aware as module
from hpcad.parallel.devices.gpu_aware import gpu_aware, judge

OPEN_MPI = "Open MPI v5.0.8, package: Open MPI, ident: 5.0.8"
MPICH = "MPICH Version:      5.0.2\nMPICH Device: ch4"
CRAY = "MPI VERSION    : CRAY MPICH version 8.1.28.2"
GTL = "/opt/cray/pe/mpich/8.1.28/gtl/lib/libmpi_gtl_cuda.so.0"


def nothing():
    return ""


def open_mpi(answer):
    return SimpleNamespace(MPIX_Query_cuda_support=lambda: answer)


def mpich(answer, failed=0):
    def query(kind, found):
        assert kind.value == 0  # CUDA
        ctypes.cast(found, ctypes.POINTER(ctypes.c_int))[0] = answer
        return failed

    return SimpleNamespace(MPIX_GPU_query_support=query)


@pytest.mark.parametrize("answer", [0, 1])
def test_open_mpi_is_asked(answer):
    verdict = judge({}, OPEN_MPI, open_mpi(answer), [], nothing)
    assert verdict.aware == (answer == 1)
    assert verdict.how == f"Open MPI's MPIX_Query_cuda_support says {['no', 'yes'][answer]}"


def test_ompi_info_counts_only_where_the_library_cannot_be_asked():
    built = "mca:mpi:base:param:mpi_built_with_cuda_support:value:true\n"
    assert judge({}, OPEN_MPI, SimpleNamespace(), [], lambda: built).aware
    assert not judge({}, OPEN_MPI, open_mpi(0), [], lambda: built).aware
    assert not judge(
        {}, OPEN_MPI, SimpleNamespace(), [], lambda: built.replace("true", "false")
    ).aware
    assert "neither" in judge({}, OPEN_MPI, None, [], nothing).how


@pytest.mark.parametrize("answer", [0, 1])
def test_mpich_is_asked(answer):
    verdict = judge({}, MPICH, mpich(answer), [], nothing)
    assert verdict.aware == (answer == 1)
    assert verdict.how == f"MPICH's MPIX_GPU_query_support says {['no', 'yes'][answer]}"


def test_mpich_that_was_told_not_to_or_fails_or_is_old_is_no():
    assert not judge({"MPIR_CVAR_ENABLE_GPU": "0"}, MPICH, mpich(1), [], nothing).aware
    assert not judge({}, MPICH, mpich(1, failed=5), [], nothing).aware
    assert not judge({}, MPICH, SimpleNamespace(), [], nothing).aware


def test_cray_needs_the_variable_and_the_library():
    wanted = {"MPICH_GPU_SUPPORT_ENABLED": "1"}
    assert judge(wanted, CRAY, None, [GTL], nothing).aware
    assert not judge(wanted, CRAY, None, [], nothing).aware
    assert not judge({}, CRAY, None, [GTL], nothing).aware
    assert not judge({"MPICH_GPU_SUPPORT_ENABLED": "0"}, CRAY, None, [GTL], nothing).aware


@pytest.mark.parametrize("version", ["Intel(R) MPI Library 2021.13", "MVAPICH 4.0", "", "new"])
def test_libraries_that_are_not_known_are_no_even_if_they_have_the_function(version):
    library = SimpleNamespace(**vars(open_mpi(1)), **vars(mpich(1)))
    verdict = judge({}, version, library, [GTL], nothing)
    assert not verdict.aware
    assert "no way to ask" in verdict.how


def test_the_variable_overrides_everything():
    assert judge({"HPCAD_GPU_AWARE": "1"}, "new", None, [], nothing).aware
    verdict = judge({"HPCAD_GPU_AWARE": "0"}, OPEN_MPI, open_mpi(1), [], nothing)
    assert (verdict.aware, verdict.how) == (False, "HPCAD_GPU_AWARE=0")
    with pytest.raises(ConfigError, match="HPCAD_GPU_AWARE='yes' is not understood"):
        judge({"HPCAD_GPU_AWARE": "yes"}, MPICH, None, [], nothing)


def test_ompi_info_is_that_of_the_same_installation(tmp_path):
    program, library = tmp_path / "bin" / "ompi_info", tmp_path / "lib" / "libmpi.so.40"
    for file in (program, library):
        file.parent.mkdir()
    library.touch()
    assert module.ompi_info(str(library)) == ""
    program.write_text(f"#!{sys.executable}\nprint('said', __import__('sys').argv[1:])\n")
    program.chmod(0o755)
    assert module.ompi_info(str(library)) == "said ['--parsable', '--all']\n"
    assert module.ompi_info("") == ""


def test_without_mpi_nothing_is_loaded_and_the_answer_is_no():
    assert not gpu_aware({}, "").aware


ASK = """
from mpi4py import MPI
from hpcad.parallel.devices.gpu_aware import gpu_aware
verdict = gpu_aware({}, MPI.Get_library_version())
print("VERDICT", verdict.aware, verdict.how)
"""


def test_the_library_of_the_tests_is_asked_itself():
    done = mpirun(1, ["-c", ASK], timeout=60)
    said = next(line for line in done.stdout.splitlines() if line.startswith("VERDICT"))
    known = "MPIX_GPU_query_support says", "MPIX_Query_cuda_support says", "no way to ask"
    assert any(text in said for text in known), said
