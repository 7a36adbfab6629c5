"""Whether measurements suffice to fit a model."""

from __future__ import annotations

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.laws.least_squares import derivatives
from hpcad.scaling.laws.models import Model
from hpcad.scaling.laws.points import Array, Points

_INDISTINCT = 1e-7


def least_points(model: Model) -> tuple[int, int]:
    """How many different settings, and how many times in all, a fit of the model needs.

    One setting more than parameters, so that a law that does not hold can be seen; and so many
    times that AICc exists.
    """
    return len(model.parameters) + 1, len(model.parameters) + 3


def check_number(model: Model, points: Points) -> None:
    """Refuse too few points for a model.

    Raises
    ------
    DataError
    """
    settings, times = least_points(model)
    if points.settings < settings or len(points) < times:
        raise DataError(
            f"the model {model.name!r} has {len(model.parameters)} parameters and needs {times} "
            f"times at {settings} different (ranks, size, message bytes), but there are "
            f"{len(points)} times at {points.settings}; measure at more numbers of ranks, "
            f"or fit a model with fewer parameters"
        )


def check_distinct(model: Model, points: Points, at: Array) -> None:
    """Refuse measurements that hold for very different parameters alike.

    The columns of the Jacobian at the best parameters, scaled to length one, are then linearly
    dependent: some step changes parameters and no time.

    Raises
    ------
    DataError
        It names the parameters.
    """
    _, slopes = derivatives(model.residuals(points), at[None])
    lengths = np.sqrt((slopes[0] ** 2).sum(axis=0))
    scaled = slopes[0] / np.where(lengths > 0, lengths, 1.0)
    _, stretch, axes = np.linalg.svd(scaled, full_matrices=False)
    unseen = axes[stretch <= _INDISTINCT * stretch[0]]
    if not len(unseen):
        return
    shares = np.sqrt((unseen**2).sum(axis=0))
    unknown = [name for name, share in zip(model.names, shares, strict=True) if share > 0.1]
    raise DataError(
        f"the measurements do not tell {' and '.join(unknown)} of the model {model.name!r}: the "
        f"times are the same for other values; measure where these make a difference (more "
        f"message sizes for an allreduce, more ranks for a step), or fit a simpler model"
    )
