"""Training of a small network with the products of a device in one form."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hpcad import nn, optim
from hpcad.backend import get_backend
from hpcad.program.compiled import Compiled
from hpcad.program.improve.epilogue_choice import Epilogues, wished
from hpcad.program.options import Options

STEPS = 3


class Block(nn.Module):
    """What follows attention in GPT-2, with one of two activations."""

    def __init__(self, activation, width=16, bias=True):
        self.activation = activation
        self.norm = nn.LayerNorm(width, True)
        self.expand = nn.Linear(width, 4 * width, bias)
        self.contract = nn.Linear(4 * width, width, bias)

    def forward(self, x):
        return x + self.contract(self.activation(self.expand(self.norm(x))))


class Net(nn.Module):
    def __init__(self, activation, bias=True, width=16):
        self.first = nn.Linear(8, width)
        self.block = Block(activation, width, bias)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        return self.head(self.block(self.first(x)))


class Run:
    """Training in one form."""

    def __init__(
        self, form, activation=nn.gelu, precision="float32", passes=1, device="strict", **settings
    ):
        self.backend = get_backend(device)
        self.precision, self.passes = nn.Precision(precision), passes
        self.model = Net(activation, **settings)
        self.model.initialize(1, np.float32, self.backend)
        self.precision.apply(self.model)
        self.optimizer = optim.SGD(self.model, 0.05)
        self.epilogues = Epilogues(wish=wished(form))
        options = Options(ahead=True, strict=True, epilogues=self.epilogues)
        self.compiled = Compiled(self.step, options)

    def step(self, x, y):
        for _ in range(self.passes):
            loss = nn.cross_entropy(self.model(x), y)
            loss.backward()
        self.optimizer.step()
        return loss.detach()

    def train(self):
        random = np.random.default_rng(0)
        losses = []
        for _ in range(STEPS):
            x = random.standard_normal((3, 6, 8)).astype(self.precision.dtype)
            y = random.integers(0, 5, (3, 6))
            losses.append(self.compiled(self.backend.asarray(x), self.backend.asarray(y)).value)
        gradients = [self.backend.to_host(p.gradient) for p in self.model.parameters()]
        return [float(self.backend.to_host(loss)) for loss in losses], gradients

    @property
    def program(self):
        return self.compiled.program

    def names(self):
        """How often each fused product is met."""
        names = Counter(i.name for i in self.program.program.instructions)
        return {n: count for n, count in names.items() if n.startswith("matmul_")}

    def kernels(self):
        """Kernels, and the bytes that kernels and products touch."""
        steps = self.program.steps
        return sum(s.kind == "kernel" for s in steps), sum(s.nbytes for s in steps)


def close(found, wanted, near):
    """Gradients that are alike, as parts of the largest number."""
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=near, atol=near * max(1e-3, np.abs(b).max()))
