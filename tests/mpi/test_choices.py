"""Forms and algorithms are measured on rank 0, and all ranks take them."""

from __future__ import annotations

import functools
import json
from collections import Counter

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.backend import get_backend
from hpcad.backend.cublaslt import context
from hpcad.data.arrays import ArrayDataset
from hpcad.training import Prepare, Trainer, preparation
from hpcad.training.products import FILE, ProductChoices

pytestmark = pytest.mark.mpi
BATCH, STEPS = 14, 4  # 2 ranks have 7 samples each, 3 have 5, 5 and 4: other shapes


class Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(6, 16), nn.Linear(16, 4)]

    def loss(self, batch):
        hidden = nn.gelu(self.layers[0](batch["x"]))
        return nn.cross_entropy(self.layers[1](hidden), batch["y"])


def train(directory, clock, monkeypatch):
    world, backend, random = parallel.init(), get_backend("strict"), np.random.default_rng(0)
    monkeypatch.setattr(context, "_contexts", {})
    monkeypatch.setattr(
        preparation, "ProductChoices", functools.partial(ProductChoices, clock=clock)
    )
    x, y = random.standard_normal((3 * BATCH, 6)), random.integers(0, 4, 3 * BATCH)
    model = Net()
    model.initialize(1, np.float32, backend)
    trainer = Trainer(
        model, optim.AdamW(model, 1e-2), ArrayDataset({"x": x.astype(np.float32), "y": y}),
        batch=BATCH, steps=STEPS, world=world, prepare=Prepare(backend=backend), saving=False,
        directory=directory,
    )  # fmt: skip
    trainer.run()
    program = trainer._program._compiled.program
    names = Counter(i.name for i in program.program.instructions)
    fused = {name: n for name, n in names.items() if name.startswith("matmul_")}
    algorithms = {key: data.hex() for key, data in context.context_of(backend.xp).choices.items()}
    return fused, algorithms, [backend.to_host(p.array).tobytes().hex() for p in model.parameters()]


def test_all_ranks_take_what_is_fast_on_rank_0(tmp_path, monkeypatch):
    world = parallel.init()
    asked = Counter()

    def clock(run):
        """On rank 0 epilogues are fast, and separate kernels elsewhere."""
        run()
        form = getattr(run, "name", "").removeprefix("trial_of_")
        asked[form] += 1
        fast = ("both", "bgrad") if world.rank == 0 else ("separate",)
        return 0.5 if form in fast else 1.0

    directory = world.communicator.broadcast_json(str(tmp_path))
    fused, algorithms, parameters = train(type(tmp_path)(directory), clock, monkeypatch)
    assert bool(asked) == (world.rank == 0)
    found = world.communicator.gather_json([fused, algorithms, parameters])
    assert all(others[1:] == found[0][1:] for others in found)
    base, extra = divmod(BATCH, world.size)
    sizes = [base + (rank < extra) for rank in range(world.size)]
    for size, (forms, _, _) in zip(sizes, found, strict=True):
        if size == sizes[0]:  # what rank 0 has not met stays as it is
            assert forms == {"matmul_gelu_aux_bias": 1, "matmul_dgelu": 1, "matmul_bgrad_b": 2}
        else:
            assert forms == {}
    if world.is_root:
        labels = json.loads((tmp_path / FILE).read_text())["choices"].values()
        assert {label for label, _ in labels if len(label) < 100} == {"both", "bgrad"}
