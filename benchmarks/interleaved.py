"""Contenders measured in turn in one process, and what the samples say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from medians import ratio_interval


def interleave(
    steps: Sequence[Any],
    feeds: Sequence[list[Any]],
    rounds: int,
    repeats: int,
    warmup: int,
    start: int = 0,
) -> np.ndarray:
    """Time the contenders in turn; who begins moves on by one from round to round.

    In a round each takes one step that is not timed (it finds the caches full of another's data)
    and then ``repeats`` that are.

    Parameters
    ----------
    steps : sequence of callables
    feeds : sequence of lists
        What each is called with, in turn, from the ``start``-th on.

    Returns
    -------
    array, shape (contenders, rounds, repeats)
        Milliseconds.
    """
    times = np.empty((len(steps), warmup + rounds, repeats))
    count = start
    for turn in range(warmup + rounds):
        for place in range(len(steps)):
            k = (place + turn) % len(steps)
            step, feed = steps[k], feeds[k]
            step(feed[count % len(feed)])
            for i in range(repeats):
                batch = feed[(count + 1 + i) % len(feed)]
                started = time.perf_counter()
                step(batch)
                times[k, turn, i] = 1e3 * (time.perf_counter() - started)
        count += repeats + 1
    return times[:, warmup:]


def summarise(names: list[str], samples: np.ndarray) -> list[dict[str, Any]]:
    """Median, 10th and 90th percentile of each, and hpcad's median over it with its interval."""
    rows = []
    for name, mine in zip(names, samples, strict=True):
        low, high = np.percentile(mine, [10, 90])
        ratio, least, most = ratio_interval(samples[0], mine)
        rows.append(
            {
                "name": name,
                "median": float(np.median(mine)),
                "p10": float(low),
                "p90": float(high),
                "ratio": ratio,
                "ratio_interval": [least, most],
            }
        )
    return rows
