"""NVRTC compiles every kernel for the devices of today's machines; none of them is run here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from hpcad.backend.native.compiler import CompilationError
from hpcad.errors import DeviceError
from hpcad.program.cuda import compile as compiling
from hpcad.program.cuda.compile import compile_cubin, require_nvrtc
from hpcad.program.cuda.generate import generate, translation_unit
from hpcad.program.cuda.nvrtc import Nvrtc, find_nvrtc

from .every_kernel import HALVES, SAMPLES, TABLES

ARCHITECTURES = ("sm_80", "sm_90")
KERNELS = SAMPLES | TABLES | HALVES
ADDITION = 'extern "C" __global__ void add(float *x) { x[threadIdx.x] += 1; }\n'
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
def nvrtc():
    found = find_nvrtc()
    if found is None:
        pytest.skip("NVRTC is not installed (pip install 'hpcad[nvrtc]')")
    return found


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def compiled(nvrtc, tmp_path_factory):
    """Functions, and for each architecture the code of all of them and what was said of it."""
    generated = [generate(kernel, name) for name, kernel in KERNELS.items()]
    entries = {kernel.name: kernel.entries for kernel in generated}
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "all.cu").write_text(translation_unit(generated))
    # In processes of their own: within one, NVRTC compiles one source after the other.
    command = [sys.executable, "-c", IN_A_PROCESS]
    running = [subprocess.Popen([*command, name], cwd=folder) for name in ARCHITECTURES]
    assert [process.wait() for process in running] == [0] * len(running)
    return entries, {
        name: ((folder / f"{name}.cubin").read_bytes(), (folder / f"{name}.log").read_text())
        for name in ARCHITECTURES
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_is_machine_code(compiled, name, architecture):
    entries, codes = compiled
    code, _ = codes[architecture]
    assert code.startswith(b"\x7fELF")
    assert entries[name]
    for entry in entries[name]:
        assert f".text.{entry}\0".encode() in code


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_values_kept_for_later_stay_in_registers(compiled, architecture):
    entries, codes = compiled
    said = codes[architecture][1]
    frames = dict(re.findall(r"entry function '(\w+)'.*?(\d+) bytes stack", said, re.DOTALL))
    for name in (name for name in SAMPLES | HALVES if not name.endswith("float64")):
        for entry in entries[name]:
            assert int(frames[entry]) < 32  # the smallest array of a thread is larger


def test_code_comes_from_the_cache_the_second_time(nvrtc, cache, monkeypatch):
    first = compile_cubin(ADDITION, "sm_80", "addition", nvrtc)
    monkeypatch.setattr(Nvrtc, "compile", None)
    assert compile_cubin(ADDITION, "sm_80", "addition", nvrtc) == first
    (source,) = cache.glob("addition-sm_80-*.cu")
    assert source.read_text() == ADDITION


def test_each_architecture_has_code_of_its_own(nvrtc, cache):
    codes = {compile_cubin(ADDITION, name, "addition", nvrtc) for name in ARCHITECTURES}
    assert len(codes) == len(list(cache.glob("addition-*.cubin"))) == 2


def test_damaged_code_is_compiled_anew(nvrtc, cache):
    first = compile_cubin(ADDITION, "sm_90", "addition", nvrtc)
    (file,) = cache.glob("*.cubin")
    file.write_bytes(file.read_bytes()[:-40])
    assert compile_cubin(ADDITION, "sm_90", "addition", nvrtc) == first


def test_a_refused_source_shows_the_message_and_the_line(nvrtc, cache):
    wrong = ADDITION.replace("+= 1", "+= unknown")
    with pytest.raises(CompilationError) as refusal:
        compile_cubin(wrong, "sm_80", "addition", nvrtc)
    assert 'identifier "unknown" is undefined' in str(refusal.value)
    assert "x[threadIdx.x] += unknown" in str(refusal.value)
    assert not list(cache.glob("*.cubin"))


def test_code_for_an_older_driver_is_not_taken_from_a_newer_compiler(nvrtc):
    older = find_nvrtc(newest=nvrtc.version[0] - 1)
    assert older is None or older.version[0] < nvrtc.version[0]
    assert set(ARCHITECTURES) <= set(nvrtc.architectures())


def test_without_nvrtc_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(compiling, "find_nvrtc", lambda newest: None)
    with pytest.raises(DeviceError, match=r"CUDA 12 or older.*hpcad\[cuda13\].*HPCAD_NVRTC"):
        require_nvrtc(newest=12)


def test_a_named_library_that_is_none_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HPCAD_NVRTC", str(tmp_path / "libnvrtc.so"))
    with pytest.raises(DeviceError, match="HPCAD_NVRTC"):
        find_nvrtc()
