"""Training of small networks on the digits, on any device."""

from __future__ import annotations

import json

import numpy as np

from hpcad import optim
from hpcad.backend import get_backend
from hpcad.data import open_dataset
from hpcad.models import CNN, MLP, CNNConfig, MLPConfig
from hpcad.training import Prepare, Trainer

MODELS = {
    "mlp": lambda: MLP(MLPConfig([32], dropout=0.1), 64, 10),
    "cnn": lambda: CNN(CNNConfig([8, 16], 32), (8, 8), 10),
}


def losses(kind, device, directory, steps, compile=True):
    """The loss of every step."""
    backend = get_backend(device)
    model = MODELS[kind]()
    model.initialize(1, np.float32, backend)
    Trainer(
        model,
        optim.AdamW(model, 1e-3, weight_decay=0.01, clip_norm=1.0),
        open_dataset("builtin:digits/train"),
        test=open_dataset("builtin:digits/test"),
        batch=64,
        steps=steps,
        log_every=1,
        prepare=Prepare(np.float32, 0.0625, backend=backend),
        directory=directory,
        compile=compile,
    ).run()
    rows = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]
