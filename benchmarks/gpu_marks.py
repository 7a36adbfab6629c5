"""What a GPU could do, what a token costs, and the marks that a training step is held to.

Nothing here is measured: these are published figures of cards and of llm.c, and formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Dense rates in TFLOP/s, from NVIDIA's data sheets, by a part of the card's name; the first that
# fits. float32 stands for products without tensor cores.
PEAKS: dict[str, dict[str, float]] = {
    "H200": {"bfloat16": 989.0, "float16": 989.0, "tf32": 494.0, "float32": 67.0},
    "H100 PCIe": {"bfloat16": 756.0, "float16": 756.0, "tf32": 378.0, "float32": 51.0},
    "H100": {"bfloat16": 989.0, "float16": 989.0, "tf32": 494.0, "float32": 67.0},
    "A100": {"bfloat16": 312.0, "float16": 312.0, "tf32": 156.0, "float32": 19.5},
}

FIRST_MARK = 300_000.0  # tokens/s on one card
THIRD_MARK = 468_000.0  # llm.c, GPT-2 124M on each of 8 H100 SXM
MARKED_BATCH = 32  # the marks are for this batch size and larger ones
FORMULA = (
    "MFU by the formula of llm.c: (6 N + 6 L C T) FLOP per token, N with the padded vocabulary, "
    "L layers of width C, T tokens in a row (causal)"
)


def flops_per_token(parameters: int, layers: int, width: int, length: int) -> int:
    """Return the FLOP of a training step per token, as llm.c counts: ``6 N + 6 L C T``.

    nanoGPT leaves the positions out of N and counts attention in full: ``6 (N - TC) + 12 L C T``,
    which is 6 % more for GPT-2 124M.

    Parameters
    ----------
    parameters : int
        All of them, N.
    layers, width, length : int
        L, C and T.

    References
    ----------
    llm.c, ``train_gpt2.cu``, ``gpt2_estimate_mfu``.
    """
    return 6 * parameters + 6 * layers * width * length


def peak_of(card: str, precision: str) -> float | None:
    """Return the dense FLOP/s of a card; None where the table does not have it."""
    for name, rates in PEAKS.items():
        if all(word in card for word in name.split()):
            return 1e12 * rates[precision]
    return None


def mfu(tokens_per_second: float, flop_per_token: int, peak: float) -> float:
    """Return the model FLOP utilisation: the share of the peak that the formula's FLOP are."""
    return tokens_per_second * flop_per_token / peak


@dataclass(frozen=True)
class Mark:
    """A rate to reach.

    Attributes
    ----------
    name : str
    tokens_per_second : float or None
        None where this run did not measure it.
    reached : bool or None
        None where it cannot be said.
    """

    name: str
    tokens_per_second: float | None
    reached: bool | None


def marks(ours: float, compiled_torch: float | None) -> list[Mark]:
    """Hold a rate to the three marks.

    Parameters
    ----------
    ours : float
        Tokens per second.
    compiled_torch : float, optional
        Those of torch.compile in the same run.
    """

    def mark(name: str, rate: float | None) -> Mark:
        return Mark(name, rate, None if rate is None else ours >= rate)

    return [
        mark("first mark", FIRST_MARK),
        mark("second mark, torch.compile in this run", compiled_torch),
        mark("third mark, llm.c on an H100", THIRD_MARK),
    ]


def lines_of(found: list[Mark]) -> list[str]:
    """Return what to print of marks."""
    words: dict[Any, str] = {True: "reached", False: "not reached", None: "not measured"}
    return [
        f"{mark.name}: {words[mark.reached]}"
        if mark.tokens_per_second is None
        else f"{mark.name}, {mark.tokens_per_second:,.0f} tokens/s: {words[mark.reached]}"
        for mark in found
    ]


def why_no_marks(model: str, precision: str, batch: int) -> str | None:
    """Say why the marks do not apply; None where they do."""
    if (model, precision) == ("gpt2-124m", "bfloat16") and batch >= MARKED_BATCH:
        return None
    return (
        f"the marks are for gpt2-124m in bfloat16 with batches of at least {MARKED_BATCH}; this is "
        f"{model} in {precision}, batch {batch}"
    )
