"""Which MPI library is loaded, with which settings, and when it is refused."""

from __future__ import annotations

import pytest

from hpcad.errors import LaunchError
from hpcad.parallel import library
from hpcad.parallel.launcher import HYDRA, OPEN_MPI, SRUN, Launcher

MPICH = "MPICH Version:      5.0.2\nMPICH Release date: today\n"
OMPI = "Open MPI v5.0.11, package: Open MPI user@localhost, ident: 5.0.11, Sep 25, 2026\0"


def promise(name: str, size: int | None) -> Launcher:
    return Launcher(name, size, 0, 0)


@pytest.mark.parametrize("launcher", [None, promise(SRUN, 4), promise("PMIx", None)])
def test_kept_or_absent_promise_passes(launcher):
    library.check_promise(launcher, 4, MPICH)


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        (SRUN, MPICH, "`srun --mpi=pmi2`"),
        (SRUN, OMPI, "`srun --mpi=pmix`"),
        (HYDRA, OMPI, "mpirun of that library|mpirun that belongs"),
        (OPEN_MPI, MPICH, "mpirun of that library|mpirun that belongs"),
    ],
)
def test_broken_promise_says_who_how_many_and_what_to_do(name, text, remedy):
    with pytest.raises(LaunchError, match=remedy) as caught:
        library.check_promise(promise(name, 4), 1, text)
    message = str(caught.value)
    assert message.startswith(f"{name} promised 4 ranks")
    assert library.short_version(text) in message
    assert "has 1;" in message


def test_short_version():
    assert library.short_version(MPICH) == "MPICH 5.0.2"
    assert library.short_version(OMPI) == "Open MPI v5.0.11"


def test_mpich_wheel_under_pmix_is_refused_before_it_aborts(monkeypatch):
    monkeypatch.setattr(library, "installed_wheel", lambda: "mpich")
    monkeypatch.delenv("PMI_RANK", raising=False)
    monkeypatch.setenv("PMIX_NAMESPACE", "slurm.pmix.3.0")
    with pytest.raises(LaunchError, match=r"promised 4 ranks through PMIx.*--mpi=pmi2"):
        library.load(promise(SRUN, 4))


def one_node(ranks: int, local: int) -> dict[str, str]:
    return {"OMPI_COMM_WORLD_SIZE": str(ranks), "OMPI_COMM_WORLD_LOCAL_SIZE": str(local)}


def test_open_mpi_defaults_on_one_node(tmp_path):
    environ = one_node(4, 4)
    library.set_open_mpi_defaults(environ, tmp_path / "absent")
    assert environ["OMPI_MCA_pml"] == "ob1"
    assert environ["OMPI_MCA_btl"] == "self,sm,tcp"
    assert environ["OMPI_MCA_osc"] == "^ucx"


def test_open_mpi_keeps_its_fabrics_between_nodes(tmp_path):
    environ = one_node(4, 2)
    library.set_open_mpi_defaults(environ, tmp_path / "absent")
    assert "OMPI_MCA_pml" not in environ
    assert "OMPI_MCA_btl" not in environ


def test_open_mpi_settings_of_the_user_stay(tmp_path):
    params = tmp_path / "mca-params.conf"
    params.write_text("# mine\nbtl = self,tcp\n")
    environ = one_node(2, 2) | {"OMPI_MCA_pml": "ucx"}
    library.set_open_mpi_defaults(environ, params)
    assert environ["OMPI_MCA_pml"] == "ucx"
    assert "OMPI_MCA_btl" not in environ
    assert environ["OMPI_MCA_osc"] == "^ucx"
