"""Single steps: their distribution, and which ranks are late in which of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.scaling.report.phases import EXPOSED
from hpcad.scaling.report.plots.style import COLOURS, figure
from hpcad.scaling.report.row import repetition_medians
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples

_DASHES = ("-", "--", "-.", ":")
_MOST = 512  # ranks or steps of a heat map, beyond which neighbours share a field


def distribution(name: str, runs: dict[Point, list[Samples]]) -> Any:
    """The share of all timed steps that took no longer, for every point of a series.

    In units of the point's own median, so that the shapes of all points can be compared.
    """
    made, axes = figure()
    for k, (point, repeated) in enumerate(runs.items()):
        steps = np.concatenate([run.step_seconds for run in repeated])
        axes.ecdf(
            steps / np.median(repetition_medians(repeated)),
            label=f"{point.name} ({len(steps)} steps)",
            color=COLOURS[k % len(COLOURS)],
            linestyle=_DASHES[k // len(COLOURS) % len(_DASHES)],
        )
    axes.set(xlabel="step / median step of its point", ylabel="share of steps")
    axes.set_title(f"{name}: distribution of steps")
    axes.legend(fontsize=7)
    return made


def lateness(run: Samples) -> Any:
    """Heat map, rank by step: how much longer a rank worked than the median rank.

    Work is a rank's step without the time in which it waited for reductions, as that is where
    ranks meet.
    """
    waited = run.phases.get(EXPOSED, np.zeros_like(run.seconds))
    work = (run.seconds - waited)[:, run.timed]
    late, shared = _fewer(1e3 * (work - np.median(work, axis=0)))
    made, axes = figure(7.2)
    most = float(np.abs(late).max()) or 1.0
    extent = (-0.5 + run.warmup, work.shape[1] - 0.5 + run.warmup, work.shape[0] - 0.5, -0.5)
    image = axes.imshow(
        late,
        aspect="auto",
        interpolation="nearest",
        cmap="PuOr_r",
        vmin=-most,
        vmax=most,
        extent=extent,
    )
    made.colorbar(image, label="later than the median rank (ms)")
    axes.grid(visible=False)
    axes.set(xlabel="step", ylabel="rank", title=f"{run.name}: who is late{shared}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    return made


def _fewer(late: Any) -> tuple[Any, str]:
    """Fields of several ranks and steps show the one that is the farthest from the median."""
    ranks, steps = (-(-count // _MOST) for count in late.shape)
    if ranks == steps == 1:
        return late, ""
    rows, columns = (-(-n // k) for n, k in zip(late.shape, (ranks, steps), strict=True))
    padded = np.zeros((rows * ranks, columns * steps))
    padded[: late.shape[0], : late.shape[1]] = late
    blocks = padded.reshape(rows, ranks, columns, steps).swapaxes(1, 2)
    fields = blocks.reshape(rows, columns, ranks * steps)
    farthest = np.abs(fields).argmax(axis=-1)[..., None]
    found = np.take_along_axis(fields, farthest, axis=-1)[..., 0]
    return found, f" (farthest of {ranks} ranks x {steps} steps)"
