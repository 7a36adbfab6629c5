"""Which libraries are found, and what is said about those that are not."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpcad.backend.gemm import libraries
from hpcad.backend.gemm.check import mistakes
from hpcad.backend.gemm.library import inspect
from hpcad.backend.gemm.search import numpy_library
from hpcad.errors import ConfigError


def numpys():
    library = numpy_library()
    if library is None:
        pytest.skip("NumPy's BLAS has no cblas entry points here")
    return library


def test_numpys_own_library_is_the_first_candidate():
    library = numpys()
    assert libraries()[0] is library
    assert set(library.gemm) == {"float32", "float64", "complex64", "complex128"}
    assert Path(library.path).is_file()
    assert library.path in library.identity


def test_naming_numpy_leaves_only_numpy(monkeypatch):
    monkeypatch.setenv("HPCAD_BLAS", "numpy")
    assert libraries() == (numpys(),)


def test_a_library_can_be_named_by_its_path(monkeypatch):
    monkeypatch.setenv("HPCAD_BLAS", numpys().path)
    assert libraries() == (numpys(),)  # the same file is one candidate


@pytest.mark.parametrize("name", ["no_such_blas", "/no/such/libblas.so"])
def test_a_library_that_is_not_there_is_an_error_with_what_was_tried(monkeypatch, name):
    monkeypatch.setenv("HPCAD_BLAS", name)
    with pytest.raises(ConfigError, match=rf"(?s){name}.*Tried:\n  \S*{name}.*path of a shared"):
        libraries()


def test_a_library_without_entry_points_is_an_error(monkeypatch):
    monkeypatch.setenv("HPCAD_BLAS", ctypes.util.find_library("m") or "libm.so.6")
    with pytest.raises(ConfigError, match="neither cblas_sgemm nor dnnl_sgemm"):
        libraries()


def test_what_has_no_products_is_no_library():
    assert inspect("python", ctypes.CDLL(None)) is None


def test_wrong_products_are_noticed():
    good = numpys()
    assert mistakes(good) == ""
    # The function of the narrower type stays inside of the arrays.
    swapped = {"float64": good.gemm["float32"]}
    wrong = mistakes(dataclasses.replace(good, gemm=swapped, gemv={}))
    assert wrong.startswith("float64 (5, 3) x (3, 7)")


def test_a_library_is_loaded_with_as_many_threads_as_numpy():
    """OpenBLAS would start a thread per core in every rank, whatever the rank's share."""
    program = (
        "import ctypes, os\n"
        "from threadpoolctl import threadpool_limits, threadpool_info\n"
        "import numpy\n"
        "threadpool_limits(1, user_api='blas')\n"
        "os.environ.pop('OPENBLAS_NUM_THREADS', None)\n"
        "from hpcad.backend.gemm import libraries\n"
        "found = libraries()\n"
        "print(sorted({entry['num_threads'] for entry in threadpool_info()\n"
        "              if entry['user_api'] == 'blas'}), 'OPENBLAS_NUM_THREADS' in os.environ)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={"HPCAD_BLAS": "scipy", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
    )  # fmt: skip
    assert run.stdout.split() == ["[1]", "False"]


def test_scipys_library_multiplies_too(monkeypatch):
    monkeypatch.setenv("HPCAD_BLAS", "scipy")
    try:
        found = libraries()
    except ConfigError as error:
        pytest.skip(f"SciPy brings no library here: {error}")
    for library in found:
        assert mistakes(library) == "", library.name
    assert len({library.path for library in found}) == len(found)
    assert np.dtype("float32").name in found[-1].gemm
