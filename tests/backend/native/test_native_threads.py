"""One pool for all libraries: who does what, nesting, forks, and idle workers that sleep."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from hpcad.backend.native import threads
from hpcad.backend.native.compiler import find_compiler
from hpcad.backend.native.library import load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")

SOURCE = """
#include "threads.h"
typedef struct { long *owner; long n, grain; } job;
static void own(void *context, long begin, long end, int worker)
{
    job *j = context;
    for (long i = begin; i < end; i++)
        j->owner[i] += 1 + worker;
}
static void nested(void *context, long begin, long end, int worker)
{
    (void)worker;
    for (long i = begin; i < end; i++) {
        job *j = (job *)context + i;
        hp_parallel_for(own, j, j->n, j->grain);
    }
}
void run(long *owner, long n, long grain)
{
    job j = {owner, n, grain};
    hp_parallel_for(own, &j, n, grain);
}
void run_nested(long *owner, long n, long grain)
{
    job jobs[2] = {{owner, n, grain}, {owner + n, n, grain}};
    hp_parallel_for(nested, jobs, 2, 1);
}
int available(void) { return hp_threads(); }
"""

CORES = """
#define _GNU_SOURCE
#include <sched.h>
#include "threads.h"
static void where(void *context, long begin, long end, int worker)
{
    (void)begin, (void)end;
    ((int *)context)[worker] = sched_getcpu();
}
void run(int *cores) { hp_parallel_for(where, cores, 2, 1); }
"""


@pytest.fixture(scope="module")
def library():
    loaded = load(SOURCE, "threads-test")
    for function in (loaded.run, loaded.run_nested):
        function.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return loaded


@pytest.fixture
def count(library):
    """Set the number of threads, and put it back."""
    before = threads.threads()
    yield threads.set_threads
    threads.set_threads(before)


def _owners(library, n, grain):
    owner = np.zeros(n, np.int64)
    library.run(owner.ctypes.data, n, grain)
    return owner - 1


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize(("n", "grain"), [(1000, 16), (17, 16), (16, 16), (5, 1), (1, 4), (0, 8)])
def test_every_element_has_one_owner_and_pieces_are_whole_grains(library, count, workers, n, grain):
    count(workers)
    owner = _owners(library, n, grain)
    assert (np.diff(owner) >= 0).all()
    borders = np.flatnonzero(np.diff(owner)) + 1
    assert (borders % grain == 0).all()
    grains = -(-n // grain)
    assert len(set(owner.tolist())) == min(workers, grains)


def test_all_libraries_share_the_number_of_threads(library, count):
    other = load("// another library\n" + SOURCE, "threads-test")
    count(3)
    assert library.available() == other.available() == 3
    count(0)
    assert library.available() == 1


def test_nested_calls_cut_the_work_like_others(library, count):
    count(3)
    owner = np.zeros(2000, np.int64)
    library.run_nested(owner.ctypes.data, 1000, 16)
    plain = _owners(library, 1000, 16)
    np.testing.assert_array_equal(owner - 1, np.concatenate([plain, plain]))


def test_callers_at_the_same_time_all_get_their_work_done(library, count):
    count(2)
    owners = [np.zeros(300, np.int64) for _ in range(4)]

    def call(owner):
        for _ in range(500):
            library.run(owner.ctypes.data, 300, 16)

    callers = [threading.Thread(target=call, args=(owner,)) for owner in owners]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    expected = 500 * (_owners(library, 300, 16) + 1)
    for owner in owners:
        np.testing.assert_array_equal(owner, expected)


def test_idle_workers_sleep(library, count):
    count(4)
    _owners(library, 1000, 16)
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.05  # three spinning workers would take 0.2 or more


def test_a_forked_child_starts_afresh(tmp_path):
    script = f"""
import ctypes, os, warnings
import numpy as np
from hpcad.backend.native import threads
from hpcad.backend.native.library import load
warnings.simplefilter("ignore")
library = load({SOURCE!r}, "threads-test")
threads.set_threads(3)
def owners():
    owner = np.zeros(900, np.int64)
    library.run(ctypes.c_void_p(owner.ctypes.data), ctypes.c_long(900), ctypes.c_long(1))
    return owner.tolist()
before = owners()
assert sorted(set(before)) == [1, 2, 3]
child = os.fork()
if child == 0:
    os._exit(0 if owners() == owners() == before else 1)
assert os.waitpid(child, 0)[1] == 0
assert owners() == before
"""
    done = subprocess.run(
        [sys.executable, "-c", script], timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def _threads_of_a_new_process(**environment):
    script = "import numpy\nfrom hpcad.backend.native import threads\nprint(threads.threads())"
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", script]
    return int(subprocess.check_output(command, env={**clean, **environment}, timeout=60))


@pytest.mark.skipif(not threadpool_info(), reason="threadpoolctl does not know this BLAS")
def test_the_default_is_what_blas_uses():
    assert _threads_of_a_new_process(OMP_NUM_THREADS="1") == 1
    if len(os.sched_getaffinity(0)) > 1:
        assert _threads_of_a_new_process(OMP_NUM_THREADS="2") == 2


def test_a_worker_does_not_wait_on_the_core_of_the_caller():
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only")
    library = load(CORES, "threads-cores-test")
    before = threads.threads()
    threads.set_threads(2)
    try:
        cores = (ctypes.c_int * 2)()
        apart = 0
        for _ in range(200):
            library.run(cores)
            apart += cores[0] != cores[1]
    finally:
        threads.set_threads(before)
    assert apart > 150  # the system may move either of them at any time
