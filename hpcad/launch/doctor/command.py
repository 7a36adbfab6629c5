"""The command: measure the start, gather the facts of all ranks, print table and verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from hpcad.launch.doctor import starting

if TYPE_CHECKING:
    from hpcad.launch.doctor.facts import Facts
    from hpcad.launch.doctor.finding import Finding

#: Exit code where a finding is an error.
UNHEALTHY = 13
_HEAD_START = 0.5  # seconds in which the first of several lonely processes may print


def run(device: str = "auto", *, links: str = "few", as_json: bool = False) -> int:
    """Look at the launch on all ranks; print on the first one; return the exit code.

    Collective; equal on all ranks.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        What the job computes on.
    links : {"none", "few", "all"}
        What to measure of the network.
    as_json : bool
        Print facts and findings for a program.
    """
    seconds = starting.measure()  # before anything else is imported

    from hpcad.launch.doctor.findings import findings
    from hpcad.launch.doctor.gather import gather
    from hpcad.parallel import init

    facts = gather(device, seconds, links)
    verdict = findings(facts)
    alone = bool(facts[0].problem)
    if (facts[0].rank if alone else init().rank) == 0:
        print(in_json(facts, verdict) if as_json else in_words(facts, verdict), flush=True)
    # Launchers end the other ranks when one of them ends with an error.
    if not alone:
        init().communicator.barrier("doctor")
    elif facts[0].rank > 0:
        time.sleep(_HEAD_START)
    return UNHEALTHY if any(finding.severity == "error" for finding in verdict) else 0


def in_words(facts: Sequence[Facts], verdict: Sequence[Finding]) -> str:
    """Table and verdict."""
    from hpcad.launch.doctor.network.told import network
    from hpcad.launch.doctor.table import table, told

    lines = [*table(facts), *network(facts)]
    for finding in verdict:
        lines += ["", *told(finding)]
    return "\n".join([*lines, "", _closing(facts, verdict)])


def in_json(facts: Sequence[Facts], verdict: Sequence[Finding]) -> str:
    """The same for a program: an object with ``facts`` and ``findings``."""
    told = {
        "facts": [each.to_json() for each in facts],
        "findings": [asdict(each) for each in verdict],
    }
    return json.dumps(told, indent=1)


def _closing(facts: Sequence[Facts], verdict: Sequence[Finding]) -> str:
    ranks = "1 rank" if len(facts) == 1 else f"{len(facts)} ranks"
    nodes = len({each.node for each in facts})
    where = f"{ranks} on {nodes} node{'' if nodes == 1 else 's'}"
    if not verdict:
        return f"healthy: nothing to change for {where}"
    errors = sum(finding.severity == "error" for finding in verdict)
    return f"{where}: errors {errors}, warnings {len(verdict) - errors}"
