"""The library is found where it is, and what to do is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcad.backend.cublaslt import search
from hpcad.backend.cublaslt.binding import version_of
from hpcad.backend.native import nvidia
from hpcad.errors import DeviceError


@pytest.fixture(autouse=True)
def _forget():
    search._find.cache_clear()
    yield
    search._find.cache_clear()


class Loaded:
    """Stands for a library; the version is that in its name."""

    def __init__(self, path):
        if "missing" in path or not path.startswith("/"):
            raise OSError("no such file")
        self.path, self.version = path, (int(path.rsplit(".", 1)[1]), 0, 0)


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Two folders with libraries."""
    monkeypatch.delenv(search.VARIABLE, raising=False)
    for name in ("one/libcublasLt.so.12", "two/libcublasLt.so.13", "two/libcublasLt.so.13.1.0"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setattr(search, "CublasLt", Loaded)
    monkeypatch.setattr(nvidia, "_folders", lambda: iter([tmp_path / "one", tmp_path / "two"]))
    return tmp_path


def test_the_newest_is_taken(folders):
    assert search.find_cublaslt().path == str(folders / "two/libcublasLt.so.13")


def test_the_newest_that_the_driver_can_load_is_taken(folders):
    assert search.find_cublaslt(newest=12).path == str(folders / "one/libcublasLt.so.12")


def test_a_driver_that_is_too_old_is_named(folders):
    with pytest.raises(DeviceError, match=r"no cuBLASLt for a driver of CUDA 11 .*HPCAD_CUBLASLT"):
        search.require_cublaslt(newest=11)


def test_a_wish_comes_first(folders, monkeypatch):
    monkeypatch.setenv(search.VARIABLE, str(folders / "one/libcublasLt.so.12"))
    assert search.find_cublaslt().version == (12, 0, 0)


def test_a_wish_that_is_no_library_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "lib.so").write_text("no library")
    monkeypatch.setenv(search.VARIABLE, str(tmp_path / "lib.so"))
    with pytest.raises(DeviceError, match=r"HPCAD_CUBLASLT=.*cannot be loaded"):
        search.find_cublaslt()


def test_another_library_is_an_error(monkeypatch):
    import _ctypes

    monkeypatch.setenv(search.VARIABLE, _ctypes.__file__)
    with pytest.raises(DeviceError, match="cannot be loaded as libcublasLt"):
        search.find_cublaslt()


def test_toolkits_are_searched(monkeypatch):
    monkeypatch.setenv("CUDA_HOME", "/some/toolkit")
    assert Path("/some/toolkit/lib64") in list(nvidia._folders())


@pytest.mark.parametrize(
    ("number", "version"), [(130101, (13, 1, 1)), (120805, (12, 8, 5)), (130400, (13, 4, 0))]
)
def test_versions(number, version):
    assert version_of(number) == version
