"""What a checkpoint of a training run holds, and how it is put back."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.checkpoint import Checkpoint, require_match
from hpcad.errors import CheckpointError
from hpcad.nn import Module
from hpcad.optim import Optimizer


def state_arrays(model: Module, optimizer: Optimizer) -> dict[str, Any]:
    """Return parameters and optimizer state by name: views, where they live."""
    own = {f"parameters/{name}": array for name, array in model.arrays().items()}
    return own | {f"optimizer/{name}": array for name, array in optimizer.arrays().items()}


def changed_by_updates(model: Module, optimizer: Optimizer) -> set[str]:
    """Return the names of arrays that nothing but the optimizer's updates changes.

    Parameters that are frozen are not among them: buffers are, which forward passes change.
    """
    own = {f"parameters/{name}" for name, p in model.named_parameters() if not p.frozen}
    return own | {f"optimizer/{name}" for name in optimizer.arrays()}


def describe(
    optimizer: Optimizer,
    *,
    step: int,
    cursor: int,
    order: dict[str, Any],
    job: dict[str, Any],
) -> dict[str, Any]:
    """Return the JSON state of a run: everything that is not an array.

    Nothing in it depends on the number of ranks: the cursor counts samples of all ranks, the
    schedule and all random numbers are functions of the step and the seed.

    Parameters
    ----------
    order : dict
        What the order of the samples is a function of: dataset, seed, shuffle.
    """
    progress: dict[str, Any] = {"step_count": optimizer.step_count}
    if optimizer.loss_scale is not None:
        progress["loss_scale"] = optimizer.loss_scale.state()
    return {
        "step": step,
        "cursor": cursor,
        "order": order,
        "optimizer": {"kind": type(optimizer).__name__, **progress},
        "schedule": repr(optimizer.schedule),
        "job": job,
    }


def restore(
    checkpoint: Checkpoint, model: Module, optimizer: Optimizer, order: dict[str, Any]
) -> tuple[int, int]:
    """Put a checkpoint back.

    Returns
    -------
    step, cursor : int

    Raises
    ------
    CheckpointError
        It belongs to another model, optimizer or order of samples.
    """
    arrays, state = state_arrays(model, optimizer), checkpoint.state
    if missing := {"step", "cursor", "order", "optimizer"} - state.keys():
        raise CheckpointError(
            f"checkpoint {checkpoint.path} is none of a training run: its state lacks "
            f"{', '.join(sorted(missing))}. An imported one has parameters only; "
            "hpcad.checkpoint.restore_partial takes them"
        )
    kind = state["optimizer"]["kind"]
    if kind != type(optimizer).__name__:
        raise CheckpointError(
            f"checkpoint {checkpoint.path} was made with the optimizer {kind}, but this run uses "
            f"{type(optimizer).__name__}; use the job file it was made with, or start afresh"
        )
    require_match(
        checkpoint.arrays,
        {name: (tuple(a.shape), a.dtype) for name, a in arrays.items()},
        checkpoint.path,
    )
    for what, own in order.items():
        before = state["order"].get(what)
        if before != own:
            raise CheckpointError(
                f"checkpoint {checkpoint.path} was made with another {what} ({before}, now {own}), "
                "so its place in the data means nothing here; restore that, or start afresh with "
                "another output directory"
            )
    found = {name: _like(array, checkpoint.arrays[name]) for name, array in arrays.items()}
    model.load({name: found[f"parameters/{name}"] for name in model.arrays()})
    for name, array in optimizer.arrays().items():
        array[...] = found[f"optimizer/{name}"]
    optimizer.step_count = state["optimizer"]["step_count"]
    if optimizer.loss_scale is not None and "loss_scale" in state["optimizer"]:
        optimizer.loss_scale.load(state["optimizer"]["loss_scale"])
    return int(state["step"]), int(state["cursor"])


def _like(array: Any, host: np.ndarray) -> Any:
    from hpcad.backend import backend_of

    return backend_of(array).asarray(host)
