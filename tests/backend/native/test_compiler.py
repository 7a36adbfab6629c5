"""Which C compiler is found, and what happens where none works."""

from __future__ import annotations

import logging
import shutil

import pytest

from hpcad.backend.native import compiler
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
