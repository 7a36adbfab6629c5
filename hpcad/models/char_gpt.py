"""Character-level GPT, small enough for a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from hpcad.models.gpt import GPT, check_heads
from hpcad.training.job_fields import bounded


@dataclass(frozen=True)
class CharGPTConfig:
    """Settings of a character GPT.

    Attributes
    ----------
    layers, heads, width : int
    dropout : float
    bias : bool
        Biases in linear layers and layer norms.
    std : float
        Standard deviation of the initial weights of linear layers; 0.02 is GPT-2's, whose width
        is 768, and ``1 / sqrt(width)`` keeps variances at any width.
    """

    layers: int = bounded(4, at_least=1)
    heads: int = bounded(4, at_least=1)
    width: int = bounded(128, at_least=1)
    dropout: float = bounded(0.0, at_least=0, below=1)
    bias: bool = False
    std: float = bounded(0.02, above=0)

    def __post_init__(self) -> None:
        check_heads(self)


class CharGPT(GPT):
    """A :class:`GPT` whose vocabulary and context are those of its dataset."""
