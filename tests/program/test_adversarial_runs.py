"""Programs among threads, forks, signals and other programs."""

from __future__ import annotations

import _thread
import gc
import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest

import hpcad
import hpcad.numpy as hnp
from hpcad import Parameter, nn, optim
from hpcad.autodiff.state import STATE
from hpcad.backend.native.threads import set_threads, threads

X = np.linspace(-0.5, 0.75, 24).reshape(4, 6)
W = np.linspace(0.1, 0.3, 18).reshape(6, 3)


class Net(nn.Module):
    def __init__(self):
        self.w = Parameter(W)
        self.b = Parameter(np.zeros(3))

    def forward(self, x):
        return hnp.tanh(x @ self.w + self.b)


def training(compiled, schedule=0.1):
    """A model and its step; ``schedule`` may call the step, and more."""
    model = Net()
    optimizer = optim.SGD(model, 0.1)

    def step(x):
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    step = hpcad.compile(step, strict=True) if compiled else step
    if callable(schedule):
        optimizer.schedule = lambda i: schedule(i, step)
    return model, optimizer, step


@pytest.fixture
def two_threads():
    before = threads()
    set_threads(2)
    yield
    set_threads(before)


# -- calls within calls --------------------------------------------------------------------------


def test_an_effect_may_call_the_function_again():
    def once():
        calls = []

        def again(_, step):
            calls.append(0)
            if len(calls) == 6:
                step(2 * X)
            return 0.1

        return again

    (ours, _, step), (other, _, eager) = training(True, once()), training(False, once())
    for _ in range(8):
        np.testing.assert_allclose(float(step(X)), float(eager(X)), rtol=1e-12)
    np.testing.assert_allclose(ours.w.numpy(), other.w.numpy(), rtol=1e-12)


def test_a_recursive_function_and_one_that_calls_another():
    @hpcad.compile
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    outer = hpcad.compile(lambda x: power(x, 2) + power(hnp.sin(x), 1), strict=True)
    for i in range(5):
        np.testing.assert_allclose(power(X + i, 3), (X + i) ** 4, rtol=1e-13)
        np.testing.assert_allclose(outer(X), X**3 + np.sin(X) ** 2, rtol=1e-12)


def test_two_functions_that_share_parameters():
    def life(compiled):
        model = Net()
        optimizer = optim.Adam(model, 0.01)

        def gather(x):
            loss = (model(x) ** 2).sum()
            loss.backward()
            return loss

        def learn(x):
            loss = (model(x) * 3).sum()
            loss.backward()
            optimizer.step()
            return loss

        if compiled:
            gather, learn = hpcad.compile(gather), hpcad.compile(learn)
        losses = []
        for i in range(9):
            losses += [float(gather(X + 0.1 * i))] * (i % 3 != 1) + [float(learn(X - 0.1 * i))]
            if i == 5:
                model.w.assign(W)
            if i > 5:
                model.b.freeze(i == 6)
        return [*losses, *model.w.numpy().ravel()]

    np.testing.assert_allclose(life(True), life(False), rtol=1e-10)


# -- threads -------------------------------------------------------------------------------------


def test_threads_that_call_a_function_before_it_is_compiled(two_threads):
    model, wrong = Net(), []

    def f(x):
        return hnp.tanh(x @ x.T) @ x + (model(x) @ W.T).detach()

    compiled = hpcad.compile(f)

    def work(k):
        for _ in range(20):
            found, expected = compiled(X + k / 9), f(X + k / 9)
            if not np.allclose(found.numpy(), expected.numpy(), rtol=1e-12):
                wrong.append(k)

    _run([threading.Thread(target=work, args=(k,)) for k in range(8)])
    assert not wrong


def test_threads_that_train_models_of_their_own():
    wrong = []

    def work(k):
        (ours, _, step), (other, _, eager) = training(True), training(False)
        for i in range(20):
            step(X + 0.01 * i)
            eager(X + 0.01 * i)
        if not np.allclose(ours.w.numpy(), other.w.numpy(), rtol=1e-10):
            wrong.append(k)

    _run([threading.Thread(target=work, args=(k,)) for k in range(4)])
    assert not wrong


