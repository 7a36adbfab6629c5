"""Study files and samples that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples, write_samples

JOB = """\
name = "small"
seed = 1

[model]
kind = "mlp"
hidden = [16]

[data]
train = "builtin:digits/train"
batch = 32
scale = 0.0625

[optimizer]
kind = "sgd"
learning_rate = 0.05

[training]
epochs = 2
"""

STUDY = """\
name = "small"
job = "small.toml"
repeats = 2
steps = 12
warmup = 3

[strong]
batch = 64
ranks = [1, 2]

[launch]
timeout = 60
"""


def write_study(folder: Path, text: str = STUDY, job: str = JOB) -> Path:
    """Write a study and its job; its output lies in the same folder."""
    (folder / "small.toml").write_text(job)
    path = folder / "study.toml"
    path.write_text(f'{text}\n[output]\ndirectory = "{folder / "out"}"\n')
    return path


def made_samples(orders: Orders, *, loss: float = 2.0, **facts: Any) -> Samples:
    """What a worker might have measured; the same loss on any number of ranks."""
    point: Point = orders.point
    shape = (point.ranks, orders.steps)
    generator = np.random.default_rng(point.ranks)
    losses = np.full(shape, loss / point.ranks)
    known = {"digests": ["same"] * point.ranks}
    return Samples(
        point,
        orders.repeat,
        1e-3 * (1 + generator.random(shape)),
        {"forward": np.full(shape, 5e-4)},
        np.zeros(shape),
        losses,
        orders.warmup,
        known | facts,
    )


def write_made_samples(orders_file: Path, **changed: Any) -> None:
    """Do what a worker does, without training."""
    orders = Orders.read(orders_file)
    write_samples(Path(orders.file), made_samples(orders, **changed))
