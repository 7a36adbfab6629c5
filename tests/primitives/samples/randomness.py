"""Random numbers, against Philox in whole numbers of Python."""

from __future__ import annotations

import numpy as np

KEY = (0x243F6A88, 0x13198A2E)
LATE = 2**32 + 5  # a step whose upper word counts, too


def _philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        low = 0xFFFFFFFF
        c = [(b >> 32) ^ c[1] ^ k[0], b & low, (a >> 32) ^ c[3] ^ k[1], a & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return c


def _rows(ids, step, *, key, width, dtype):
    blocks = -(-width // 4)
    step = int(step)
    numbers = [
        [
            word >> 8
            for block in range(blocks)
            for word in _philox(
                (
                    (i * blocks + block) & 0xFFFFFFFF,
                    (i * blocks + block) >> 32,
                    step & 0xFFFFFFFF,
                    step >> 32,
                ),
                key,
            )
        ][:width]
        for i in map(int, ids)
    ]
    return np.array(numbers, np.float64).reshape(len(ids), width).astype(dtype) / 2**24


def _options(width, dtype=np.float32):
    return {"key": KEY, "width": width, "dtype": np.dtype(dtype)}


SAMPLES = {
    "uniform_rows": [
        ((np.array([0, 7, 2**40]), np.array(3)), _options(5)),
        ((np.array([3]), LATE), _options(4, np.float64)),
        ((np.array([1, 0]), np.array(LATE)), _options(1)),
        ((np.array([2, 3]), 0), _options(0)),
        ((np.empty(0, int), 1), _options(3)),
    ]
}

REFERENCES = {"uniform_rows": _rows}
