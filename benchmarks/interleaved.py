"""Contenders measured in turn, and what the samples say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from medians import ratio_interval


def in_turn(
    turns: Sequence[Callable[[int], Sequence[float]]], rounds: int, warmup: int
) -> np.ndarray:
    """Let each contender have its turn, round by round; who begins moves on by one each round.

    Parameters
    ----------
    turns : sequence of callables
        Given the number of the round, each returns its samples, as many as all others.
    warmup : int
        Rounds before, which are not counted.

    Returns
    -------
    array, shape (contenders, rounds, samples)
    """
    samples: list[list[Sequence[float]]] = [[] for _ in turns]
    for turn in range(warmup + rounds):
        for place in range(len(turns)):
            k = (place + turn) % len(turns)
            samples[k].append(turns[k](turn))
    return np.array(samples, np.float64)[:, warmup:]


def interleave(
    steps: Sequence[Any],
    feeds: Sequence[list[Any]],
    rounds: int,
    repeats: int,
    warmup: int,
) -> np.ndarray:
    """Time the contenders of one process in turn.

    In a round each takes one step that is not timed (it finds the caches full of another's data)
    and then ``repeats`` that are.

    Parameters
    ----------
    steps : sequence of callables
    feeds : sequence of lists
        What each is called with, in turn.

    Returns
    -------
    array, shape (contenders, rounds, repeats)
        Milliseconds.
    """
    turns = [partial(_turn, *pair, repeats) for pair in zip(steps, feeds, strict=True)]
    return in_turn(turns, rounds, warmup)


def _turn(step: Any, feed: list[Any], repeats: int, turn: int) -> list[float]:
    first = turn * (repeats + 1)
    step(feed[first % len(feed)])
    milliseconds = []
    for i in range(first + 1, first + 1 + repeats):
        batch = feed[i % len(feed)]
        started = time.perf_counter()
        step(batch)
        milliseconds.append(1e3 * (time.perf_counter() - started))
    return milliseconds


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
