"""The page on compiling: what its example prints, and that its settings exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from launched import run_bounded

from hpcad.backend.native.compiler import find_compiler

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guide" / "compiling.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def bare(text: str) -> str:
    """Without what differs from run to run and from machine to machine: times and folders."""
    text = re.sub(r"[^\s(]*/(\w+\.py:\d+)", r"\1", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"\b\d+\.\d{3}\b", "#", text)).strip()


def printed(text: str, tmp_path: Path, name: str) -> str:
    (tmp_path / name).write_text(text, encoding="utf-8")
    words = [sys.executable, "-W", "error", name]
    done = run_bounded(words, timeout=60, env={"OPENBLAS_NUM_THREADS": "1"}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return bare(done.stderr + done.stdout)


def test_the_example_prints_the_source_and_the_report_of_the_page(tmp_path):
    if find_compiler() is None:
        pytest.skip("no C compiler: the program is a list of NumPy calls")
    text = (ROOT / "docs" / "examples" / "compiled_step.py").read_text(encoding="utf-8")
    source, report = (block for block in CONSOLE if "program step:" in block or "def step" in block)
    shown = bare(source.partition("\n")[2] + "\n" + report)
    assert printed(text, tmp_path, "compiled_step.py") == re.sub(r"\n\n+", "\n\n", shown)


def test_the_log_says_what_the_page_says(tmp_path):
    (text,) = re.findall(r'^```python title="clipped.py"\n(.*?)^```$', PAGE, re.M | re.S)
    (shown,) = (block for block in CONSOLE if "clipped stays eager" in block)
    assert printed(text, tmp_path, "clipped.py") == bare(shown.partition("\n")[2])


def test_every_setting_of_the_page_is_one():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "hpcad").rglob("*.py"))
    named = set(re.findall(r"HPCAD_[A-Z_]+", PAGE))
    assert {"HPCAD_BLAS", "HPCAD_CC", "HPCAD_NATIVE", "HPCAD_CACHE_DIR"} <= named
    assert [name for name in sorted(named) if f'"{name}"' not in code] == []


def test_the_architecture_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hpcad").rglob("*.*")}
    files |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    named = set(re.findall(r"`([\w/]+\.(?:py|c|h))`", text))
    assert len(named) > 50
    assert [n for n in sorted(named) if not any(f"/{f}".endswith(f"/{n}") for f in files)] == []


def test_errors_of_functions_are_those_that_the_kernels_state():
    header = ROOT / "hpcad" / "backend" / "native" / "vectormath.h"
    stated = re.findall(r"\b([a-z]\w*) +(\d\.\d) +(\d\.\d)", header.read_text(encoding="utf-8"))
    shown = re.findall(r"`(\w+)` \| (\d\.\d) \| (\d\.\d)", PAGE)
    assert len(shown) >= 9
    assert sorted(shown) == sorted(stated)
