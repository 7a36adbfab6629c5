"""``import hpcad`` is quick and loads neither MPI, CuPy nor HDF5."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys
import hpcad
heavy = {"mpi4py", "mpi4py.MPI", "cupy", "h5py"} & set(sys.modules)
assert not heavy, heavy
"""


def run(program):
    return subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.alone
def test_import_is_quick_and_light():
    run(PROGRAM)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        run("import hpcad")
        times.append(time.perf_counter() - started)
    bare = []
    for _ in range(5):
        started = time.perf_counter()
        run("pass")
        bare.append(time.perf_counter() - started)
    assert min(times) - min(bare) < 0.3


def test_differentiating_needs_neither_mpi_nor_hdf5():
    run("import sys, hpcad; print(hpcad.grad(lambda x: x * x)(3.0));" + PROGRAM.split("hpcad\n")[1])


def test_every_public_name_can_be_had():
    import hpcad

    for name in hpcad.__all__:
        assert getattr(hpcad, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = hpcad.nonsense


@pytest.mark.parametrize(
    "program",
    [
        "from hpcad.autodiff import grad; print(grad(lambda x: x * x)(2.0))",
        "import hpcad.autodiff as a; print(4.0 * a.jvp(lambda x: x.mean(), (1.0,), (1.0,))[1])",
        "from hpcad.autodiff import Parameter as P; p = P(2.0); (p * p).backward(); print(p.grad)",
        "from hpcad.autodiff import tensor; print(tensor([1.0, 3.0]).sum())",
        "import hpcad.primitives; from hpcad import grad; print(grad(lambda x: x.dot(4.0))(1))",
    ],
)
def test_any_way_of_importing_gives_tensors_their_operators(program):
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.stdout.strip(), found.stderr) == ("4.0", "")