def _run(workers):
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_runs_and_makes_programs(two_threads):
    big = np.linspace(-1, 1, 90_000).reshape(300, 300)

    def f(x):
        return hnp.tanh(x @ x.T) @ x

    compiled = hpcad.compile(f, strict=True)
    for _ in range(4):
        compiled(big)
    child = os.fork()
    if child == 0:
        other = hpcad.compile(lambda x: hnp.exp(-x * x).sum(axis=0), strict=True)
        for _ in range(4):
            found = other(big)
        right = np.allclose(compiled(big + 1), f(big + 1)) and np.allclose(found, other(big))
        os._exit(0 if right else 1)
    assert _status(child) == 0
    np.testing.assert_allclose(compiled(big), f(big), rtol=1e-10, atol=1e-10)


def _status(child):
    for _ in range(200):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "the child hangs"


# -- interruptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_breaks_off_in_an_effect_leaves_what_an_eager_call_leaves(error):
    broken = False

    def breaking(*_):
        if broken:
            raise error("boom")
        return 0.1

    (ours, _, step), (other, _, eager) = training(True, breaking), training(False, breaking)
    for i in range(8):
        broken = i == 4
        for f in (step, eager):
            if broken:
                with pytest.raises(error, match="boom"):
                    f(X)
            else:
                f(X)
        for p, q in zip(ours.parameters(), other.parameters(), strict=True):
            assert p.fresh == q.fresh
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12)
            np.testing.assert_allclose(p.grad, q.grad, rtol=1e-10)


@pytest.fixture
def heeded():
    """Ctrl-C raises, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_an_interrupt_in_the_middle_of_a_run_leaves_the_program_usable():
    big = np.random.default_rng(0).standard_normal((300, 300))
    f = hpcad.compile(lambda x: hnp.tanh(x @ x) @ x * 1.0, strict=True)
    for _ in range(3):
        f(big)

    def until(seconds):
        threading.Timer(seconds, _thread.interrupt_main).start()
        for _ in range(10_000):
            f(big)

    for k in range(6):
        with pytest.raises(KeyboardInterrupt):
            until(0.01 + 0.001 * k)
        np.testing.assert_allclose(f(big), np.tanh(big @ big) @ big, rtol=1e-9, atol=1e-9)


def test_an_interrupt_of_the_capture_leaves_no_capture():
    model, stop = Net(), True

    def step(x):
        loss = (model(x) ** 2).sum()
        loss.backward()
        if stop:
            raise KeyboardInterrupt
        return loss

    compiled = hpcad.compile(step)
    with pytest.raises(KeyboardInterrupt):
        compiled(X)
    assert STATE.capture is None
    assert STATE.depth == 0
    stop = False
    for _ in range(5):
        model.w.fresh = model.b.fresh = False
        compiled(X)
    found = model.w.grad.copy()
    model.w.fresh = False
    step(X)
    np.testing.assert_allclose(found, model.w.grad, rtol=1e-12)


# -- ends ----------------------------------------------------------------------------------------


def test_a_program_dies_with_its_function():
    compiled = hpcad.compile(lambda x: hnp.tanh(x) @ W)
    for _ in range(4):
        compiled(X)
    program = weakref.ref(compiled.program)
    del compiled
    gc.collect()
    assert program() is None


def test_a_name_that_is_deleted_is_missed():
    model = Net()
    compiled = hpcad.compile(lambda x: model(x).detach())  # noqa: F821
    for _ in range(4):
        compiled(X)
    del model
    with pytest.raises(NameError, match="model"):
        compiled(X)


def test_more_signatures_than_programs_are_kept():
    compiled = hpcad.compile(lambda x: x * 2 + 1, native=False)
    for k in [*range(100), *range(30)]:
        for _ in range(3):
            np.testing.assert_array_equal(compiled(np.arange(float(k))), np.arange(k) * 2 + 1)
    assert len(compiled._entries) <= 64


def test_arrays_of_the_user_that_lie_askew_or_get_another_shape():
    askew = np.zeros(24 * 8 + 1, np.uint8)[1:].view(float)
    data = np.ones((4, 6))
    compiled = hpcad.compile(lambda x: (x[0] @ askew.reshape(6, 4), x * askew.reshape(4, 6) * data))
    for i in range(5):
        askew[...] = np.arange(24.0) * i
        found = compiled(X)
        np.testing.assert_allclose(found[1], X * askew.reshape(4, 6), rtol=1e-14)
    data = np.ones(24).reshape(4, 6)
    np.testing.assert_allclose(compiled(X)[1], X * askew.reshape(4, 6), rtol=1e-14)
