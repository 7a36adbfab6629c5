"""Convolutional network for small images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hpcad.errors import ConfigError
from hpcad.models.classifier import Classifier
from hpcad.nn import Conv2d, Dropout, Linear, max_pool2d, relu
from hpcad.primitives.layout import reshape
from hpcad.training.job_fields import bounded


@dataclass(frozen=True)
class CNNConfig:
    """Settings of a CNN.

    Attributes
    ----------
    filters : list of int
        Of each stage: 3 x 3 convolution, 2 x 2 max pooling, ReLU.
    hidden : int
        Width of the linear layer before the classes.
    dropout : float
        Before the last layer.
    """

    filters: list[int] = bounded(at_least=1)
    hidden: int = bounded(128, at_least=1)
    dropout: float = bounded(0.0, at_least=0, below=1)


class CNN(Classifier):
    """Stages of convolution, pooling and ReLU, then two linear layers.

    Parameters
    ----------
    image : tuple (H, W) or (H, W, C)
    classes : int
    """

    def __init__(self, config: CNNConfig, image: tuple[int, ...], classes: int) -> None:
        height, width = image[:2]
        channels = image[2] if len(image) == 3 else 1
        self.stages = []
        for filters in config.filters:
            self.stages.append(Conv2d(channels, filters, 3, padding=1))
            channels, height, width = filters, height // 2, width // 2
        if height < 1 or width < 1:
            raise ConfigError(
                f"[model] filters has {len(config.filters)} stages, each of which halves the "
                f"image; images of {image[0]} x {image[1]} are too small for that"
            )
        self.hidden = Linear(channels * height * width, config.hidden)
        self.head = Linear(config.hidden, classes)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Any) -> Any:
        if len(x.shape) == 3:
            x = reshape(x, (*x.shape, 1))
        for stage in self.stages:
            x = relu(max_pool2d(stage(x)))  # as the other order, on a quarter of the elements
        x = relu(self.hidden(reshape(x, (x.shape[0], math.prod(x.shape[1:])))))
        return self.head(self.dropout(x))
