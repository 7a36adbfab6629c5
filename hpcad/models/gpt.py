"""GPT: a decoder-only transformer in the manner of GPT-2 (Radford et al., 2019)."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from hpcad.autodiff import no_grad
from hpcad.backend import Stream, backend_of
from hpcad.errors import ConfigError
from hpcad.models.classifier import Classifier
from hpcad.nn import Dropout, Embedding, LayerNorm, TransformerBlock
from hpcad.nn.precision import half_type_of
from hpcad.primitives.elementwise import add
from hpcad.primitives.layout import matrix_transpose
from hpcad.primitives.product import linear


class Shape(Protocol):
    """What the configurations of these models have in common."""

    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def bias(self) -> bool: ...
    @property
    def std(self) -> float: ...


def check_heads(config: Shape) -> None:
    """Refuse a width that the heads do not divide.

    Raises
    ------
    ValueError
        Of a job file's section, or of the dataclass.
    """
    if config.width % config.heads:
        raise ValueError(f"width ({config.width}) must be a multiple of heads ({config.heads})")


class GPT(Classifier):
    """Token and position embedding, transformer blocks, and a head tied to the embedding.

    Parameters
    ----------
    config : Shape
        With layers, heads, width, dropout, bias and std.
    vocabulary : int
        Number of symbols.
    block : int
        Longest context, in tokens.

    Attributes
    ----------
    symbols : int
        Those that may be generated: all.
    """

    def __init__(self, config: Shape, vocabulary: int, block: int) -> None:
        self.tokens = Embedding(vocabulary, config.width)
        self.positions = Embedding(block, config.width)
        self.dropout = Dropout(config.dropout, "embedding.dropout")
        # Each block adds to the residual stream twice; the division keeps its variance (GPT-2).
        std = config.std
        projection = std / math.sqrt(2 * config.layers)
        self.blocks = [
            TransformerBlock(
                config.width,
                config.heads,
                config.dropout,
                config.bias,
                std,
                projection,
                f"block{i}",
            )
            for i in range(config.layers)
        ]
        self.norm = LayerNorm(config.width, config.bias)
        self.block = block
        self.symbols = vocabulary

    def forward(self, tokens: Any) -> Any:
        """Logits of the next token at every place.

        Parameters
        ----------
        tokens : integer array, shape (N, T), T at most ``block``

        Returns
        -------
        array, shape (N, T, vocabulary)
        """
        length = tokens.shape[1]
        if length > self.block:
            raise ConfigError(f"{length} tokens do not fit a context of {self.block}")
        places = backend_of(tokens).xp.arange(length)
        x = add(self.tokens(tokens), self.positions(places))
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        table = matrix_transpose(self.tokens.weight)
        return linear(self.norm(x), table, dtype=half_type_of(x))

    def generate(self, prompt: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
        """Continue a sequence by sampling.

        Parameters
        ----------
        prompt : integer array, shape (T,)
        count : int
            Tokens to add.

        Returns
        -------
        integer array, shape (T + count,)
        """
        out = list(np.asarray(prompt, np.int64))
        draws = Stream(seed, "generate").uniform((count,))
        with no_grad():
            for u in draws:
                logits = self(np.asarray(out[-self.block :])[None]).numpy()[0, -1]
                logits = logits[: self.symbols].astype(np.float64)
                p = np.exp(logits - logits.max())
                out.append(int(np.searchsorted(np.cumsum(p) / p.sum(), u, side="right")))
        return np.asarray(out)
