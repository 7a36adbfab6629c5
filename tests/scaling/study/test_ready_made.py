"""The studies that come with the project can be read, and planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcad.scaling.study.plan import order, points
from hpcad.scaling.study.plan_text import plan_text
from hpcad.scaling.study.study import load_study

STUDIES = Path(__file__).resolve().parents[3] / "jobs" / "studies"


@pytest.mark.parametrize("name", ["digits_laptop", "mlp_strong_weak", "gpt2_perlmutter"])
def test_a_study_can_be_planned(name):
    loaded = load_study(STUDIES / f"{name}.toml")
    assert loaded.study.name == name
    assert loaded.study.repeats >= 6
    assert len(order(loaded.study)) > 6 * len(points(loaded.study))
    assert plan_text(loaded)


def test_the_local_ones_have_their_base_cases():
    for name in ("digits_laptop", "mlp_strong_weak"):
        found = points(load_study(STUDIES / f"{name}.toml").study)
        assert {point.sweep for point in found if point.ranks == 1} == {"strong", "weak"}


def test_the_template_asks_for_every_number_of_nodes():
    text = plan_text(load_study(STUDIES / "gpt2_perlmutter.toml"))
    for nodes in (1, 2, 4, 8, 16, 32):
        assert f"#SBATCH --nodes={nodes}\n" in text
    assert "#SBATCH --account=ACCOUNT_g\n" in text
