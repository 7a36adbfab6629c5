"""Functions of one number that are easy, and hard, to differentiate numerically.

``ZOO[name]`` is the function, a place, and the exact derivative there. All but those in
``NOT_ANALYTIC`` can be given complex numbers.
"""

from __future__ import annotations

import numpy as np


def _single(x):
    """Computed in single precision, returned in double."""
    return np.exp(np.asarray(x).astype(np.float32)).astype(float)


def _expanded(x):
    """(x - 1)^7 with all digits cancelling."""
    return x**7 - 7 * x**6 + 21 * x**5 - 35 * x**4 + 35 * x**3 - 21 * x**2 + 7 * x - 1


ZOO = {
    "exp": (np.exp, 0.7, np.exp(0.7)),
    "rational": (lambda x: 1 / (1 + x * x), -0.4, 0.8 / 1.16**2),
    "constant": (lambda x: x * 0 + 3.0, 2.0, 0.0),
    "linear": (lambda x: 3.0 * x, 1.0, 3.0),
    "saturated": (np.tanh, 5.0, 1 / np.cosh(5.0) ** 2),
    "far out": (np.sin, 1e4, np.cos(1e4)),
    "large argument": (lambda x: x**3, 1e5, 3e10),
    "huge values": (np.exp, 300.0, np.exp(300.0)),
    "tiny values": (lambda x: 1e-200 * np.sin(x), 0.5, 1e-200 * np.cos(0.5)),
    "turns on a short length": (lambda x: np.sin(x * 1e5), 0.3, 1e5 * np.cos(0.3 * 1e5)),
    "turns on a shorter length": (lambda x: np.sin(x * 1e6), 0.3, 1e6 * np.cos(0.3 * 1e6)),
    "turns on a long length": (lambda x: np.exp(x * 1e-5), 0.3, 1e-5 * np.exp(3e-6)),
    "turns on a longer length": (lambda x: np.sin(x * 1e-8), 0.0, 1e-8),
    "edge of the domain": (np.sqrt, 1e-6, 0.5e3),
    "close to the edge": (np.log, 1e-8, 1e8),
    "at the edge": (np.log, 1e-20, 1e20),
    "beside a pole": (lambda x: 1 / (x - 1), 1.0001, -1 / (1.0001 - 1) ** 2),
    "flat": (lambda x: (x - 1) ** 7, 1.001, 7 * (1.001 - 1) ** 6),
    "cancelling": (_expanded, 1.001, 7 * (1.001 - 1) ** 6),
    "half cancelling": (lambda x: (1 - np.cos(x)) / x**2, 1e-3, -1e-3 / 12 + 1e-9 / 180),
    "large constant": (lambda x: 1e8 + np.sin(x), 0.5, np.cos(0.5)),
    "single precision inside": (_single, 0.5, np.exp(0.5)),
    "rounded to 9 digits": (lambda x: np.round(np.sin(x), 9), 0.5, np.cos(0.5)),
    "beside a kink": (np.abs, 1e-3, 1.0),
}
NOT_ANALYTIC = {"single precision inside", "rounded to 9 digits", "beside a kink"}
