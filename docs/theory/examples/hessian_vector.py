"""Hessian times vector, three ways: forward over reverse, reverse over forward, reverse twice.

The function is the loss of a small network in its weights. Prints how the results agree, and time
and memory in units of those of one gradient.
"""

import time
import tracemalloc
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

import hpcad
import hpcad.numpy as hnp

SIZES = (8, 256)


def make_loss(n, batch=64):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(batch, n)), rng.normal(size=(batch, n))
    return lambda w: ((hnp.tanh(hnp.tanh(x @ w) @ w.T) - y) ** 2).mean()


def forward_over_reverse(f, w, v):
    return hpcad.jvp(hpcad.grad(f), (w,), (v,))[1]


def reverse_over_forward(f, w, v):
    return hpcad.grad(lambda w: hpcad.jvp(f, (w,), (v,))[1])(w)


def reverse_over_reverse(f, w, v):
    return hpcad.grad(lambda w: (hpcad.grad(f)(w) * v).sum())(w)


WAYS = (forward_over_reverse, reverse_over_forward, reverse_over_reverse)


def seconds(run, repeats=9):
    """Of processor time: other programs on the machine do not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def peak(run):
    """Largest number of bytes allocated at once."""
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def measured(n):
    """(name, largest relative difference from the first way, time and memory in gradients)."""
    rng = np.random.default_rng(1)
    f, w, v = make_loss(n), rng.normal(size=(n, n)) / n**0.5, rng.normal(size=(n, n))
    first = WAYS[0](f, w, v)
    once, memory = seconds(lambda: hpcad.grad(f)(w)), peak(lambda: hpcad.grad(f)(w))
    for way in WAYS:
        off = np.abs(way(f, w, v) - first).max() / np.abs(first).max()
        run = partial(way, f, w, v)
        yield way.__name__, off, seconds(run) / once, peak(run) / memory


if __name__ == "__main__":
    with threadpool_limits(1):  # one core
        for n in SIZES:
            for name, off, cost, memory in measured(n):
                print(
                    f"{n:4} x {n:<4} {name.replace('_', ' '):20}  difference {off:.0e}"
                    f"  time {cost:.1f}  memory {memory:.1f}"
                )
