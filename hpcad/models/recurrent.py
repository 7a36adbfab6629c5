"""Recurrent classifier: reads a sample row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from hpcad.models.classifier import Classifier
from hpcad.nn import GRU, LSTM, RNN, Linear
from hpcad.primitives.indexing import getitem
from hpcad.primitives.layout import reshape
from hpcad.training.job_fields import bounded

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


@dataclass(frozen=True)
class RecurrentConfig:
    """Settings of a recurrent classifier.

    Attributes
    ----------
    cell : {"rnn", "lstm", "gru"}
    hidden : int
    """

    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    hidden: int = bounded(64, at_least=1)


class RecurrentClassifier(Classifier):
    """A recurrent layer over the rows of a sample; its last output gives the classes.

    Parameters
    ----------
    features : int
        Length of a row.
    classes : int
    """

    def __init__(self, config: RecurrentConfig, features: int, classes: int) -> None:
        self.recurrent = CELLS[config.cell](features, config.hidden)
        self.head = Linear(config.hidden, classes)

    def forward(self, x: Any) -> Any:
        if len(x.shape) > 3:
            x = reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))
        outputs, _ = self.recurrent(x)
        return self.head(getitem(outputs, (slice(None), -1)))
