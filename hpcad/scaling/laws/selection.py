"""Which law to believe, and how far it reaches.

Laws are compared by AICc on the same times. Their weights ``exp(-d / 2) / sum`` (d: distance to the
best AICc) say how far the choice is one (Burnham & Anderson 2002, Model Selection and Multimodel
Inference, section 2.9). No criterion says whether a law holds beyond what was measured, so the
largest scale is held out, predicted from the rest, and the error told; Extra-P and Extra-Deep are
judged in the same way (Ritter & Wolf 2023, ProTools at SC23).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcad.errors import DataError
from hpcad.scaling.laws.fit import Fit, fit
from hpcad.scaling.laws.interval import Interval
from hpcad.scaling.laws.models import Model
from hpcad.scaling.laws.points import Conditions, Points


@dataclass(frozen=True, eq=False)
class Selection:
    """Fits of several laws to the same times.

    Attributes
    ----------
    fits : list of Fit
        Best first.
    weights : list of float
        Akaike weights of the fits; their sum is 1.
    refused : dict of str to str
        Why a model was not fitted, by its name.
    """

    fits: list[Fit]
    weights: list[float]
    refused: dict[str, str]

    @property
    def best(self) -> Fit:
        return self.fits[0]


def select(models: Sequence[Model], points: Points, level: float = 0.95) -> Selection:
    """Fit every model that can be, and order them by AICc.

    Raises
    ------
    DataError
        No model can be fitted; the reasons are told.
    """
    fits, refused = [], {}
    for model in models:
        try:
            fits.append(fit(model, points, level))
        except DataError as error:
            refused[model.name] = str(error)
    if not fits:
        reasons = "; ".join(refused.values()) or "none was given"
        raise DataError(f"no model can be fitted to these {len(points)} times: {reasons}")
    fits.sort(key=lambda found: found.aicc)
    shares = [math.exp((fits[0].aicc - found.aicc) / 2) for found in fits]
    return Selection(fits, [share / sum(shares) for share in shares], refused)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The largest scale, predicted by a fit to all others.

    Attributes
    ----------
    fit : Fit
        Without the largest scale.
    ranks : int
        The largest scale.
    measured : list of float
        Geometric mean of the times at each of its settings.
    predicted : list of Interval
        What the fit said of these means.
    """

    fit: Fit
    ranks: int
    measured: list[float]
    predicted: list[Interval]

    @property
    def errors(self) -> list[float]:
        """``predicted / measured - 1`` of every setting."""
        return [p.value / m - 1 for p, m in zip(self.predicted, self.measured, strict=True)]

    @property
    def is_inside(self) -> bool:
        """Whether the prediction intervals hold all that was measured."""
        return all(m in p for p, m in zip(self.predicted, self.measured, strict=True))


def hold_out(model: Model, points: Points, level: float = 0.95) -> HeldOut:
    """Predict the largest number of ranks from all smaller ones.

    Raises
    ------
    DataError
        What remains is too little for the model.
    """
    largest = points.ranks.max()
    smaller = points.ranks < largest
    if not smaller.any():
        raise DataError(
            f"all times were measured on {largest:g} ranks, so no scale can be held out; "
            f"measure on fewer ranks, too"
        )
    try:
        found = fit(model, points.where(smaller), level)
    except DataError as error:
        raise DataError(f"without the times on {largest:g} ranks, {error}") from None
    rest = points.where(~smaller)
    sent = rest.message_bytes
    columns = [rest.ranks, rest.size, *([] if sent is None else [sent])]
    settings, which = np.unique(np.stack(columns), axis=1, return_inverse=True)
    measured, predicted = [], []
    for k, setting in enumerate(settings.T):
        times = rest.seconds[which.ravel() == k]
        measured.append(float(np.exp(np.log(times).mean())))
        predicted += found.predict(Conditions(*setting), len(times))
    return HeldOut(found, int(largest), measured, predicted)
