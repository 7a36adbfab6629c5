"""A small training on the strict device or the host, and NCCL's stand-in under it."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.backend import get_backend
from hpcad.models import MLP, MLPConfig
from hpcad.parallel.devices import choice as choosing
from hpcad.parallel.gradients import fit
from hpcad.program.compiled import Compiled
from hpcad.program.options import Options

from . import strict_nccl


def use_nccl(patch: pytest.MonkeyPatch, way: str = "nccl") -> None:
    """Let engines that are made from now on reduce by NCCL's stand-in, and choose it quickly."""
    strict_nccl.install(patch.setattr)
    choose_anew(patch, way)


def choose_anew(patch: pytest.MonkeyPatch, way: str) -> None:
    """Forget how device arrays were reduced so far."""
    patch.setenv("HPCAD_DEVICE_COMMUNICATOR", way)
    patch.setattr(choosing, "_chosen", type(choosing._chosen)())
    patch.setattr(fit, "SIZES", fit.SIZES[:2])


class Training:
    """A classifier, its engine with small buckets, its optimizer, and a compiled step."""

    def __init__(self, device, compiled=True, spare=False, frozen=False, **options):
        self.world, self.backend = parallel.init(), get_backend(device)
        self.model = MLP(MLPConfig([9, 8, 7]), 6, 4)
        if spare:
            self.model.spare = nn.Parameter(np.ones(5, np.float32))
        self.model.initialize(1, np.float32, self.backend)
        options = {"bucket_mb": 1e-4, "first_bucket_mb": 1e-4} | options
        self.engine = parallel.DataParallel(self.model, self.world, **options)
        if spare:
            self.model.spare.gradient[...] = 7.0  # what some earlier pass has left
        if frozen:  # a bucket of nobody, which is complete before the pass begins
            for parameter in self.engine.buckets[0].parameters:
                parameter.freeze()
        self.optimizer = optim.AdamW(self.model, 1e-2, clip_norm=0.5, weight_decay=0.1)
        self.random = np.random.default_rng(self.world.rank)
        self.run = (
            Compiled(self._step, Options(ahead=True, strict=True)) if compiled else self._step
        )

    def _step(self, x, y):
        loss = nn.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def batch(self, count=5):
        x = self.random.standard_normal((count, 6)).astype(np.float32)
        y = self.random.integers(0, 4, count)
        return self.backend.asarray(x), self.backend.asarray(y)

    def losses(self, steps=6):
        found = [self.run(*self.batch()).value for _ in range(steps)]
        return [float(each) for each in found]

    def parameters(self):
        return [self.backend.to_host(p.array) for p in self.model.parameters()]

    @property
    def graphs(self):
        return self.run.program._call.graphs


def assert_trained_alike(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
