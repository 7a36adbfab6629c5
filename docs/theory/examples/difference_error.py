"""Errors of finite differences against their step: truncation at one end, rounding at the other.

f(x) = 64 x (1 - x) (1 - 2x)^2 (1 - 8x + 8x^2)^2, the fourth iterate of the logistic map, at 0.2.
Prints the errors; with a file name, also draws them (needs matplotlib).
"""

import sys

import numpy as np

import hpcad
from hpcad.autodiff import numerical_directional

X = 0.2
METHODS = {
    "forward difference": "forward1",
    "central difference": "central2",
    "complex step": "complex",
}


def f(x):
    return 64 * x * (1 - x) * (1 - 2 * x) ** 2 * (1 - 8 * x + 8 * x * x) ** 2


def errors(steps):
    exact = float(hpcad.grad(f)(X))
    return {
        name: [
            abs(float(numerical_directional(f, X, method=method, step=h).value) - exact)
            for h in steps
        ]
        for name, method in METHODS.items()
    }


def draw(path, steps, found):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.0), constrained_layout=True)
    for (name, values), style in zip(found.items(), ("o-", "s-", "^-"), strict=True):
        # An error of exactly 0 has no place on a logarithmic axis.
        axes.loglog(steps, np.maximum(values, 1e-17), style, markersize=3, label=name)
    axes.axhline(1e-17, color="0.8", linewidth=0.8)
    axes.text(0.3, 1.3e-17, "error 0", fontsize=8, color="0.4", ha="right")
    axes.annotate("rounding ~ eps / h", (2e-13, 2e-2), fontsize=9)
    axes.annotate("truncation ~ h", (3e-5, 2e-1), fontsize=9, ha="right")
    axes.annotate("~ h²", (3e-3, 2e-4), fontsize=9)
    axes.set_xlabel("step h")
    axes.set_ylabel("error of the derivative")
    axes.legend(loc="center left", bbox_to_anchor=(0.0, 0.3))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    steps = 10.0 ** np.arange(-16, 0)
    found = errors(steps)
    print("step   " + "".join(f"{name:>20}" for name in found))
    for i, h in enumerate(steps):
        print(f"{h:.0e}  " + "".join(f"{values[i]:20.1e}" for values in found.values()))
    for name, values in found.items():
        best = int(np.argmin(values))
        print(f"smallest error of the {name}: {values[best]:.0e} at h = {steps[best]:.0e}")
    if len(sys.argv) > 1:
        fine = 10.0 ** np.arange(-16, -0.49, 0.25)
        draw(sys.argv[1], fine, errors(fine))
