"""Every planted fault is found, and only it; a healthy launch is silent."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hpcad.launch.doctor.facts import Facts
from hpcad.launch.doctor.findings import RULES, findings

from .healthy import HEALTHY, every, scratch
from .planted import FAULTS, HARMLESS


def test_a_healthy_launch_is_silent():
    assert findings(HEALTHY) == []


@pytest.mark.parametrize(("kind", "severity", "facts", "ranks", "words"), FAULTS)
def test_a_fault_is_found_and_only_it(kind, severity, facts, ranks, words):
    (finding,) = findings(facts)
    assert (finding.kind, finding.severity, finding.ranks) == (kind, severity, tuple(ranks))
    assert finding.hosts == tuple(dict.fromkeys(f.host for f in facts if f.rank in ranks))
    said = f"{finding.what} {finding.change}"
    assert [word for word in words if word not in said] == []
    assert finding.change


@pytest.mark.parametrize("facts", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_fault(facts):
    assert findings(facts) == []


def test_errors_come_first():
    facts = every(hdf5_files="nfs4", settings={"OMP_NUM_THREADS": "64"})
    assert [f.severity for f in findings(facts)] == ["error", "warning"]


def test_a_fault_of_many_ranks_is_said_once():
    (finding,) = findings(every(settings={"OMP_NUM_THREADS": "64"}))
    assert finding.ranks == tuple(range(8))
    assert finding.hosts == ("n0", "n1")
    assert "64 threads on 8 cores (0-7)" in finding.what
    assert finding.what.endswith("(and 7 more like this)")


def test_facts_survive_the_way_through_json():
    for facts in (HEALTHY, [replace(HEALTHY[0], promised=None, places=scratch(None))]):
        assert [Facts.from_json(json.loads(json.dumps(f.to_json()))) for f in facts] == facts


def test_two_faults_are_both_found():
    """Any two faults that leave the ranks as they are, planted on different nodes."""
    planted: dict[str, Callable[[Facts], Facts]] = {
        "clock": lambda f: replace(f, clock=5.0),
        "too many threads": lambda f: replace(f, settings={"OMP_NUM_THREADS": "99"}),
        "mixed NCCL": lambda f: replace(f, nccl="2.1.0"),
        "little scratch": lambda f: replace(f, places=scratch(None)),
    }
    for (one, first), (two, second) in itertools.combinations(planted.items(), 2):
        facts = [first(HEALTHY[0]), *HEALTHY[1:7], second(HEALTHY[7])]
        assert sorted((f.kind, f.ranks) for f in findings(facts)) == sorted(
            [(one, (0,)), (two, (7,))]
        )


def test_every_rule_has_a_planted_fault():
    idle = [rule for rule in RULES if not any([*rule(facts)] for _, _, facts, _, _ in FAULTS)]
    assert idle == []


def test_the_guide_lists_every_finding_with_its_severity():
    page = (Path(__file__).parents[3] / "docs/guide/doctor.md").read_text()
    rows = dict(
        re.findall(r"^\| `([\w -]+)` \| ((?:error|warning)(?:, warning)?) \|", page, re.MULTILINE)
    )
    severities: dict[str, set[str]] = {}
    for kind, severity, *_ in FAULTS:
        name = "mixed NAME" if kind.startswith("mixed ") else kind
        severities.setdefault(name, set()).add(severity)
    assert {name: set(text.split(", ")) for name, text in rows.items()} == severities
