"""Whether a point computed what few ranks compute: the condition to enter a report."""

from __future__ import annotations

import numpy as np

from hpcad.scaling.study.samples import Samples
from hpcad.scaling.study.study import CorrectnessSection


def what_is_wrong(samples: Samples, reference: Samples | None, wanted: CorrectnessSection) -> str:
    """Say why the results of a run are wrong; empty where they are not.

    Parameters
    ----------
    samples : Samples
    reference : Samples or None
        The same training on few ranks; None where there is none to compare with.
    wanted : CorrectnessSection
        How many losses must agree, and how closely.
    """
    if not np.isfinite(samples.loss).all():
        step = int(np.flatnonzero(~np.isfinite(samples.loss))[0])
        return f"the loss of step {step} is {samples.loss[step]:g}"
    if samples.point.control == "communication off":
        return ""  # every rank has trained on its own data
    if wrong := _digests(samples):
        return wrong
    return _losses(samples, reference, wanted) if reference is not None else ""


def _digests(samples: Samples) -> str:
    found = samples.facts["digests"]
    others = [rank for rank, digest in enumerate(found) if digest != found[0]]
    if not others:
        return ""
    return (
        f"the ranks do not have the same parameters at the end: rank {others[0]} and "
        f"{len(others) - 1} others differ from rank 0"
        if len(others) > 1
        else f"rank {others[0]} does not have the parameters of rank 0 at the end"
    )


def _losses(samples: Samples, reference: Samples, wanted: CorrectnessSection) -> str:
    count = min(wanted.steps, len(samples.loss), len(reference.loss))
    mine, right = samples.loss[:count], reference.loss[:count]
    error = np.abs(mine - right) / np.maximum(np.abs(right), np.finfo(float).tiny)
    bad = np.flatnonzero(~(error <= wanted.tolerance))
    if not len(bad):
        return ""
    step = int(bad[0])
    few = reference.point.ranks
    return (
        f"the loss of step {step} is {mine[step]:.8g}, but {right[step]:.8g} on {few} "
        f"rank{'s' if few > 1 else ''}: they differ by {error[step]:.1e} of it, more than "
        f"the tolerance of {wanted.tolerance:g}"
    )
