"""What is checked before a training run begins, and at its first step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.autodiff import Tensor
from hpcad.backend import Array
from hpcad.errors import ConfigError, HpcadError
from hpcad.optim import LossScale
from hpcad.parallel import World
from hpcad.parallel.mean import global_mean
from hpcad.training.result import Result


def check_counts(**counts: int | None) -> None:
    """Refuse settings that are not whole numbers of at least 1 (None is no setting).

    Raises
    ------
    ConfigError
        Names the setting.
    """
    for name, count in counts.items():
        if count is None:
            continue
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, not {count!r}")


def check_loss(loss: Any, *, first: bool) -> None:
    """Refuse what is not a scalar tensor, and a loss that averages over ranks by itself.

    Parameters
    ----------
    first : bool
        Whether this is the first step, at which the whole record of the loss is looked through.

    Raises
    ------
    ConfigError
        With what to return instead.
    """
    if not isinstance(loss, Tensor):
        raise ConfigError(
            f"the loss function returned a {type(loss).__name__}; it must return the mean over "
            "the batch as a scalar tensor, computed from the model's parameters"
        )
    if loss.shape != ():
        raise ConfigError(
            f"the loss function returned shape {tuple(loss.shape)}; it must return a scalar: "
            "the mean over the batch, for example losses.mean()"
        )
    if first and loss.follower is not None:
        records, _ = loss.follower.cut([loss.slot], retain=True)  # others may be on the tape, too
        if any(record[0] is global_mean for record in records):
            raise ConfigError(
                "the loss function of a Trainer must return the mean over its own batch: the "
                "trainer averages over the ranks itself; use .mean() instead of parallel.mean"
            )


def check_metrics(found: Mapping[str, Any]) -> None:
    """Refuse sums without their count.

    Raises
    ------
    ConfigError
        With what to return.
    """
    if "count" not in found:
        raise ConfigError(
            f"the metrics function returned {sorted(found)}; it must return sums over the batch "
            "by name, and among them 'count', by which the totals are divided"
        )


def require_method(model: Any, name: str, given: Any) -> None:
    """Refuse a model without a method that the trainer would call.

    Raises
    ------
    ConfigError
        Names the method, and the argument that takes its place.
    """
    if given is None and not hasattr(model, name):
        argument = {"loss": "loss", "evaluate": "metrics"}[name]
        raise ConfigError(
            f"{type(model).__name__} has no method {name}(batch); define it, or give the trainer "
            f"{argument}="
        )


def require_finite(world: World, loss: float, arenas: Sequence[Array], result: Result) -> None:
    """Stop, on all ranks alike, when the loss or a parameter is no longer a number.

    Raises
    ------
    HpcadError
        Names the step and the last checkpoint.
    """
    fine = math.isfinite(loss) and all(bool(np.isfinite(flat).all()) for flat in arenas)
    worst = np.array([fine], np.int64)
    world.communicator.allreduce(worst, "min", "finite")
    if worst[0]:
        return
    last = result.checkpoint
    where = f"continue from {last}" if last else "start again (no checkpoint was saved yet)"
    raise HpcadError(
        f"the loss or a parameter is no longer a number at step {result.step}; lower the learning "
        f"rate or clip the gradient ([optimizer] clip_norm), and {where}"
    )


def require_scale(loss_scale: LossScale | None, result: Result) -> None:
    """Stop when gradients overflow whatever the scale of the loss; on all ranks alike.

    Raises
    ------
    HpcadError
        With what to do.
    """
    if loss_scale is not None and loss_scale.exhausted:
        raise HpcadError(
            f"gradients overflow at step {result.step}, though the loss scale is down to 1: the "
            "model needs a wider range than float16 has; train with precision bfloat16 or float32"
        )


def require_same(world: World, settings: Mapping[str, Any]) -> None:
    """Refuse a run whose ranks were given different settings; collective.

    They would wait for one another for ever, or train different models without a word.

    Raises
    ------
    ConfigError
        On every rank alike; names the setting, a rank and both values.
    """
    everywhere = world.communicator.gather_json(dict(settings), "settings")
    for rank, other in enumerate(everywhere):
        for name, value in everywhere[0].items():
            if other[name] != value:
                raise ConfigError(
                    f"{name} differs between the ranks: it is {value} on rank 0 and "
                    f"{other[name]} on rank {rank}; give every rank the same"
                )
