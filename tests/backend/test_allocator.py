"""Freed large blocks are reused, in every program that computes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hpcad.backend.allocator import keep_large_blocks
from hpcad.errors import ConfigError

PROGRAM = """
import resource
import numpy as np
{load}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    chain = [np.ones(1 << 19, np.float32)]
    for _ in range(8):
        chain.append(chain[-1] + chain[0])
work(); work()
before = faults()
for _ in range(4):
    work()
print((faults() - before) // 4)
"""


def faults(load: str, **environment: str) -> int:
    """Page faults per step of a program with eight temporaries of 2 MiB."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "HPCAD"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(load=load)],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.fixture(scope="module", autouse=True)
def _glibc():
    try:
        is_glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError):
        is_glibc = False
    if not is_glibc:
        pytest.skip("only glibc's allocator is tuned")


def test_a_program_that_loads_the_namespace_stops_faulting():
    assert faults("import hpcad.numpy") < 50


@pytest.mark.parametrize(
    "wish", [{"HPCAD_MALLOC": "system"}, {"MALLOC_TRIM_THRESHOLD_": "131072"}], ids=str
)
def test_whoever_wants_another_allocator_is_left_alone(wish):
    assert faults("import hpcad.numpy", **wish) > 1000


@pytest.mark.parametrize(("wish", "kept"), [("all", True), ("", False)])
def test_blocks_of_any_size_are_kept_on_request(wish, kept):
    load = "import hpcad.numpy\nnp.ones = lambda n, d: np.full(17 * n, 1, d)"  # 34 MiB
    assert (faults(load, HPCAD_MALLOC=wish) < 50) == kept


def test_an_unknown_wish_is_an_error(monkeypatch):
    monkeypatch.setenv("HPCAD_MALLOC", "jemalloc")
    with pytest.raises(ConfigError, match="HPCAD_MALLOC must be 'all' or 'system'"):
        keep_large_blocks.__wrapped__()
