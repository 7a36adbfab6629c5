"""Compiled libraries on disk: found again, rebuilt when damaged, compiled by one process."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import time

import pytest

from hpcad.backend.native import build as building
from hpcad.backend.native.build import build
from hpcad.backend.native.cache import cache_directory, intact, lock_directory
from hpcad.backend.native.compiler import find_compiler

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
SOURCE = "int answer(void) { return %d; }\n"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _libraries(cache):
    return sorted(cache.glob("*.so"))


@needs_compiler
def test_a_library_is_compiled_once_with_its_source_beside_it(cache):
    assert build(SOURCE % 42, "answer").answer() == 42
    (library,) = _libraries(cache)
    written = library.stat().st_mtime_ns
    assert build(SOURCE % 42, "answer").answer() == 42
    assert library.stat().st_mtime_ns == written
    assert library.with_suffix(".c").read_text() == SOURCE % 42
    assert len(list(cache.iterdir())) == 2  # nothing is left over


@needs_compiler
def test_another_source_and_another_header_are_other_libraries(cache, tmp_path):
    (tmp_path / "number.h").write_text("#define NUMBER 1\n")
    source = '#include "number.h"\nint answer(void) { return NUMBER; }\n'
    assert build(source, "answer", [tmp_path]).answer() == 1
    (tmp_path / "number.h").write_text("#define NUMBER 2\n")
    building._headers.cache_clear()
    assert build(source, "answer", [tmp_path]).answer() == 2
    assert build(SOURCE % 3, "answer").answer() == 3
    assert len(_libraries(cache)) == 3


@needs_compiler
@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_library_is_noticed_and_compiled_anew(cache, damage):
    build(SOURCE % 7, "answer")
    (library,) = _libraries(cache)
    content = bytearray(library.read_bytes())
    content[len(content) // 2] ^= 0xFF
    whole = {"cut": content[: len(content) // 2], "flip": content, "empty": b""}[damage]
    library.unlink()  # the loaded file itself must stay as it is
    library.write_bytes(whole)
    assert not intact(library)
    assert build(SOURCE % 7, "answer").answer() == 7
    assert intact(library)


@needs_compiler
def test_an_error_of_the_compiler_is_one_warning_and_no_library(cache, caplog):
    with caplog.at_level(logging.WARNING):
        assert build("int answer(void) { return undeclared_name; }\n", "wrong") is None
    assert len(caplog.records) == 1
    assert "undeclared_name" in caplog.text
    assert "NumPy computes instead" in caplog.text
    assert list(cache.iterdir()) == []


def test_without_a_compiler_there_is_no_library(cache, monkeypatch):
    monkeypatch.setenv("HPCAD_NATIVE", "0")
    assert build(SOURCE % 1, "answer") is None


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_one(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path / "file" / "cache"))
    found = cache_directory()
    assert found.is_dir()
    assert tmp_path not in found.parents


def test_the_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.delenv("HPCAD_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "hpcad"


# -- several processes --------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc here")
def test_of_several_processes_on_a_node_one_compiles(cache, tmp_path):
    log = tmp_path / "log"
    slow = tmp_path / "slow-cc"
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *answer*) echo x >> {log}; sleep 0.3;; esac\nexec cc "$@"\n'
    )
    slow.chmod(0o755)
    script = (
        "from hpcad.backend.native.build import build\n"
        f"assert build({SOURCE % 5!r}, 'answer').answer() == 5\n"
    )
    settings = {"HPCAD_CC": str(slow), "HPCAD_CACHE_DIR": str(cache), "HPCAD_NATIVE": "1"}
    environment = {**os.environ, **settings}
    ranks = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(3)]
    assert [rank.wait(60) for rank in ranks] == [0, 0, 0]
    assert log.read_text() == "x\n"


@needs_compiler
def test_nobody_waits_for_ever_for_a_lock(cache, monkeypatch):
    compiler = find_compiler()
    key = building._key(SOURCE % 6, (building.HEADERS,), compiler)
    lock = lock_directory() / f"answer-{key}.lock"
    monkeypatch.setattr(building, "PATIENCE", 0.1)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        started = time.monotonic()
        assert build(SOURCE % 6, "answer").answer() == 6
        assert time.monotonic() - started >= 0.1
    lock.unlink()


def test_a_lock_directory_that_others_can_write_is_not_trusted(tmp_path):
    assert lock_directory(tmp_path) == tmp_path / f"hpcad-{os.getuid()}"
    (tmp_path / f"hpcad-{os.getuid()}").chmod(0o777)
    assert lock_directory(tmp_path) is None


def test_a_link_is_no_lock_directory(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"hpcad-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    assert lock_directory(tmp_path) is None


@needs_compiler
def test_libraries_load_after_their_checksum(cache):
    build(SOURCE % 8, "answer")
    (library,) = _libraries(cache)
    assert ctypes.CDLL(str(library)).answer() == 8
