"""What a whole derivative costs in forward and in reverse mode, measured.

wide(m): R -> R^m and tall(n): R^n -> R do the same work whatever m and n are, on 16384 numbers, so
the curves show the number of passes. Prints times in units of one evaluation of the function; with
a file name, also draws them (needs matplotlib).
"""

import sys
import time

import numpy as np

import hpcad
import hpcad.numpy as hnp

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


WORK = 16384


def wide(m):
    """R -> R^m."""
    scales = np.linspace(0.5, 1.5, WORK).reshape(m, -1)
    return lambda x: hnp.tanh(hnp.sin(x * scales)).sum(axis=1)


def tall(n):
    """R^n -> R."""
    scales = np.linspace(0.5, 1.5, WORK).reshape(n, -1)
    return lambda x: hnp.tanh(hnp.sin(hnp.expand_dims(x, axis=1) * scales)).sum()


def by_forward_mode(f, x):
    """One pass per number in x, each with one unit tangent."""
    units = np.eye(x.size).reshape(-1, *x.shape)
    return np.stack([hpcad.jvp(f, (x,), (unit,))[1] for unit in units], axis=-1)


def by_reverse_mode(f, x):
    """One evaluation, then one pull per number in the value, each with one unit cotangent."""
    value, pullback = hpcad.vjp(f, x)
    units = np.eye(value.size).reshape(-1, *value.shape)
    return np.stack([pullback(unit)[0] for unit in units])


def seconds(run, repeats):
    """Of processor time: other programs on the machine do not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def measured(sizes=SIZES, repeats=5):
    """(kind, size, forward, reverse): in evaluations of the function."""
    for kind, make in (("R -> R^m", wide), ("R^n -> R", tall)):
        for size in sizes:
            f = make(size)
            x = np.array(0.7) if make is wide else np.linspace(0.1, 1.0, size)
            a, b = by_forward_mode(f, x), by_reverse_mode(f, x)
            assert np.allclose(a.ravel(), b.ravel())
            once = seconds(lambda f=f, x=x: f(x), 20 * repeats)
            forward = seconds(lambda f=f, x=x: by_forward_mode(f, x), repeats)
            reverse = seconds(lambda f=f, x=x: by_reverse_mode(f, x), repeats)
            yield kind, size, forward / once, reverse / once


def draw(path, rows):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, both = plt.subplots(1, 2, figsize=(8.0, 3.6), sharey=True, constrained_layout=True)
    for axes, kind, label in zip(both, ("R -> R^m", "R^n -> R"), ("m", "n"), strict=True):
        mine = [row for row in rows if row[0] == kind]
        sizes = [row[1] for row in mine]
        axes.plot(sizes, [row[2] for row in mine], "o-", label="forward mode")
        axes.plot(sizes, [row[3] for row in mine], "s-", label="reverse mode")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_title(f"whole Jacobian of f: ${kind.replace('->', chr(92) + 'to')}$", fontsize=10)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    both[0].set_ylabel("time / time of f")
    both[0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    rows = []
    print("function   size  forward  reverse   (in evaluations of the function)")
    for row in measured():
        rows.append(row)
        print(f"{row[0]}  {row[1]:5}  {row[2]:7.1f}  {row[3]:7.1f}")
    if len(sys.argv) > 1:
        draw(sys.argv[1], rows)
