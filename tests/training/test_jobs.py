"""The jobs that come with hpcad, 200 steps compiled and eager: the same losses.

Where their data are not at hand, data of the same shapes stand in. In single precision rounding
grows as training goes on; losses that have become small are compared with the first one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import hpcad
from hpcad import cli
from hpcad.models import REGISTRY
from hpcad.training.job import load_job
from hpcad.training.metrics import read_metrics
from hpcad.training.run import run

JOBS = Path(__file__).resolve().parents[2] / "jobs"
STEPS = 200
MODELS = {kind: entry.config for kind, entry in REGISTRY.items()}


def pictures(folder, count=3000):
    """Ten classes of noisy 28 x 28 images."""
    rng = np.random.default_rng(0)
    means, y = rng.uniform(0, 160, (10, 28, 28)), rng.integers(0, 10, count)
    x = np.clip(means[y] + rng.normal(0, 60, (count, 28, 28)), 0, 255).astype(np.uint8)
    np.savez(folder / "data.npz", x=x, y=y)
    names = ",".join(f"c{i}" for i in range(10))
    for part in ("train", "test"):
        words = ["--npz", folder / "data.npz", "--class-names", names]
        assert cli.main(["data", "pack", *map(str, [folder / part, *words])]) == 0
    return folder / "train", folder / "test"


def text(folder, count=20_000):
    """A text of 65 symbols in words that come again."""
    rng = np.random.default_rng(0)
    symbols = [chr(48 + i) for i in range(65)]
    words = ["".join(rng.choice(symbols, rng.integers(2, 9))) for _ in range(200)]
    (folder / "text").write_text(" ".join(rng.choice(words, count)))
    words = [folder / "packed", "--text", folder / "text", "--split", "0.98"]
    assert cli.main(["data", "pack", *map(str, words)]) == 0
    return folder / "packed" / "train", folder / "packed" / "val"


def losses(name, data, directory, dtype, compiled, steps=STEPS, device="cpu"):
    settings = {
        "training.steps": steps,
        "training.device": device,
        "training.log_every": 1,
        "training.dtype": dtype,
        "training.compile": str(compiled).lower(),
        "checkpoint.enabled": "false",
        "output.directory": directory,
    }
    if data is not None:
        settings |= {"data.train": data[0], "data.test": data[1]}
    overrides = [f"{key}={value}" for key, value in settings.items()]
    job = load_job(JOBS / f"{name}.toml", overrides, models=MODELS)
    world = dataclasses.replace(hpcad.init(), device=device)
    run(job, REGISTRY[job.model.kind], world)
    rows = [row for row in read_metrics(directory) if "loss" in row]
    assert len(rows) == steps
    return np.array([row["loss"] for row in rows])


def assert_the_same(name, data, tmp_path, dtype, bounds):
    fast = losses(name, data, tmp_path / "compiled", dtype, True)
    slow = losses(name, data, tmp_path / "eager", dtype, False)
    assert fast[-20:].mean() < 0.9 * fast[0]
    apart = np.abs(fast - slow)
    early, whole = (apart / slow)[:20].max(), apart.max() / slow[0]
    print(f"{name} {dtype}: {early:.1e} in 20 steps, {whole:.1e} of the first loss in {STEPS}")
    assert early < bounds[0]
    assert whole < bounds[1]


DTYPES = pytest.mark.parametrize(
    ("dtype", "bounds"), [("float64", (1e-9, 1e-9)), ("float32", (1e-4, 0.05))]
)


@DTYPES
def test_digits(tmp_path, dtype, bounds):
    assert_the_same("digits", None, tmp_path, dtype, bounds)


@DTYPES
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("name", "made"), [("fashion_mnist", pictures), ("char_gpt", text)])
def test_the_other_jobs_on_data_of_their_shapes(name, made, tmp_path, dtype, bounds):
    assert_the_same(name, made(tmp_path), tmp_path, dtype, bounds)


@pytest.mark.parametrize(
    ("name", "made", "count"),
    [("digits", None, 0), ("fashion_mnist", pictures, 320), ("char_gpt", text, 1200)],
)
def test_on_the_strict_device_they_have_the_losses_of_the_host(name, made, count, tmp_path):
    data = made(tmp_path, count) if made is not None else None
    found = losses(name, data, tmp_path / "strict", "float32", True, 5, "strict")
    host = losses(name, data, tmp_path / "host", "float32", True, 5)
    np.testing.assert_allclose(found, host, rtol=1e-4)
