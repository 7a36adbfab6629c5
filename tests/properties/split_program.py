"""Under mpirun: random divisions of random batches against the whole batch in one process.

Argument: how many trials. Every rank draws the same trials from the same seeds, so no rank has to
be told. Prints one line per trial that disagrees, and at the end how many agreed.
"""

from __future__ import annotations

import sys

import numpy as np

import hpcad
import hpcad.numpy as hnp
from hpcad import nn, optim, parallel
from hpcad.primitives.softmax import cross_entropy


class Net(nn.Module):
    """Layers of random widths; one is used twice, one parameter never."""

    def __init__(self, rng: np.random.Generator) -> None:
        width = int(rng.integers(1, 40))
        self.first = nn.Linear(3, width)
        self.shared = nn.Linear(width, width)
        self.spare = nn.Parameter(np.ones(int(rng.integers(1, 9))))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        h = hnp.tanh(self.first(x))
        h = self.norm(h + hnp.sin(self.shared(hnp.tanh(self.shared(h)))))
        return self.head(h)


def division(rng: np.random.Generator, count: int, ranks: int) -> np.ndarray:
    """Random cuts of ``count`` samples, with empty parts as often as they come."""
    return np.concatenate(([0], np.sort(rng.integers(0, count + 1, ranks - 1)), [count]))


def make(seed: int) -> Net:
    model = Net(np.random.default_rng(seed))
    model.initialize(seed, np.float64)
    if seed % 3 == 0:
        model.shared.bias.freeze()
    return model


def agrees(seed: int, world: hpcad.World) -> bool:
    """Three steps, each on its own division: gradients, losses and parameters."""
    rng = np.random.default_rng(seed)
    model, alone = make(seed), make(seed)
    bucket_mb = float(rng.choice([1e-5, 1e-4, 1e-3, 1.0]))
    overlap = bool(rng.integers(2))
    parallel.DataParallel(
        model, world, bucket_mb=bucket_mb, first_bucket_mb=bucket_mb / 2, overlap=overlap
    )
    ours, theirs = (optim.AdamW(m, 1e-2, clip_norm=1.0) for m in (model, alone))
    good = True
    for _ in range(3):
        count = int(rng.integers(1, 12))
        x, y = rng.standard_normal((count, 3)), rng.integers(0, 4, count)
        cuts = division(rng, count, world.size)
        mine = slice(cuts[world.rank], cuts[world.rank + 1])
        loss = parallel.mean(cross_entropy(model(x[mine]), y[mine]))
        loss.backward()
        whole = nn.cross_entropy(alone(x), y)
        whole.backward()
        good &= bool(np.isclose(float(loss), float(whole), rtol=1e-12))
        for (_, p), (name, q) in zip(
            model.named_parameters(), alone.named_parameters(), strict=True
        ):
            if not q.frozen:
                expected = q.grad if q.fresh else np.zeros(q.shape)  # nothing touched `spare`
                same = np.allclose(p.grad, expected, rtol=1e-10, atol=1e-13)
                good &= bool(same)
                if not same:
                    print(f"rank {world.rank} trial {seed}: gradient of {name}", flush=True)
        ours.step()
        theirs.step()
    for p, q in zip(model.parameters(), alone.parameters(), strict=True):
        good &= bool(np.allclose(p.value, q.value, rtol=1e-8, atol=1e-11))
    return good


def main() -> None:
    world = hpcad.init()
    trials = int(sys.argv[1])
    agreed = np.array([sum(agrees(seed, world) for seed in range(trials))])
    world.communicator.allreduce(agreed, "min")
    if world.is_root:
        print(f"{agreed[0]} of {trials} agree on {world.size} ranks")


main()
