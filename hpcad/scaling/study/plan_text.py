"""A plan for people to read, before it costs anything."""

from __future__ import annotations

from pathlib import Path

from hpcad.scaling.laws.medians import FEWEST
from hpcad.scaling.study.batch import point_script, request_for
from hpcad.scaling.study.plan import order, points, references
from hpcad.scaling.study.slurm import script_path
from hpcad.scaling.study.study import LoadedStudy


def plan_text(loaded: LoadedStudy) -> str:
    """The points, the references, and the order of the runs."""
    study = loaded.study
    runs = order(study)
    lines = [
        f"{study.name}: {loaded.job_path}, {study.steps} steps of which {study.warmup} are not "
        f"timed, started by {study.launch.launcher}",
        f"{len(points(study))} points, {study.repeats} repetitions, "
        f"{len(references(study))} references: {len(runs)} runs",
        "",
        *(f"  {point.name}" for point in points(study)),
        "",
        "in this order:",
        *(f"  {run.name}" for run in runs),
    ]
    if study.launch.launcher == "slurm":
        lines += ["", *_scripts(loaded)]
    if study.repeats < FEWEST:
        lines.append(
            f"note: a 95 % interval of a median needs {FEWEST} repetitions, not {study.repeats}"
        )
    return "\n".join(lines)


def _scripts(loaded: LoadedStudy) -> list[str]:
    """The batch scripts, one for every number of nodes."""
    planned = [*references(loaded.study), *points(loaded.study)]
    found: dict[Path, str] = {}
    for request in (request_for(loaded, point) for point in planned):
        found.setdefault(script_path(Path(), request), point_script(loaded, request))
    return [f"# ---- {path}\n{text}" for path, text in found.items()]
