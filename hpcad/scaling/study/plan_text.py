"""A plan for people to read, before it costs anything."""

from __future__ import annotations

from hpcad.scaling.laws.medians import FEWEST
from hpcad.scaling.study.plan import order, points, references
from hpcad.scaling.study.study import LoadedStudy


def plan_text(loaded: LoadedStudy) -> str:
    """The points, the references, and the order of the runs."""
    study = loaded.study
    runs = order(study)
    lines = [
        f"{study.name}: {loaded.job_path}, {study.steps} steps of which {study.warmup} are not "
        f"timed, {study.launch.threads} threads a rank, by {study.launch.launcher}",
        f"{len(points(study))} points, {study.repeats} repetitions, "
        f"{len(references(study))} references: {len(runs)} runs",
        "",
        *(f"  {point.name}" for point in points(study)),
        "",
        "in this order:",
        *(f"  {run.name}" for run in runs),
    ]
    if study.repeats < FEWEST:
        lines.append(
            f"note: a 95 % interval of a median needs {FEWEST} repetitions, not {study.repeats}"
        )
    return "\n".join(lines)
