"""Multi-head causal self-attention and the transformer block."""

from __future__ import annotations

from typing import Any

from hpcad.errors import ConfigError
from hpcad.nn import initializers as init
from hpcad.nn.layers import Dropout, LayerNorm, Linear
from hpcad.nn.module import Module
from hpcad.primitives.attention import attention
from hpcad.primitives.elementwise import add, gelu
from hpcad.primitives.joining import unstack
from hpcad.primitives.layout import reshape, transpose


class CausalSelfAttention(Module):
    """Self-attention in which a place sees itself and what is before it.

    Parameters
    ----------
    width : int
        Features in and out; a multiple of ``heads``.
    heads : int
    bias : bool
    std, projection_std : float
        Standard deviation of the weights, and of those of the output projection.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        bias: bool = False,
        std: float = 0.02,
        projection_std: float = 0.02,
    ) -> None:
        if width % heads:
            raise ConfigError(f"width {width} is not a multiple of the number of heads {heads}")
        self.qkv = Linear(width, 3 * width, bias, init.normal(std))
        self.projection = Linear(width, width, bias, init.normal(projection_std))
        self.heads = heads

    def forward(self, x: Any) -> Any:
        n, t, width = x.shape
        packed = reshape(self.qkv(x), (n, t, 3, self.heads, width // self.heads))
        q, k, v = unstack(transpose(packed, (2, 0, 3, 1, 4)), axis=0)
        mixed = transpose(attention(q, k, v, causal=True), (0, 2, 1, 3))
        return self.projection(reshape(mixed, (n, t, width)))


class TransformerBlock(Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))`` (pre-norm, as in GPT-2)."""

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        bias: bool = False,
        std: float = 0.02,
        projection_std: float = 0.02,
        name: str = "block",
    ) -> None:
        self.norm1 = LayerNorm(width, bias)
        self.attention = CausalSelfAttention(width, heads, bias, std, projection_std)
        self.norm2 = LayerNorm(width, bias)
        self.expand = Linear(width, 4 * width, bias, init.normal(std))
        self.contract = Linear(4 * width, width, bias, init.normal(projection_std))
        self.dropout1 = Dropout(dropout, f"{name}.dropout1")
        self.dropout2 = Dropout(dropout, f"{name}.dropout2")

    def forward(self, x: Any) -> Any:
        x = add(x, self.dropout1(self.attention(self.norm1(x))))
        hidden = gelu(self.expand(self.norm2(x)))
        return add(x, self.dropout2(self.contract(hidden)))
