"""Batches in parts: the losses and gradients of whole batches, with the values of one part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.backend import get_backend
from hpcad.data.arrays import ArrayDataset
from hpcad.errors import ConfigError
from hpcad.models import REGISTRY
from hpcad.training import Prepare, Trainer
from hpcad.training.job import load_job
from hpcad.training.micro_batches import micro_batches
from hpcad.training.run import make_trainer

SAMPLES, BATCH, STEPS = 52, 20, 6  # epochs of 20, 20 and 12
NEAR = {"float64": 1e-11, "float32": 1e-4}


class Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(12, 48), nn.Linear(48, 48), nn.Linear(48, 4)]
        self.dropout = nn.Dropout(0.2, "dropout")

    def loss(self, batch):
        x = self.dropout(nn.gelu(self.layers[0](batch["x"])))
        return nn.cross_entropy(self.layers[2](nn.relu(self.layers[1](x))), batch["y"])


def train(directory, accumulate, *, dtype="float64", device="cpu", steps=STEPS, **more):
    """The trainer, its losses and its parameters."""
    random, backend = np.random.default_rng(0), get_backend(device)
    x, y = random.standard_normal((SAMPLES, 12)), random.integers(0, 4, SAMPLES)
    model = Net()
    model.initialize(1, np.dtype(dtype), backend)
    trainer = Trainer(
        model, optim.AdamW(model, 1e-2, clip_norm=1.0), ArrayDataset({"x": x, "y": y}),
        batch=BATCH, steps=steps, log_every=1, prepare=Prepare(np.dtype(dtype), backend=backend),
        directory=directory, checkpoint_every=1000, accumulate=accumulate, **more,
    )  # fmt: skip
    trainer.run()
    rows = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    losses = [row["loss"] for row in rows if "loss" in row]
    return trainer, losses, [backend.to_host(p.array) for p in model.parameters()]


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(
    ("device", "dtype", "parts"),
    [
        ("cpu", "float64", 3),
        pytest.param("cpu", "float64", 5, marks=pytest.mark.slow),
        ("strict", "float32", 4),
    ],
)
def test_losses_are_those_of_whole_batches(device, dtype, parts, compile, tmp_path):
    settings = {"dtype": dtype, "device": device, "compile": compile}
    _, losses, parameters = train(tmp_path / "whole", 1, **settings)
    trainer, found, in_parts = train(tmp_path / "parts", parts, **settings)
    near = NEAR[dtype]
    np.testing.assert_allclose(found, losses, rtol=near)
    for a, b in zip(in_parts, parameters, strict=True):
        np.testing.assert_allclose(a, b, rtol=near, atol=10 * near)
    if compile:
        names = [i.name for i in trainer._program._compiled.program.program.instructions]
        assert names.count("accumulate") == 6 * parts


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), "strict"])
def test_a_program_needs_memory_for_one_part(device, tmp_path):
    needed = []
    for parts in (1, 5):
        trainer, *_ = train(tmp_path / str(parts), parts, dtype="float32", device=device, steps=2)
        needed.append(trainer._program._compiled.program.arena_bytes)
    assert needed[1] < 0.5 * needed[0]


@pytest.mark.parametrize("compile", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(compile, tmp_path):
    _, losses, parameters = train(tmp_path / "whole", 3, compile=compile)
    train(tmp_path / "parts", 3, steps=4, compile=compile)
    _, found, resumed = train(tmp_path / "parts", 3, compile=compile)
    assert found == losses
    assert [p.tobytes() for p in resumed] == [p.tobytes() for p in parameters]


def test_no_part_is_empty_and_none_is_much_larger():
    fields, ids = {"x": np.arange(14).reshape(7, 2)}, np.arange(10, 17)
    for parts in (1, 2, 3, 7, 9):
        found = list(micro_batches(fields, ids, parts))
        assert len(found) == min(parts, 7)
        sizes = [len(part_ids) for _, part_ids, _ in found]
        assert max(sizes) - min(sizes) <= 1
        np.testing.assert_array_equal(np.concatenate([p["x"] for p, _, _ in found]), fields["x"])
        np.testing.assert_array_equal(np.concatenate([i for _, i, _ in found]), ids)
        np.testing.assert_allclose([share for _, _, share in found], np.array(sizes) / 7)


def test_a_job_file_says_in_how_many():
    models = {kind: entry.config for kind, entry in REGISTRY.items()}
    jobs = Path(__file__).resolve().parents[2] / "jobs"
    job = load_job(jobs / "digits.toml", ["training.accumulate=3"], models=models)
    assert make_trainer(job, REGISTRY[job.model.kind], hpcad.init()).accumulate == 3


def test_no_parts_at_all(tmp_path):
    with pytest.raises(ConfigError, match="accumulate"):
        train(tmp_path, 0)
