"""By how much the times of day of the hosts differ, found by ping-pong.

Rank 0 sends at its time a; the other answers with its time t; the answer is there at b. So t was
read between a and b, and the other clock is ahead by t - (a + b) / 2, give or take (b - a) / 2.
The quickest of several exchanges says it best.
"""

from __future__ import annotations

import time

import numpy as np

from hpcad.parallel.communicator import Communicator

_ROUNDS = 8
_NAME = "clocks of the hosts"


def offset(communicator: Communicator) -> tuple[float, float]:
    """Seconds by which this rank's clock is ahead of rank 0's, and their error bound.

    Collective. Rank 0 asks one rank after the other.
    """
    if communicator.rank > 0:
        return _answer(communicator)
    for rank in range(1, communicator.size):
        found = min((_ask(communicator, rank) for _ in range(_ROUNDS)), key=lambda pair: pair[1])
        communicator.send(np.array(found), rank, name=_NAME)
    return 0.0, 0.0


def estimate(sent: float, answered: float, received: float) -> tuple[float, float]:
    """Offset and its error bound, of one exchange."""
    return answered - (sent + received) / 2, (received - sent) / 2


def _ask(communicator: Communicator, rank: int) -> tuple[float, float]:
    answer = np.zeros(1)
    sent = time.time()
    communicator.send(answer, rank, name=_NAME)
    communicator.receive(answer, rank, name=_NAME)
    return estimate(sent, float(answer[0]), time.time())


def _answer(communicator: Communicator) -> tuple[float, float]:
    buffer, found = np.zeros(1), np.zeros(2)
    for _ in range(_ROUNDS):
        communicator.receive(buffer, 0, name=_NAME)
        buffer[0] = time.time()
        communicator.send(buffer, 0, name=_NAME)
    communicator.receive(found, 0, name=_NAME)
    return float(found[0]), float(found[1])
