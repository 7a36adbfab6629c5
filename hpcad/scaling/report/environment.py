"""Where the runs of a study ran, and in what they differ: one study, one environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpcad.scaling.report.reading import Study

#: Facts that a study may not change between its runs; "environment" is taken apart.
_SAME = ("device", "dataset", "seed", "clock", "environment")
_BY_RANKS = ("communicator",)  # chosen for the number of ranks
#: What every launch sets anew, in names of variables.
_PER_LAUNCH = ("SLURM_", "PMI", "OMPI_COMM", "OMPI_MCA_orte", "PRTE_", "PBS_", "HYDI_", "MPI_LOCAL")


def common(study: Study) -> dict[str, str]:
    """The facts that all good runs share, as texts by dotted names, and the hosts."""
    every = _facts(study)
    found = {
        name: texts[0]
        for name in every[0]
        if len(texts := sorted({facts.get(name, "") for facts in every})) == 1
    }
    return {"hosts": ", ".join(_hosts(study)), **found}


def differences(study: Study) -> list[str]:
    """In what the runs differ, a sentence each."""
    every = _facts(study)
    names = dict.fromkeys(name for facts in every for name in facts)
    found = []
    for name in names:
        counts: dict[str, int] = {}
        for facts in every:
            value = facts.get(name, "absent")
            counts[value] = counts.get(value, 0) + 1
        if len(counts) > 1:
            told = ", ".join(f"{_short(value)} in {n} runs" for value, n in counts.items())
            found.append(f"runs of one study differ in {name}: {told}")
    return found


def _facts(study: Study) -> list[dict[str, str]]:
    runs = [run for runs in study.runs.values() for run in runs]
    return [dict(_flat({name: run.facts[name] for name in _SAME})) for run in runs]


def _hosts(study: Study) -> list[str]:
    runs = [run for runs in study.runs.values() for run in runs]
    return sorted({str(host) for run in runs for host in _listed(run.facts["hosts"])})


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested dicts by dotted names, as texts."""
    for key, item in value.items():
        name = str(key)
        if name.startswith(_PER_LAUNCH) or name in _BY_RANKS:
            continue
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{name}.")
        elif isinstance(item, (list, tuple)):
            yield f"{prefix}{name}", ", ".join(map(str, item))
        else:
            yield f"{prefix}{name}", str(item)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
