"""What is computed in which type: float32, or half precision with float32 where it matters.

Parameters, gradients and optimizer state are float32 whatever the precision (they are the master
weights of Micikevicius et al., arXiv:1710.03740). Layers compute in the type of their input: they
convert their parameters to it, and get the gradients of those in float32. So a model computes in
half precision if its input is in half precision. Inputs that are indices have no type to follow:
:meth:`Precision.apply` tells the embeddings.

Inside of half precision, these are computed in float32: normalisation, softmax, losses, and every
sum of many terms (products accumulate in float32, and round their result once).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.half import is_half, named
from hpcad.errors import ConfigError
from hpcad.nn.module import Module
from hpcad.primitives.elementwise import cast

NAMES = ("float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True)
class Precision:
    """A named way to compute.

    Attributes
    ----------
    name : {"float32", "tf32", "bfloat16", "float16"}
        tf32 is float32 whose products a GPU may round to 10 bits of mantissa.

    Examples
    --------
    >>> from hpcad import nn
    >>> nn.Precision("float16").dtype
    dtype('float16')
    >>> nn.Precision("float16").scales_losses
    True
    """

    name: str = "float32"

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            known = ", ".join(map(repr, NAMES))
            raise ConfigError(f"there is no precision {self.name!r}; there are {known}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of inputs and activations.

        Raises
        ------
        ConfigError
            bfloat16 needs the package ml_dtypes, which is not installed.
        """
        return np.dtype(np.float32) if self.name == "tf32" else named(self.name)

    @property
    def is_half(self) -> bool:
        """Whether activations are in half precision."""
        return self.name in ("bfloat16", "float16")

    @property
    def scales_losses(self) -> bool:
        """Whether gradients need a :class:`~hpcad.optim.LossScale`: float16 has few exponents."""
        return self.name == "float16"

    def apply(self, model: Module) -> None:
        """Let the embeddings of a model give vectors of this precision.

        Parameters
        ----------
        model : Module
            Changed in place; float32 takes the change back.
        """
        dtype = self.dtype if self.is_half else None
        for module in _modules(model):
            if hasattr(module, "output_dtype"):
                module.output_dtype = dtype


def half_type_of(x: Any) -> Any:
    """The dtype of an input in half precision; None for others."""
    return x.dtype if is_half(x.dtype) else None


def in_single(x: Any) -> Any:
    """An input in half precision as float32; others as they are."""
    return cast(x, dtype=np.float32) if is_half(x.dtype) else x


def like(y: Any, x: Any) -> Any:
    """An answer in the half precision of the input; as it is for other inputs."""
    dtype = half_type_of(x)
    return y if dtype is None or y.dtype == dtype else cast(y, dtype=dtype)


def _modules(node: Any) -> Iterator[Module]:
    if isinstance(node, Module):
        yield node
        for child in vars(node).values():
            yield from _modules(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _modules(child)
    elif isinstance(node, dict):
        yield from _modules(list(node.values()))
