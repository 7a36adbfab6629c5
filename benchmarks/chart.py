"""Charts and tables of the results of step_time.py.

    python benchmarks/chart.py benchmarks/results/*-step-time-1-thread.json --svg docs/images/x.svg
    python benchmarks/chart.py benchmarks/results/*-step-time-1-thread.json

With ``--svg`` the bars are drawn: for each workload the time of a step over that of the best peer,
so the line at 1 is who has to be beaten. The Markdown table of the same numbers is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from step_contenders import BEST_GEMM, COMPILED, EAGER, JAX, TORCH, TORCH_COMPILE
from step_table import BEST_PEER, best

SHADES = {
    BEST_GEMM: "#0b3c8c",
    COMPILED: "#2f6fd6",
    EAGER: "#9dc1f5",
    TORCH: "#c2461b",
    TORCH_COMPILE: "#ee9a5f",
    JAX: "#7a7a7a",
}
Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, help="a file that step_time.py wrote")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the chart there")
    options = parser.parse_args(arguments)
    found = json.loads(options.results.read_text())
    print(table(found["results"]))
    if options.svg:
        draw(found, options.svg)
        print(f"written: {options.svg}", file=sys.stderr)
    return 0


def table(results: list[Result]) -> str:
    """Milliseconds per step of the best of each family, as a Markdown table."""
    families = [family for family in SHADES if any(best(r["rows"], [family]) for r in results)]
    lines = [
        f"| ms a step | {' | '.join(families)} | ours / best peer |",
        "|" + "---|" * (len(families) + 2),
    ]
    for result in results:
        cells = [_cell(best(result["rows"], [family])) for family in families]
        lines.append(f"| {result['model']} | {' | '.join(cells)} | {_ratios(result)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['median']:.2f}" if row["median"] < 10 else (
        f"{row['median']:.1f}"
    )  # fmt: skip


def _ratios(result: Result) -> str:
    """Ratios of the compiled step to the best peer, with both GEMMs; ties are marked."""
    words = []
    for found in result["comparisons"]:
        if found["against"] == BEST_PEER and found["ours"] in (BEST_GEMM, COMPILED):
            tie = " (tie)" if found["verdict"] == "a tie" else ""
            words.append(f"{found['ratio']:.2f}{tie}")
    return ", ".join(words)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw one group of bars per workload; whiskers reach from the 10th to the 90th percentile."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "hpcad", "font.size": 9}
    results, facts = found["results"], found["environment"]
    figure, axes = plt.subplots(figsize=(8.0, 3.4), layout="constrained")
    width = 0.8 / len(SHADES)
    for place, (family, shade) in enumerate(SHADES.items()):
        bars = [bar for i, result in enumerate(results) if (bar := _bar(i, result, family))]
        if not bars:
            continue
        x, height, low, high = zip(*bars, strict=True)
        shifted = [number + (place - (len(SHADES) - 1) / 2) * width for number in x]
        axes.bar(shifted, height, width, color=shade, label=family)
        axes.errorbar(shifted, height, (low, high), fmt="none", ecolor="black", elinewidth=0.7)
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(results)), [result["model"] for result in results])
    axes.set_ylabel("time of a step / best peer's")
    axes.set_title(
        f"{facts['threads']} thread(s), float32, {facts['cpu'].split(' (')[0]}; lower is better",
        fontsize=9,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=3, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _bar(place: int, result: Result, family: str) -> tuple[float, float, float, float] | None:
    """Place, height and whiskers of one bar, in units of the best peer's median."""
    row, peer = best(result["rows"], [family]), best(result["rows"])
    if row is None or peer is None:
        return None
    median, low, high = (row[name] / peer["median"] for name in ("median", "p10", "p90"))
    return place, median, median - low, high - median


if __name__ == "__main__":
    sys.exit(main())
