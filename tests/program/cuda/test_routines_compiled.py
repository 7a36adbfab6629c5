"""NVRTC compiles every hand-written routine for sm_80 and sm_90; none of them is run here."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from hpcad.program.cuda.generate import prelude
from hpcad.program.cuda.nvrtc import find_nvrtc

from .routine_samples import QUICK, ROUTINES

ARCHITECTURES = ("sm_80", "sm_90")
IN_A_PROCESS = """
import sys
from pathlib import Path
from hpcad.program.cuda.compile import OPTIONS
from hpcad.program.cuda.nvrtc import find_nvrtc

name = sys.argv[1]
options = (f"--gpu-architecture={name}", *OPTIONS, "--ptxas-options=-v")
code, said = find_nvrtc().compile(Path("all.cu").read_text(), "all.cu", options)
Path(f"{name}.cubin").write_bytes(code)
Path(f"{name}.log").write_text(said)
"""


def compile_in_processes(routines, folder):
    """For each architecture, the code of all of them and what was said of it."""
    if find_nvrtc() is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    sources = {routine.name: routine.source for routine in routines}
    (folder / "all.cu").write_text("\n".join([prelude(), *sources.values()]))
    command = [sys.executable, "-c", IN_A_PROCESS]
    running = [subprocess.Popen([*command, name], cwd=folder) for name in ARCHITECTURES]
    assert [process.wait() for process in running] == [0] * len(running)
    return [
        ((folder / f"{name}.cubin").read_bytes(), (folder / f"{name}.log").read_text())
        for name in ARCHITECTURES
    ]


def require_code(routines, folder):
    """They become machine code, whose values stay in registers."""
    for code, said in compile_in_processes(routines, folder):
        assert code.startswith(b"\x7fELF")
        frames = dict(re.findall(r"entry function '(\w+)'.*?(\d+) bytes stack", said, re.DOTALL))
        for routine in routines:
            assert routine.entries
            for entry in routine.entries:
                assert f".text.{entry}\0".encode() in code
                assert int(frames[entry]) < 64, entry


def test_routines_are_machine_code(tmp_path):
    """One of each kind, for addresses that allow vectors."""
    require_code(
        [replace(ROUTINES[name], variants=ROUTINES[name].variants[:1]) for name in QUICK], tmp_path
    )


@pytest.mark.slow
def test_every_routine_is_machine_code(tmp_path):
    require_code(list(ROUTINES.values()), tmp_path)


def test_the_quick_ones_are_of_all_kinds():
    kinds = {routine.name.rpartition("_")[0] for routine in ROUTINES.values()}
    assert {ROUTINES[name].name.rpartition("_")[0] for name in QUICK} == kinds
