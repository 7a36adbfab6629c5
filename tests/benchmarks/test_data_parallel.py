"""Ranks that take turns: they answer in order, and what they say becomes the right numbers."""

from __future__ import annotations

import argparse
import os

import data_parallel
import numpy as np
import pytest
from data_parallel_team import Plan, Team, TeamError

CORES = (sorted(os.sched_getaffinity(0)) * 2)[:2]


@pytest.mark.usefixtures("plain_environment")
def test_ranks_average_their_gradients_and_take_steps_when_asked() -> None:
    eager = {"compiled": False}
    with Team(Plan("ranks", "hpcad", CORES, eager), "gpt-small") as team:
        losses = [answer["losses"] for answer in team.ask("losses", steps=2)]
        turns = team.ask("turn", start=0, repeats=2)
    assert np.shape(losses) == (2, 2)
    assert losses[0] != losses[1]  # they have different batches
    for turn in turns:
        assert len(turn["milliseconds"]) == len(turn["exposed"]) == 2
        assert all(0 < e < m for e, m in zip(turn["exposed"], turn["milliseconds"], strict=True))


@pytest.mark.usefixtures("plain_environment")
def test_an_error_of_a_rank_names_it() -> None:
    plan = Plan("alone", "hpcad", CORES[:1])
    with Team(plan, "mlp") as team, pytest.raises(TeamError, match="alone, rank 0: TypeError"):
        team.ask("losses", wrong=1)


class Said:
    """In place of a team: says what it was told to."""

    def __init__(self, name: str, losses: list[float]) -> None:
        self.plan, self._losses = Plan(name, "torch", [0]), losses

    def ask(self, do: str, steps: int) -> list[dict[str, list[float]]]:
        return [{"losses": [loss] * steps} for loss in self._losses]


def test_different_losses_are_refused() -> None:
    data_parallel._compare([Said("a", [1.0, 3.0]), Said("b", [1.9999, 2.0001])])
    for wrong in (2.001, float("nan")):
        with pytest.raises(data_parallel.DifferentLossesError, match="losses of b differ"):
            data_parallel._compare([Said("a", [1.0, 3.0]), Said("b", [2.0, wrong])])


def test_efficiency_is_one_process_over_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    titles = [
        (side, kind, f"{side} {kind}")
        for side in ("hpcad", "torch")
        for kind in ("one", "apart", "ranks")
    ]
    medians = [10.0, 11.0, 12.5, 20.0, 20.0, 40.0]
    seen = np.array([[[m, m, m, 1.0, 0.5, 0.0]] * 4 for m in medians])
    rows = data_parallel._rows(titles, seen)
    assert rows[2]["efficiency"][0] == pytest.approx(0.8)
    assert rows[2]["exposed_share"] == pytest.approx(0.5 / 12.5)
    assert rows[2]["apart_over_ranks"][0] == pytest.approx(0.88)
    assert rows[5]["efficiency"][0] == pytest.approx(0.5)
    assert rows[5]["over_hpcad"][0] == pytest.approx(3.2)
    data_parallel.print_result({"rows": rows})
    words = capsys.readouterr().out.split("\n")[3].split()
    at = words.index("0.800")
    assert words[at - 1 : at + 5] == ["12.50", "0.800", "(0.800", "..", "0.800)", "4.0%"]


@pytest.mark.parametrize("wrong", ["cnn", "nothing", "gpt,cnn"])
def test_models_that_cannot_be_compared(wrong: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="unknown"):
        data_parallel._models(wrong)


def test_more_ranks_than_cores_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert data_parallel.main(["--ranks", "10000"]) == 2
    assert "10000 ranks need as many cores" in capsys.readouterr().err
