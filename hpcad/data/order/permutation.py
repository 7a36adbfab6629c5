"""Permutations of 0 ... n - 1 that are functions: O(1) time and memory for any place in them.

A Feistel network permutes the smallest power of two that holds n numbers, and is walked along its
cycle until it falls below n ("cycle-walking": J. Black and P. Rogaway, "Ciphers with Arbitrary
Finite Domains", CT-RSA 2002). The round function is the finaliser of SplitMix64 (G. Steele, D. Lea,
C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). This is mixing, not
cryptography.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_ROUNDS = 8
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

Pass = Callable[[np.ndarray], np.ndarray]


class Permutation:
    """A bijection of the integers from 0 to ``n - 1``.

    Parameters
    ----------
    n
        From 1 to 2**62.
    *key
        Integers, of which every bit counts; the first is taken modulo 2**64.

    Examples
    --------
    >>> forth = Permutation(10, 7, 0)
    >>> forth.inverse(forth(np.arange(10))).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(self, n: int, *key: int) -> None:
        self.n = n
        bits = max(2, (n - 1).bit_length())
        self._low_bits = bits // 2
        self._high_bits = bits - self._low_bits
        self._keys = _round_keys(*key)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """What stands at ``positions`` (int64, each from 0 to n - 1)."""
        return self._walk(positions, self._forth)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """The positions at which ``values`` stand."""
        return self._walk(values, self._back)

    def _walk(self, numbers: np.ndarray, step: Pass) -> np.ndarray:
        if self.n == 1:
            return numbers.copy()
        found = step(numbers.astype(np.uint64))
        # The domain is at most twice n (but for n < 3), so each walk brings back half on average.
        outside = np.flatnonzero(found >= self.n)
        while outside.size:
            walked = step(found[outside])
            found[outside] = walked
            outside = outside[walked >= self.n]
        return found.view(np.int64)

    def _forth(self, values: np.ndarray) -> np.ndarray:
        """One pass of the Feistel network over all ``values`` (uint64), a bijection."""
        high, low = self._halves(values)
        for first, second in zip(self._keys[0::2], self._keys[1::2], strict=True):
            high ^= _top_bits(low, first, self._high_bits)
            low ^= _top_bits(high, second, self._low_bits)
        return self._joined(high, low)

    def _back(self, values: np.ndarray) -> np.ndarray:
        """The same rounds, each its own inverse, from the last to the first."""
        high, low = self._halves(values)
        for first, second in zip(self._keys[-2::-2], self._keys[-1::-2], strict=True):
            low ^= _top_bits(high, second, self._low_bits)
            high ^= _top_bits(low, first, self._high_bits)
        return self._joined(high, low)

    def _halves(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values >> np.uint64(self._low_bits), values & np.uint64((1 << self._low_bits) - 1)

    def _joined(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return (high << np.uint64(self._low_bits)) | low


def _top_bits(values: np.ndarray, key: int, bits: int) -> np.ndarray:
    """The round function: the upper ``bits`` bits of a keyed mix of ``values``."""
    mixed = values + np.uint64(key)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(_MIX[0])
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(_MIX[1])
    mixed ^= mixed >> np.uint64(31)
    return mixed >> np.uint64(64 - bits)


def _round_keys(first: int, *others: int) -> list[int]:
    """One 64-bit key per round; every bit of what is given reaches every key."""
    state = _mix(first & _MASK)
    for other in others:
        state = _mix(state + other)
    return [_mix(state + (index + 1) * _GOLDEN) for index in range(_ROUNDS)]


def _mix(value: int) -> int:
    """The finaliser of SplitMix64 on a Python integer."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * _MIX[0]) & _MASK
    value = ((value ^ (value >> 27)) * _MIX[1]) & _MASK
    return value ^ (value >> 31)
