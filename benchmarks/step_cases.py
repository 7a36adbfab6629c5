"""The training steps that step_time.py measures: model, data and optimizer.

The networks are hpcad's own; torch_nets.py and jax_nets.py hold the equal ones of the peers, which
take their first weights from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hpcad.models import (
    CNN,
    MLP,
    CharGPT,
    CharGPTConfig,
    CNNConfig,
    MLPConfig,
    RecurrentClassifier,
    RecurrentConfig,
)
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


def _gpt(width: int, block: int, batch: int) -> Case:
    return Case(
        title=f"character GPT, width {width}, 4 layers, 4 heads, block {block}, 65 characters, "
        f"batch {batch}, AdamW, clip 1.0",
        make=lambda: CharGPT(CharGPTConfig(layers=4, heads=4, width=width), 65, block),
        sample=(block,),
        classes=65,
        batch=batch,
        betas=(0.9, 0.99),
        weight_decay=0.1,
        clip_norm=1.0,
        tokens=True,
    )


CASES: dict[str, Case] = {
    "mlp": Case(
        title="MLP 784-512-512-10, batch 128, Adam",
        make=lambda: MLP(MLPConfig([512, 512]), 784, 10),
        sample=(784,),
        classes=10,
        batch=128,
    ),
    "mlp-large": Case(
        title="MLP of four 1024 x 1024 layers (the last gives 1024 classes), batch 256, Adam",
        make=lambda: MLP(MLPConfig([1024] * 3), 1024, 1024),
        sample=(1024,),
        classes=1024,
        batch=256,
    ),
    "cnn": Case(
        title="CNN 1-32-64 3x3, pool, linear 128, batch 64 of 28x28, Adam",
        make=lambda: CNN(CNNConfig([32, 64], 128), (28, 28), 10),
        sample=(28, 28),
        classes=10,
        batch=64,
    ),
    "lstm": Case(
        title="LSTM 256-256, 32 times, last output to 10 classes, batch 64, Adam",
        make=lambda: RecurrentClassifier(RecurrentConfig("lstm", 256), 256, 10),
        sample=(32, 256),
        classes=10,
        batch=64,
    ),
    "gpt": _gpt(width=256, block=128, batch=8),
    "gpt-small": _gpt(width=128, block=64, batch=12),
}
FIVE = ("mlp", "mlp-large", "cnn", "lstm", "gpt")  # what is measured where nothing else is asked


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
