"""The models that a job file can name, and how each is built to fit a dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hpcad.errors import ConfigError
from hpcad.models.char_gpt import CharGPT, CharGPTConfig
from hpcad.models.classifier import Classifier
from hpcad.models.cnn import CNN, CNNConfig
from hpcad.models.gpt2 import GPT2, GPT2Config
from hpcad.models.mlp import MLP, MLPConfig
from hpcad.models.recurrent import RecurrentClassifier, RecurrentConfig


@dataclass(frozen=True)
class ModelEntry:
    """One line of the registry.

    Attributes
    ----------
    config : type
        Dataclass of the keys that ``[model]`` takes besides ``kind``.
    build : callable
        ``build(config, dataset)`` returns the model; the dataset tells shapes and classes.
    real_input : bool
        Whether ``x`` is numbers (converted and scaled) or indices (left alone).
    """

    config: type
    build: Callable[[Any, Any], Classifier]
    real_input: bool = True


def _classes(dataset: Any) -> int:
    names = dataset.metadata.get("classes")
    if names is None:
        raise ConfigError(
            "the dataset's manifest names no classes, so it cannot train a classifier; "
            "pack it with labels (see `hpcad data pack --help`)"
        )
    return names if isinstance(names, int) else len(names)


def _image(dataset: Any) -> tuple[int, ...]:
    shape = tuple(dataset.fields["x"].shape)
    if len(shape) not in (2, 3):
        raise ConfigError(f"model 'cnn' needs images (H, W) or (H, W, C), not samples of {shape}")
    return shape


def _rows(dataset: Any) -> int:
    shape = tuple(dataset.fields["x"].shape)
    if len(shape) < 2:
        raise ConfigError(f"model 'recurrent' needs samples (T, features), not {shape}")
    return math.prod(shape[1:])


def _symbols(kind: str, dataset: Any) -> int:
    """How many different tokens a dataset has."""
    vocabulary = dataset.metadata.get("vocabulary")
    if vocabulary is None:
        raise ConfigError(
            f"model {kind!r} needs a text dataset with a vocabulary; "
            "pack one with `hpcad data pack OUT --text FILE` and set [data] window"
        )
    return vocabulary if isinstance(vocabulary, int) else len(vocabulary)


def _text(config: CharGPTConfig, dataset: Any) -> CharGPT:
    return CharGPT(config, _symbols("char_gpt", dataset), dataset.fields["x"].shape[0])


def _gpt2(config: GPT2Config, dataset: Any) -> GPT2:
    symbols, window = _symbols("gpt2", dataset), dataset.fields["x"].shape[0]
    if symbols > config.vocabulary:
        raise ConfigError(
            f"the dataset has {symbols} different tokens, but [model] vocabulary is "
            f"{config.vocabulary}; set it to at least {symbols}"
        )
    if window > config.context:
        raise ConfigError(
            f"[data] window is {window} tokens, but [model] context is {config.context}; make the "
            "window smaller or the context larger"
        )
    return GPT2(config)


REGISTRY: Mapping[str, ModelEntry] = {
    "mlp": ModelEntry(MLPConfig, lambda c, d: MLP(c, math.prod(d.fields["x"].shape), _classes(d))),
    "cnn": ModelEntry(CNNConfig, lambda c, d: CNN(c, _image(d), _classes(d))),
    "recurrent": ModelEntry(
        RecurrentConfig, lambda c, d: RecurrentClassifier(c, _rows(d), _classes(d))
    ),
    "char_gpt": ModelEntry(CharGPTConfig, _text, real_input=False),
    "gpt2": ModelEntry(GPT2Config, _gpt2, real_input=False),
}
