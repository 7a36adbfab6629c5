"""Who measures with whom, and when: a tournament of nodes, in which nobody plays twice at a time.

The circle method: of n players (one more where n is odd, against whom one rests) the last stays in
its place, and the others move around it; n - 1 rounds bring everybody together with everybody once.
Partners are computed and not listed, so a tournament of thousands of nodes costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

Pair = tuple[int, int]


def rounds_of(count: int) -> int:
    """Rounds until each of so many players has met each other."""
    return count - 1 + count % 2 if count > 1 else 0


def sample(count: int, most: int | None) -> list[int]:
    """The rounds to play: all, or ``most`` of them at even distances. None is no limit."""
    every = rounds_of(count)
    if most is None or most >= every:
        return list(range(every))
    return [i * every // most for i in range(most)]


def partner(player: int, number: int, count: int) -> int | None:
    """Against whom a player plays in a round; None where it rests.

    Parameters
    ----------
    player : int
        0 to ``count - 1``.
    number : int
        Of the round, from 0.
    """
    last = rounds_of(count)  # the number of the player who stays in its place
    if player == last:
        return number
    other = last if player == number else (2 * number - player) % last
    return other if other < count else None


def packed(pairs: Iterable[Pair], most: int) -> list[list[Pair]]:
    """Pairs in rounds in which nobody plays twice: each in the first round that has room for it.

    Pairs that find none in ``most`` rounds are left out.
    """
    rounds: list[list[Pair]] = []
    busy: list[set[int]] = []
    for pair in pairs:
        for players, taken in zip(rounds, busy, strict=True):
            if taken.isdisjoint(pair):
                players.append(pair)
                taken.update(pair)
                break
        else:
            if len(rounds) < most:
                rounds.append([pair])
                busy.append(set(pair))
    return rounds
