"""Multilayer perceptron."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from hpcad.models.classifier import Classifier
from hpcad.nn import Dropout, Linear, relu
from hpcad.primitives.layout import reshape
from hpcad.training.job_fields import bounded


@dataclass(frozen=True)
class MLPConfig:
    """Settings of an MLP.

    Attributes
    ----------
    hidden : list of int
        Widths of the hidden layers.
    dropout : float
        After each hidden layer.
    """

    hidden: list[int] = bounded(at_least=1)
    dropout: float = bounded(0.0, at_least=0, below=1)


class MLP(Classifier):
    """Linear layers with ReLU between them; inputs of any shape are flattened.

    Parameters
    ----------
    inputs : int
        Features of a flattened sample.
    classes : int
    """

    def __init__(self, config: MLPConfig, inputs: int, classes: int) -> None:
        widths = [inputs, *config.hidden, classes]
        self.layers = [Linear(a, b) for a, b in itertools.pairwise(widths)]
        self.dropouts = [Dropout(config.dropout, f"dropout{i}") for i in range(len(config.hidden))]

    def forward(self, x: Any) -> Any:
        x = reshape(x, (x.shape[0], math.prod(x.shape[1:])))
        for layer, dropout in zip(self.layers[:-1], self.dropouts, strict=True):
            x = dropout(relu(layer(x)))
        return self.layers[-1](x)
