"""NVRTC compiles every hand-written routine for sm_80 and sm_90; none of them is run here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from hpcad.program.cuda.generate import prelude
from hpcad.program.cuda.nvrtc import find_nvrtc

from .routine_samples import ROUTINES

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


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """For each architecture the code of all routines, and what was said of it."""
    if find_nvrtc() is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    folder = tmp_path_factory.mktemp("routines")
    sources = {routine.name: routine.source for routine in ROUTINES.values()}
    (folder / "all.cu").write_text("\n".join([prelude(), *sources.values()]))
    command = [sys.executable, "-c", IN_A_PROCESS]
    running = [subprocess.Popen([*command, name], cwd=folder) for name in ARCHITECTURES]
    assert [process.wait() for process in running] == [0] * len(running)
    return {
        name: ((folder / f"{name}.cubin").read_bytes(), (folder / f"{name}.log").read_text())
        for name in ARCHITECTURES
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_routine_is_machine_code(compiled, architecture):
    code, _ = compiled[architecture]
    assert code.startswith(b"\x7fELF")
    for routine in ROUTINES.values():
        assert routine.entries
        for entry in routine.entries:
            assert f".text.{entry}\0".encode() in code


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_values_stay_in_registers(compiled, architecture):
    said = compiled[architecture][1]
    frames = dict(re.findall(r"entry function '(\w+)'.*?(\d+) bytes stack", said, re.DOTALL))
    for name, routine in ROUTINES.items():
        for entry in routine.entries:
            assert int(frames[entry]) < 64, name
