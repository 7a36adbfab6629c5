"""Which C compiler is found, and what happens where none works."""

from __future__ import annotations

import functools
import logging
import shutil

import pytest

from hpcad.backend.native import compiler, remembered
from hpcad.backend.native.compiler import CompilationError, find_compiler


def _script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def _wanted(monkeypatch):
    monkeypatch.delenv("HPCAD_NATIVE", raising=False)


def test_hpcad_native_0_means_no_compiler(monkeypatch):
    monkeypatch.setenv("HPCAD_NATIVE", "0")
    assert find_compiler() is None


def test_none_is_found_on_an_empty_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HPCAD_CC", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)  # no wheel ziglang either
    assert find_compiler() is None


def test_a_compiler_that_does_not_compile_is_reported_and_passed_over(
    monkeypatch, tmp_path, caplog
):
    broken = _script(tmp_path / "broken-cc", 'test "$1" = --version')
    working = find_compiler()
    monkeypatch.setenv("HPCAD_CC", broken)
    with caplog.at_level(logging.WARNING):
        found = find_compiler()
    assert "broken-cc does not compile" in caplog.text
    assert found == working


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc here")
def test_hpcad_cc_wins_over_cc_and_may_have_arguments(monkeypatch, tmp_path):
    own = _script(tmp_path / "own-cc", 'exec cc "$@"')
    monkeypatch.setenv("HPCAD_CC", f"{own} -DHP_SOMETHING")
    monkeypatch.setenv("CC", "gcc")
    found = find_compiler()
    assert found is not None
    assert found.command == (own, "-DHP_SOMETHING")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc here")
def test_flags_that_a_compiler_does_not_understand_are_left_out(monkeypatch, tmp_path):
    plain = _script(
        tmp_path / "plain-cc", 'case "$*" in *=native*) exit 1;; *) exec cc "$@";; esac'
    )
    monkeypatch.setenv("HPCAD_CC", plain)
    found = find_compiler()
    assert found is not None
    assert not any("native" in flag for flag in found.flags)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
def test_a_refused_source_raises_the_words_of_the_compiler(tmp_path):
    source = tmp_path / "wrong.c"
    source.write_text("int answer(void) { return undeclared_name; }\n")
    with pytest.raises(CompilationError, match="undeclared_name"):
        find_compiler().compile(source, tmp_path / "wrong.so")


# -- remembered on disk -------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """A compiler that writes a line each time it runs, with a cache of its own."""
    if shutil.which("cc") is None:
        pytest.skip("no cc here")
    runs = tmp_path / "runs"
    path = _script(tmp_path / "counted-cc", f'echo x >> {runs}\nexec cc "$@"')
    monkeypatch.setenv("HPCAD_CC", path)
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path / "cache"))

    def found():
        fresh = functools.cache(compiler._find.__wrapped__)  # as another process would begin
        monkeypatch.setattr(compiler, "_find", fresh)
        return find_compiler(), len(runs.read_text().splitlines())

    return found


def test_a_compiler_that_worked_is_not_tried_again(counted):
    first, runs = counted()
    assert runs > 0
    assert counted() == (first, runs)


def test_a_compiler_that_was_replaced_is_tried_again(counted, tmp_path):
    _, runs = counted()
    path = tmp_path / "counted-cc"
    path.write_text(path.read_text() + "# newer\n")
    assert counted()[1] > runs


@pytest.mark.parametrize("damage", [b"", b"{}", b"no json, and no checksum"])
def test_a_damaged_memory_is_no_memory(counted, tmp_path, damage):
    first, runs = counted()
    (memory,) = (tmp_path / "cache").glob("compiler-*.json")
    memory.write_bytes(damage)
    again, more = counted()
    assert again == first
    assert more > runs


def test_facts_that_make_no_sense_are_no_memory(counted):
    first, runs = counted()
    for facts in ({"tuning": ["-fno-such-flag"], "version": "1"}, {}):
        remembered.remember(first.command, compiler._TRIED, facts)
        again, more = counted()
        assert again == first
        assert more > runs
        runs = more


def test_a_broken_compiler_is_not_remembered(monkeypatch, tmp_path):
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HPCAD_CC", _script(tmp_path / "broken-cc", 'test "$1" = --version'))
    find_compiler()
    kept = [remembered.recall((str(tmp_path / "broken-cc"),), compiler._TRIED)]
    assert kept == [None]
