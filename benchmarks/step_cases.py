"""The three training steps that step_time.py measures: model, data and optimizer, in hpcad.

The equal networks in PyTorch are in torch_nets.py, which takes its weights from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad import optim
from hpcad.models import CNN, MLP, CharGPT, CharGPTConfig, CNNConfig, MLPConfig
from hpcad.models.classifier import Classifier

POOL = 64  # different batches; too many for a model to learn by heart while it is timed
Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One measured training step.

    Attributes
    ----------
    title : str
    make : callable
        A new model, not initialised.
    sample : tuple of int
        Shape of one input.
    classes : int
        Of the labels; for tokens also of the inputs.
    batch : int
    learning_rate : float
    betas : pair of float
    weight_decay : float
        Decoupled (AdamW), on parameters of two or more dimensions; plain Adam where it is 0.
    clip_norm : float or None
    tokens : bool
        Inputs are integers, and every place has a label.
    layouts : tuple of str
        Memory formats that PyTorch is measured in.
    """

    title: str
    make: Callable[[], Classifier]
    sample: tuple[int, ...]
    classes: int
    batch: int
    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float | None = None
    tokens: bool = False
    layouts: tuple[str, ...] = ("contiguous",)


CASES: dict[str, Case] = {
    "mlp": Case(
        title="MLP 784-512-512-10, batch 128, Adam",
        make=lambda: MLP(MLPConfig([512, 512]), 784, 10),
        sample=(784,),
        classes=10,
        batch=128,
    ),
    "cnn": Case(
        title="CNN 1-32-64 3x3, pool, linear 128, batch 64 of 28x28, Adam",
        make=lambda: CNN(CNNConfig([32, 64], 128), (28, 28), 10),
        sample=(28, 28),
        classes=10,
        batch=64,
        layouts=("contiguous", "channels_last"),
    ),
    "gpt": Case(
        title="character GPT, width 128, 4 layers, 4 heads, block 64, batch 12, AdamW, clip 1.0",
        make=lambda: CharGPT(CharGPTConfig(layers=4, heads=4, width=128), 65, 64),
        sample=(64,),
        classes=65,
        batch=12,
        betas=(0.9, 0.99),
        weight_decay=0.1,
        clip_norm=1.0,
        tokens=True,
    ),
}


def initial_model(case: Case) -> Classifier:
    """Return the model with the weights that every contender starts from, in float32."""
    model = case.make()
    model.initialize(1, np.float32)
    return model


def batches(case: Case) -> list[dict[str, np.ndarray]]:
    """Return the pool of batches: float32 normal numbers (or tokens) and random labels."""
    rng = np.random.default_rng(2)
    shape = (case.batch, *case.sample)
    labels = shape if case.tokens else (case.batch,)

    def one() -> dict[str, np.ndarray]:
        x: np.ndarray = rng.integers(case.classes, size=shape)
        if not case.tokens:
            x = rng.standard_normal(shape, np.float32)
        return {"x": x, "y": rng.integers(case.classes, size=labels)}

    return [one() for _ in range(POOL)]


class HpcadStep:
    """hpcad's eager step: forward, backward, clipping, optimizer."""

    name = "hpcad"

    def __init__(self, case: Case) -> None:
        kind = optim.AdamW if case.weight_decay else optim.Adam
        self.model = initial_model(case)
        self.optimizer = kind(
            self.model,
            case.learning_rate,
            betas=case.betas,
            weight_decay=case.weight_decay,
            clip_norm=case.clip_norm,
        )

    def prepare(self, batch: Batch) -> Any:
        """Return the batch as this contender takes it; not timed."""
        return batch

    def __call__(self, batch: Batch) -> float:
        """Take one step and return its loss."""
        loss = self.model.loss(batch)
        loss.backward()
        self.optimizer.step()
        return float(loss)
