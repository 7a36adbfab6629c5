"""Layers without state in time: linear, convolution, embedding, normalisation, dropout.

What they compute of inputs in half precision is described in :mod:`hpcad.nn.precision`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpcad.autodiff import value_of
from hpcad.backend import backend_of
from hpcad.errors import ConfigError
from hpcad.nn import initializers as init
from hpcad.nn.context import current_step
from hpcad.nn.module import InitializedParameter, Module
from hpcad.nn.precision import half_type_of, in_single, like
from hpcad.primitives.convolution import conv2d
from hpcad.primitives.elementwise import cast, greater_equal, multiply
from hpcad.primitives.indexing import take_rows
from hpcad.primitives.layout import reshape
from hpcad.primitives.normalization import layer_norm
from hpcad.primitives.product import linear
from hpcad.primitives.randomness import uniform_rows


class Linear(Module):
    """``y = x W + b``.

    Parameters
    ----------
    inputs, outputs : int
    bias : bool
    initializer : Initializer
        Of W, shape (inputs, outputs); b starts at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = True,
        initializer: init.Initializer = init.he_normal,
    ) -> None:
        self.weight = InitializedParameter((inputs, outputs), initializer)
        self.bias = InitializedParameter((outputs,), init.zeros) if bias else None

    def forward(self, x: Any) -> Any:
        return linear(x, self.weight, self.bias, dtype=half_type_of(x))


class Conv2d(Module):
    """Convolution of images in N,H,W,C order; weight (KH, KW, C, K)."""

    def __init__(
        self, channels: int, filters: int, kernel: int = 3, stride: int = 1, padding: int = 0
    ) -> None:
        self.weight = InitializedParameter((kernel, kernel, channels, filters), init.he_normal)
        self.bias = InitializedParameter((filters,), init.zeros)
        self.stride, self.padding = stride, padding

    def forward(self, x: Any) -> Any:
        dtype = half_type_of(x)
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, dtype=dtype)


class Embedding(Module):
    """Rows of a table by integer index: (...) -> (..., width).

    Attributes
    ----------
    output_dtype : dtype or None
        Of the vectors; None: that of the table. Set by :meth:`hpcad.nn.Precision.apply`.
    """

    output_dtype: Any = None

    def __init__(self, count: int, width: int, initializer: init.Initializer | None = None) -> None:
        self.weight = InitializedParameter((count, width), initializer or init.normal(0.02))

    def forward(self, index: Any) -> Any:
        rows = take_rows(self.weight, index)
        dtype = self.output_dtype
        return rows if dtype is None or rows.dtype == dtype else cast(rows, dtype=dtype)


class LayerNorm(Module):
    """Layer normalisation over the last axis, with learnt scale and shift."""

    def __init__(self, width: int, bias: bool = True, eps: float = 1e-5) -> None:
        self.scale = InitializedParameter((width,), init.ones)
        self.shift = InitializedParameter((width,), init.zeros) if bias else None
        self.eps = eps

    def forward(self, x: Any) -> Any:
        return like(layer_norm(in_single(x), self.scale, self.shift, self.eps), x)


class Dropout(Module):
    """Set a share of the elements to zero in training, and scale up the rest.

    Active inside ``with nn.training_step(...)``, which the trainer enters; the identity
    elsewhere. The mask is a function of (seed, name, step, global sample id, element), so it is
    the same at any world size and after a resume. The first axis must be the samples.

    Parameters
    ----------
    rate : float
        Share of elements set to zero, in [0, 1).
    name : str
        Layers of the same name drop the same elements.
    """

    def __init__(self, rate: float, name: str = "dropout") -> None:
        if not 0.0 <= rate < 1.0:
            raise ConfigError(f"the dropout rate must lie in [0, 1), not {rate}")
        self.rate, self.name = rate, name

    def forward(self, x: Any) -> Any:
        step = current_step()
        if step is None or self.rate == 0.0:
            return x
        shape = tuple(x.shape)
        noise = uniform_rows(
            step.samples(shape[0]),
            step.step,
            key=step.stream(self.name).key,
            width=math.prod(shape[1:]),
            dtype=np.dtype(np.float32),
            device=backend_of(value_of(x)).device,
        )
        kept = cast(greater_equal(noise, self.rate), dtype=x.dtype)
        return multiply(x, reshape(multiply(kept, 1.0 / (1.0 - self.rate)), shape))


class Flatten(Module):
    """(N, ...) -> (N, product of the rest)."""

    def forward(self, x: Any) -> Any:
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))
