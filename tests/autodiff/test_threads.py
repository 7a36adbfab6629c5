"""Eight threads that differentiate at once get the numbers of one, to the bit."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad.autodiff import Parameter
from hpcad.autodiff.state import STATE

X = np.linspace(-1.0, 1.0, 6)
V = np.cos(X)
W = np.sin(np.arange(36.0)).reshape(6, 6) / 6


def f(x):
    for _ in range(15):
        x = hnp.tanh(hnp.matmul(W, x)) + 0.1 * x
    return (x**2).sum()


def with_parameters():
    p = Parameter(W.copy())
    (hnp.tanh(hnp.matmul(p, X)) ** 2).sum().backward()
    return p.grad


def by_tapes():
    with hpcad.Tape() as outer:
        x = outer.watch(X)
        with hpcad.Tape() as inner:
            y = inner.watch(x)
            z = f(y)
        slope = (inner.gradient(z, y) * V).sum()
    return outer.gradient(slope, x)


WORK = {
    "grad": lambda: hpcad.grad(f)(X),
    "jvp": lambda: hpcad.jvp(f, (X,), (V,))[1],
    "nested": lambda: hpcad.grad(lambda x: (hpcad.grad(f)(x) * V).sum())(X),
    "hvp": lambda: hpcad.hvp(f, X, V),
    "hessian": lambda: hpcad.hessian(f)(X),
    "linearize": lambda: hpcad.linearize(hpcad.grad(f), X)[1](V),
    "parameters": with_parameters,
    "tapes": by_tapes,
    "root": lambda: hpcad.grad(lambda a: hpcad.root(lambda x, a: x**3 - a, V, a).sum())(X**2 + 1),
}


@pytest.mark.parametrize("mixed", [False, True])
def test_threads_give_the_numbers_of_one_thread(mixed):
    expected = {name: run() for name, run in WORK.items()}
    start = threading.Barrier(8)
    wrong, states = [], []

    def work(k):
        names = list(WORK)[k % len(WORK) :] + list(WORK)[: k % len(WORK)] if mixed else list(WORK)
        start.wait()
        for _ in range(3):
            for name in names:
                try:
                    if not np.array_equal(WORK[name](), expected[name]):
                        wrong.append(name)
                except Exception as error:  # noqa: BLE001  (any failure is a finding)
                    wrong.append((name, repr(error)))
        states.append((STATE.depth, STATE.traces, STATE.recording))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert states == [(0, [], True)] * 8


def test_parameters_shared_by_threads_that_do_not_write():
    p = Parameter(W.copy())
    expected = hpcad.grad(lambda x: (hnp.matmul(p.value, x) ** 2).sum())(X)
    found = []

    def work():
        with hpcad.no_grad():
            slope = hpcad.grad(lambda x: (hnp.matmul(p, x) ** 2).sum())(X)
        found.append(np.array_equal(slope.numpy() if hasattr(slope, "numpy") else slope, expected))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_a_tensor_of_another_threads_transform_is_refused():
    caught = []

    def inside(x):
        def work():
            try:
                hpcad.grad(lambda y: y * x)(1.0)
            except hpcad.errors.DifferentiationError as error:
                caught.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return x * x

    assert hpcad.grad(inside)(3.0) == 6.0
    assert len(caught) == 1
    assert "left the transform or thread that made it" in caught[0]


def test_a_function_may_use_threads_of_its_own():
    """They record on one tape, and none gets the place of another."""

    def part(x, k):
        y = x
        for _ in range(100):
            y = hnp.sin(y) + 0.01 * k * x
        return y.sum()

    def threaded(x):
        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(lambda k: part(x, k), range(8)))

    expected = hpcad.grad(lambda x: sum(part(x, k) for k in range(8)))(X)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            np.testing.assert_allclose(hpcad.grad(threaded)(X), expected, rtol=1e-12)
    finally:
        sys.setswitchinterval(interval)
