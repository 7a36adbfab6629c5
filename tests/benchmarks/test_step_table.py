"""What the tables and charts of step_time.py say follows from the samples."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chart
import numpy as np
import pytest
from step_contenders import COMPILED, EAGER, JAX, TORCH
from step_table import BEST_PEER, best, compare, geometric_means, print_result, rows_of

FAMILIES = {"ours": COMPILED, "ours eager": EAGER, "torch": TORCH, "torch slow": TORCH, "jax": JAX}


def result(model: str, *medians: float, noise: float = 0.001) -> dict[str, Any]:
    rng = np.random.default_rng(len(model))
    samples = np.array(medians)[:, None, None] * rng.normal(1.0, noise, (len(medians), 20, 3))
    field = [SimpleNamespace(name=n, family=f) for n, f in FAMILIES.items()]
    rows = rows_of(field, samples)
    return {
        "model": model,
        "title": model,
        "rows": rows,
        "cores": dict.fromkeys(FAMILIES, 1.0),
        "kinds": {
            "ours": [
                {"kind": "products (BLAS)", "seconds": 0.003, "flops": 3e8, "alone": 0.002},
                {"kind": "fused kernels", "seconds": 0.001, "flops": 10, "alone": 0.001},
            ]
        },
        "comparisons": compare(rows, samples),
        "milliseconds": dict(zip(FAMILIES, samples.tolist(), strict=True)),
    }


def found(comparisons: list[dict[str, Any]], ours: str, against: str) -> dict[str, Any]:
    (one,) = [c for c in comparisons if (c["ours"], c["against"]) == (ours, against)]
    return one


def test_the_best_peer_is_the_fastest_that_is_not_hpcad() -> None:
    rows = result("m", 1.0, 2.0, 5.0, 9.0, 4.0)["rows"]
    assert best(rows)["name"] == "jax"
    assert best(rows, [TORCH])["name"] == "torch"
    assert best(rows, ["nobody"]) is None


def test_ratios_are_to_the_best_peer_and_to_each() -> None:
    comparisons = result("m", 2.0, 6.0, 5.0, 9.0, 4.0)["comparisons"]
    fast = found(comparisons, COMPILED, BEST_PEER)
    assert fast["ratio"] == pytest.approx(0.5, rel=0.01)
    assert (fast["peer"], fast["verdict"]) == ("jax", "faster")
    slow = found(comparisons, EAGER, TORCH)
    assert slow["ratio"] == pytest.approx(1.2, rel=0.01)
    assert (slow["peer"], slow["verdict"]) == ("torch", "slower")


def test_a_difference_within_noise_is_a_tie() -> None:
    comparisons = result("m", 4.0, 6.0, 5.0, 9.0, 4.01, noise=0.2)["comparisons"]
    assert found(comparisons, COMPILED, BEST_PEER)["verdict"] == "a tie"


def test_geometric_mean_of_the_ratios() -> None:
    results = [result("a", 2.0, 6.0, 5.0, 9.0, 4.0), result("b", 8.0, 6.0, 5.0, 9.0, 4.0)]
    mean = found(geometric_means(results), COMPILED, BEST_PEER)
    assert mean["ratio"] == pytest.approx(1.0, rel=0.01)
    low, high = mean["interval"]
    assert low <= mean["ratio"] <= high < low * 1.01


def test_printed_table_names_the_best_peer_and_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(result("m", 2.0, 6.0, 5.0, 9.0, 4.0))
    said = capsys.readouterr().out
    (marked,) = [line for line in said.splitlines() if line.endswith("<- best peer")]
    assert marked.startswith("jax ")
    assert "products (BLAS) 75% (0.30 GFLOP at 100 GFLOP/s; alone 150), fused kernels 25%" in said
    assert "hpcad compiled / jax: 0.5" in said


def test_markdown_table_and_ties() -> None:
    results = [
        result("a", 2.0, 6.0, 5.0, 9.0, 4.0),
        result("b", 40.0, 60.0, 50.0, 90.0, 40.1, noise=0.2),
    ]
    head, _, a, b = chart.table(results).splitlines()
    assert head == "| ms a step | hpcad compiled | hpcad eager | torch eager | JAX jit | ours / best peer |"  # noqa: E501  # fmt: skip
    assert a == "| a | 2.00 | 6.00 | 5.00 | 4.00 | 0.50 |"
    assert b.endswith("(tie) |")


def test_chart_shows_a_bar_for_each(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = result("small", 2.0, 6.0, 5.0, 9.0, 4.0)
    path = tmp_path / "chart.svg"
    chart.draw({"results": [one], "environment": {"threads": 1, "cpu": "some processor"}}, path)
    text = path.read_text()
    assert all(word in text for word in ("small", "hpcad compiled", "JAX jit", "1 thread"))
    assert len(text) < 60_000
