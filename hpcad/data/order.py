"""The global order of samples: a pure function of (number of samples, seed, epoch).

Position ``p`` of an epoch holds sample ``permutation(p)``, where the permutation is a Feistel
network over the smallest power of two that holds all samples, walked along its cycle until it
falls below their number ("cycle-walking": J. Black and P. Rogaway, "Ciphers with Arbitrary Finite
Domains", CT-RSA 2002). Any position costs O(1) time and memory, no rank holds a permutation of all
samples, and neither the number of ranks nor a restart can change the order.

The round function is the finaliser of SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable
Pseudorandom Number Generators", OOPSLA 2014). This is mixing, not cryptography.
"""

from __future__ import annotations

import numpy as np

from hpcad.errors import DataError

_ROUNDS = 8
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_LARGEST = 2**62


class GlobalOrder:
    """The order in which all ranks together see ``n`` samples.

    Parameters
    ----------
    n
        Number of samples, from 1 to 2**62.
    seed
        Any integer; it is taken modulo 2**64.
    shuffle
        ``False`` gives the natural order in every epoch.

    Examples
    --------
    >>> order = GlobalOrder(10, seed=7)
    >>> sorted(order.ids(0, 0, 10).tolist()) == list(range(10))
    True
    """

    def __init__(self, n: int, seed: int, shuffle: bool = True) -> None:
        if not 1 <= n <= _LARGEST:
            raise DataError(f"an order needs from 1 to 2**62 samples, not {n}")
        self.n = n
        self.seed = seed
        self.shuffle = shuffle
        bits = max(2, (n - 1).bit_length())
        self._low_bits = bits // 2
        self._high_bits = bits - self._low_bits

    def ids(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Sample ids at positions ``start`` to ``stop`` (excluded) of an epoch, as int64.

        Raises
        ------
        DataError
            If the positions are not within ``0 <= start <= stop <= n``, or the epoch is negative.
        """
        if not 0 <= start <= stop <= self.n or epoch < 0:
            raise DataError(
                f"positions {start} to {stop} of epoch {epoch} do not exist in an order of {self.n}"
            )
        positions = np.arange(start, stop, dtype=np.int64)
        if not self.shuffle or self.n == 1:
            return positions
        keys = _round_keys(self.seed, epoch)
        ids = self._permute(positions.view(np.uint64), keys)
        # The domain is at most twice n, so each walk brings back at least half on average.
        outside = np.flatnonzero(ids >= self.n)
        while outside.size:
            walked = self._permute(ids[outside], keys)
            ids[outside] = walked
            outside = outside[walked >= self.n]
        return ids.view(np.int64)

    def _permute(self, values: np.ndarray, keys: list[int]) -> np.ndarray:
        """One pass of the Feistel network over all ``values`` (uint64), a bijection."""
        shift = np.uint64(self._low_bits)
        high = values >> shift
        low = values & np.uint64((1 << self._low_bits) - 1)
        for first, second in zip(keys[0::2], keys[1::2], strict=True):
            high ^= _top_bits(low, first, self._high_bits)
            low ^= _top_bits(high, second, self._low_bits)
        return (high << shift) | low


def _top_bits(values: np.ndarray, key: int, bits: int) -> np.ndarray:
    """The round function: the upper ``bits`` bits of a keyed mix of ``values``."""
    mixed = values + np.uint64(key)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(_MIX[0])
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(_MIX[1])
    mixed ^= mixed >> np.uint64(31)
    return mixed >> np.uint64(64 - bits)


def _round_keys(seed: int, epoch: int) -> list[int]:
    """One 64-bit key per round; every bit of ``seed`` and ``epoch`` reaches every key."""
    state = _mix(_mix(seed & _MASK) + epoch)
    return [_mix(state + (index + 1) * _GOLDEN) for index in range(_ROUNDS)]


def _mix(value: int) -> int:
    """The finaliser of SplitMix64 on a Python integer."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * _MIX[0]) & _MASK
    value = ((value ^ (value >> 27)) * _MIX[1]) & _MASK
    return value ^ (value >> 31)
