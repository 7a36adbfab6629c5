"""The GPT training steps that gpu_step.py measures: model, batches and optimizer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from gpu_marks import flops_per_token

from hpcad.models import GPT2, GPT2Config

POOL = 8  # different batches, in the memory of the device before anything is timed
PADDING = 64  # the embedding has a multiple of so many rows: 50304 of GPT-2's
PRECISIONS = ("bfloat16", "tf32", "float32")


@dataclass(frozen=True)
class GptCase:
    """A training step of a GPT-2.

    Attributes
    ----------
    name : str
    layers, heads, width, length : int
    symbols : int
        Tokens; the embedding has more rows.
    batch : int
        Rows of ``length`` tokens.
    precision : {"bfloat16", "tf32", "float32"}
        Of activations and products; parameters and the optimizer's state are float32.
    """

    name: str
    layers: int
    heads: int
    width: int
    length: int
    symbols: int
    batch: int
    precision: str = "bfloat16"
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip_norm: float = 1.0

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding."""
        return -(-self.symbols // PADDING) * PADDING

    @property
    def parameters(self) -> int:
        """All of them, with biases, and the head tied to the embedding."""
        c = self.width
        block = 12 * c * c + 13 * c  # two norms, four linear layers with biases
        return (self.vocabulary + self.length) * c + self.layers * block + 2 * c

    @property
    def tokens(self) -> int:
        """Of a step."""
        return self.batch * self.length

    @property
    def flops_per_token(self) -> int:
        """As llm.c counts."""
        return flops_per_token(self.parameters, self.layers, self.width, self.length)

    @property
    def title(self) -> str:
        """What it is, in words."""
        return (
            f"{self.name}: {self.layers} layers, {self.heads} heads, width {self.width}, "
            f"{self.parameters:,} parameters, batch {self.batch} x {self.length} tokens, "
            f"{self.precision}, AdamW with float32 state, clip {self.clip_norm}"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; :func:`from_dict` is the opposite."""
        return asdict(self)


SMALL = GptCase("gpt2-124m", 12, 12, 768, 1024, 50257, batch=32)  # GPT-2's own name for it
TINY = GptCase("tiny", 2, 2, 32, 16, 61, batch=2, learning_rate=1e-3)


def case_of(tiny: bool, batch: int | None, precision: str) -> GptCase:
    """Return the step with a batch size (None: the tiny one's own) and a precision."""
    case = replace(TINY if tiny else SMALL, precision=precision)
    return case if batch is None else replace(case, batch=batch)


def from_dict(fields: dict[str, Any]) -> GptCase:
    """Return the case that was written by :meth:`GptCase.as_dict`."""
    return GptCase(**(fields | {"betas": tuple(fields["betas"])}))


def new_model(case: GptCase) -> GPT2:
    """Return the network of a case, not initialised."""
    config = GPT2Config(
        layers=case.layers,
        heads=case.heads,
        width=case.width,
        vocabulary=case.symbols,
        padding=PADDING,
        context=case.length,
    )
    return GPT2(config)


def initial_arrays(case: GptCase) -> dict[str, np.ndarray]:
    """Return the weights that every contender starts from, by name, float32."""
    model = new_model(case)
    model.initialize(1, np.float32)
    return model.arrays()


def batches(case: GptCase) -> list[dict[str, np.ndarray]]:
    """Return the pool of batches: random tokens, and those that follow them.

    The k-th most frequent token has a share of about 1 / k, as in text (Zipf's law): so a few rows
    of the embedding get many gradients, and there is something to learn from the first step on.
    """
    rng = np.random.default_rng(2)
    found = []
    for _ in range(POOL):
        drawn = rng.random((case.batch, case.length + 1))
        drawn = (float(case.symbols) ** drawn).astype(np.int64) - 1
        found.append({"x": drawn[:, :-1].copy(), "y": drawn[:, 1:].copy()})
    return found
