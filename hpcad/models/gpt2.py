"""GPT-2 (Radford et al., "Language models are unsupervised multitask learners", 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from hpcad.models.gpt import GPT, check_heads
from hpcad.training.job_fields import bounded


@dataclass(frozen=True)
class GPT2Config:
    """Settings of a GPT-2; the defaults are those of its smallest, of 124 million parameters.

    Attributes
    ----------
    layers, heads, width : int
    vocabulary : int
        Tokens. The dataset may have fewer.
    padding : int
        The embedding has a multiple of so many rows: products of 50304 columns are faster on a GPU
        than of 50257. The rows beyond ``vocabulary`` are logits that no token has; training makes
        them small, and they are never generated.
    context : int
        Longest context, in tokens; ``[data] window`` may be shorter.
    dropout : float
    bias : bool
        Biases in linear layers and layer norms.
    std : float
        Standard deviation of the initial weights and embeddings; projections into the residual
        stream have it divided by ``sqrt(2 layers)``.
    """

    layers: int = bounded(12, at_least=1)
    heads: int = bounded(12, at_least=1)
    width: int = bounded(768, at_least=1)
    vocabulary: int = bounded(50257, at_least=1)
    padding: int = bounded(128, at_least=1)
    context: int = bounded(1024, at_least=1)
    dropout: float = bounded(0.0, at_least=0, below=1)
    bias: bool = True
    std: float = bounded(0.02, above=0)

    def __post_init__(self) -> None:
        check_heads(self)

    @property
    def rows(self) -> int:
        """Of the embedding."""
        return -(-self.vocabulary // self.padding) * self.padding


class GPT2(GPT):
    """Pre-norm, GELU in its tanh form, a head tied to the embedding, and a padded vocabulary.

    Examples
    --------
    >>> GPT2(GPT2Config(layers=1, heads=2, width=8, vocabulary=50, context=16)).parameter_count()
    2040
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config, config.rows, config.context)
        self.symbols = config.vocabulary
