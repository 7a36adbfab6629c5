"""The sections of a job file. Field names are its keys, annotations its types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hpcad.training.job_fields import bounded


@dataclass(frozen=True)
class DataSection:
    """What is read, in which batches, and how inputs are scaled.

    `batch` is the global batch: it is divided over the ranks. Inputs become
    ``(x * scale - mean) / std``; integer inputs are converted to the training dtype first.
    `window` and `stride` cut token data into samples. Relative paths of `train` and `test` start
    from the current directory. With `shuffle_block` (samples) blocks come in a random order, and
    `shuffle_window` of them are mixed at a time, for storage that wants long reads. `stage` is a
    directory of each node to which the data are copied first, or ``"auto"``; `stage_share` says
    whether each node gets all shards or a part of them, and `stage_keep` whether the copies stay
    when the job ends.
    """

    train: str
    test: str | None = None
    batch: int = bounded(64, at_least=1)
    shuffle: bool = True
    shuffle_block: int | None = bounded(None, at_least=1)
    shuffle_window: int = bounded(64, at_least=1)
    prefetch: int = bounded(8, at_least=0)
    window: int | None = bounded(None, at_least=1)
    stride: int = bounded(1, at_least=1)
    scale: float = bounded(1.0, above=0)
    mean: float = 0.0
    std: float = bounded(1.0, above=0)
    stage: str | None = None
    stage_share: Literal["all", "part"] = "all"
    stage_keep: bool = False

    def __post_init__(self) -> None:
        if self.window is None and self.stride != 1:
            raise ValueError("stride belongs to window (token data), which is not set")


@dataclass(frozen=True)
class OptimizerSection:
    """The update rule.

    `momentum` and `nesterov` belong to sgd, `betas` to adam and adamw, `alpha` to rmsprop.
    """

    kind: Literal["sgd", "rmsprop", "adam", "adamw"]
    learning_rate: float = bounded(above=0)
    momentum: float = bounded(0.0, at_least=0, below=1)
    nesterov: bool = False
    betas: tuple[float, float] = bounded((0.9, 0.999), at_least=0, below=1)
    eps: float = bounded(1e-8, above=0)
    alpha: float = bounded(0.99, at_least=0, below=1)
    weight_decay: float = bounded(0.0, at_least=0)
    clip_norm: float | None = bounded(None, above=0)

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")


@dataclass(frozen=True)
class ScheduleSection:
    """The learning rate over steps: `warmup` linear ones, then `kind` down to `final` at `steps`.

    `steps` is that of the training when it is not given.
    """

    kind: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = bounded(0, at_least=0)
    steps: int | None = bounded(None, at_least=1)
    final: float = bounded(0.0, at_least=0)

    def __post_init__(self) -> None:
        if self.steps is not None and self.warmup >= self.steps:
            raise ValueError(f"warmup ({self.warmup}) must be less than steps ({self.steps})")


@dataclass(frozen=True)
class TrainingSection:
    """How long, in which precision, on what. With both `epochs` and `steps` the first reached ends.

    `evaluate_every` counts steps; without it the end of every epoch evaluates, by `evaluate_batch`
    samples a rank at a time. `accumulate` cuts the batch of a rank in so many parts, whose
    gradients are added up: memory for the values of one part is enough. `compile` turns the step
    into a program; without it every operation is carried out one by one. `precision` is what layers
    compute in (with ``"float32"``, `dtype`); parameters stay `dtype`. `loss_scale` and
    `loss_scale_interval` belong to float16: the first scale, and the good steps until it doubles.
    """

    epochs: int | None = bounded(None, at_least=1)
    steps: int | None = bounded(None, at_least=1)
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    loss_scale: float = bounded(2.0**16, at_least=1, at_most=2**24)
    loss_scale_interval: int = bounded(2000, at_least=1)
    device: Literal["auto", "cpu", "gpu", "strict"] = "cpu"
    log_every: int = bounded(50, at_least=1)
    evaluate_every: int | None = bounded(None, at_least=1)
    evaluate_batch: int = bounded(256, at_least=1)
    accumulate: int = bounded(1, at_least=1)
    compile: bool = True

    def __post_init__(self) -> None:
        if self.epochs is None and self.steps is None:
            raise ValueError("give the length of the training: epochs, or steps, or both")
        if self.dtype == "float64" and self.precision != "float32":
            raise ValueError(
                f"precision {self.precision!r} has parameters of float32; leave dtype away, or "
                "precision for float64 throughout"
            )
        if math.frexp(self.loss_scale)[0] != 0.5:
            raise ValueError(f"loss_scale must be a power of two, not {self.loss_scale:g}")


@dataclass(frozen=True)
class CheckpointSection:
    """When to save and how many to keep. `every` counts steps; without it each epoch end saves.

    `asynchronous` writes beside the training, which is held only where a copy is not ready yet.
    `margin`: so many seconds before the end of the job the run is over. `tries`: how often it may
    start at the same saved step.
    """

    every: int | None = bounded(None, at_least=1)
    keep: int = bounded(2, at_least=2)
    enabled: bool = True
    asynchronous: bool = True
    margin: float = bounded(60.0, at_least=0)
    tries: int | Literal["auto"] | None = bounded("auto", at_least=1)


@dataclass(frozen=True)
class ParallelSection:
    """Gradient buckets: size in MB, a smaller first one, overlap with backward, and by whom.

    `reduction` is what sums of gradients travel in between ranks that share no memory.
    """

    bucket_mb: float | None = bounded(None, above=0)
    first_bucket_mb: float | None = bounded(None, above=0)
    overlap: bool = True
    progress: Literal["auto", "poll", "thread"] = "auto"
    reduction: Literal["exact", "bfloat16", "float16"] = "exact"


@dataclass(frozen=True)
class OutputSection:
    """Where metrics and checkpoints go; ``<name>`` stands for the name of the job."""

    directory: str = "runs/<name>"
