"""Attention on a device, and the same in NumPy."""

from __future__ import annotations

import math

import numpy as np

from hpcad.backend.half import named


class Case:
    """Arrays of attention on a device, with gradients; numbers in half precision.

    Parameters
    ----------
    packed : bool
        Queries, keys and values (and their gradients) are windows of arrays (B, T, 3, H, D),
        results and their cotangents lie as (B, T, H, D).
    """

    def __init__(
        self, xp, dtype="float16", causal=True, packed=True, batch=2, heads=3, queries=8, keys=8,
        dim=16,
    ):  # fmt: skip
        self.xp, self.causal, self.dtype = xp, causal, named(dtype)
        self.sizes = (batch, heads, queries, keys, dim)
        random = np.random.default_rng(3)
        given = self._layouts(packed)
        for wide in given.values():
            wide[...] = xp.asarray(random.standard_normal(wide.shape).astype(self.dtype))
        self.q, self.k, self.v = self._windows(given, "qkv")
        self.g = self._heads(given["g"], packed)
        found = self._layouts(packed)
        self.dq, self.dk, self.dv = self._windows(found, "qkv")
        self.out = self._heads(found["g"], packed)
        self.log_sums = xp.empty((batch, heads, queries), np.float32)

    def _layouts(self, packed):
        batch, heads, queries, keys, dim = self.sizes
        if packed:
            shapes = {"qkv": (batch, queries, 3, heads, dim), "g": (batch, queries, heads, dim)}
        else:
            shapes = {
                x: (batch, heads, n, dim)
                for x, n in zip("qkvg", (queries, keys, keys, queries), strict=True)
            }
        return {name: self.xp.empty(shape, self.dtype) for name, shape in shapes.items()}

    def _windows(self, arrays, names):
        if "qkv" in arrays:
            return [arrays["qkv"][:, :, i].transpose(0, 2, 1, 3) for i in range(3)]
        return [arrays[name] for name in names]

    @staticmethod
    def _heads(array, packed):
        return array.transpose(0, 2, 1, 3) if packed else array

    @property
    def forward(self):
        return self.q, self.k, self.v, self.out, self.log_sums

    @property
    def back(self):
        given = self.q, self.k, self.v, self.out, self.g, self.log_sums
        return *given, self.dq, self.dk, self.dv

    def expected(self):
        """Results, logarithms of sums, gradients: in float64, of the same numbers."""
        q, k, v, g = (
            self.xp.asnumpy(x).astype(np.float64) for x in (self.q, self.k, self.v, self.g)
        )
        scale = 1 / math.sqrt(q.shape[-1])
        scores = q @ k.swapaxes(-1, -2) * scale
        if self.causal:
            scores += np.where(np.tri(*scores.shape[-2:], dtype=bool), 0.0, -np.inf)
        weights = np.exp(scores)
        sums = weights.sum(-1, keepdims=True)
        p = weights / sums
        out = p @ v
        ds = p * (g @ v.swapaxes(-1, -2) - (g * out).sum(-1, keepdims=True)) * scale
        found = out, np.log(sums)[..., 0], ds @ k, ds.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g
        names = ("out", "log_sums", "dq", "dk", "dv")
        return dict(zip(names, found, strict=True))

    def check(self, tolerance):
        for name, array in self.expected().items():
            found = self.xp.asnumpy(getattr(self, name)).astype(np.float64)
            np.testing.assert_allclose(found, array, atol=tolerance, rtol=tolerance, err_msg=name)
