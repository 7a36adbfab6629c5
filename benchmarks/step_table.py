"""What the samples of step_time.py say: medians, ratios, and who wins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from hpcad_steps import PRODUCTS
from medians import LEVEL, ratio_interval
from step_contenders import BEST_GEMM, COMPILED, EAGER, PEERS, TORCH

OURS = (COMPILED, BEST_GEMM, EAGER)
BEST_PEER = "best peer"


def rows_of(contenders: Sequence[Any], samples: np.ndarray) -> list[dict[str, Any]]:
    """Median, percentiles and family of each contender.

    Parameters
    ----------
    contenders : sequence
        With ``name`` and ``family``.
    samples : array, shape (contenders, rounds, repeats)
        Milliseconds.
    """
    rows = []
    for contender, mine in zip(contenders, samples, strict=True):
        low, high = np.percentile(mine, [10, 90])
        rows.append(
            {
                "name": contender.name,
                "family": contender.family,
                "median": float(np.median(mine)),
                "p10": float(low),
                "p90": float(high),
            }
        )
    return rows


def best(rows: list[dict[str, Any]], families: Sequence[str] = PEERS) -> dict[str, Any] | None:
    """The row of the fastest contender of some families; all peers where none are named."""
    found = [row for row in rows if row["family"] in families]
    return min(found, key=lambda row: row["median"], default=None)


def compare(rows: list[dict[str, Any]], samples: np.ndarray) -> list[dict[str, Any]]:
    """Ratios of hpcad's ways to the best peer, and to the best of each peer, with intervals.

    A ratio below 1 says that hpcad is faster; where the interval contains 1 it is a tie.
    """
    found = []
    for row, mine in zip(rows, samples, strict=True):
        for against in (BEST_PEER, *PEERS) if row["family"] in OURS else ():
            peer = best(rows, PEERS if against == BEST_PEER else (against,))
            if peer is None:
                continue
            ratio, low, high = ratio_interval(mine, samples[rows.index(peer)])
            found.append(
                {
                    "ours": row["family"],
                    "against": against,
                    "peer": peer["name"],
                    "ratio": ratio,
                    "interval": [low, high],
                    "verdict": "faster" if high < 1 else "slower" if low > 1 else "a tie",
                }
            )
    return found


def geometric_means(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric mean over the workloads of each ratio that all of them have.

    The interval is that of a bootstrap which draws the rounds of each workload anew; the best peers
    are those of the whole samples.
    """
    means = []
    for ours, against in product(OURS, (BEST_PEER, *PEERS)):
        pairs = [(r, c) for r in results for c in r["comparisons"]
                 if (c["ours"], c["against"]) == (ours, against)]  # fmt: skip
        if not results or len(pairs) < len(results):
            continue
        logs = np.mean([np.log(_drawn(*pair)) for pair in pairs], axis=0)
        low, high = np.exp(np.quantile(logs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        mean = float(np.exp(np.mean([np.log(c["ratio"]) for _, c in pairs])))
        interval = [float(low), float(high)]
        means.append({"ours": ours, "against": against, "ratio": mean, "interval": interval})
    return means


def _drawn(result: dict[str, Any], found: dict[str, Any], resamples: int = 2000) -> np.ndarray:
    """Ratios of medians over rounds drawn with replacement."""
    names = {row["family"]: row["name"] for row in result["rows"]}
    a = np.array(result["milliseconds"][names[found["ours"]]])
    b = np.array(result["milliseconds"][found["peer"]])
    rng = np.random.default_rng(list(result["model"].encode()))
    draws = rng.integers(len(a), size=(resamples, len(a)))
    return np.array([np.median(a[draw]) / np.median(b[draw]) for draw in draws])


# -- printing -----------------------------------------------------------------------------


def print_result(result: dict[str, Any]) -> None:
    """Print the table of a workload."""
    rows, peer = result["rows"], best(result["rows"])
    width = max(len(row["name"]) for row in rows) + 2
    print(f"{'':<{width}}{'median ms':>10}{'10th..90th percentile':>24}{'cores':>7}")
    for row in rows:
        spread = f"{row['p10']:.2f} .. {row['p90']:.2f}"
        mark = "  <- best peer" if row is peer else ""
        busy = f"{result['cores'][row['name']]:.2f}"
        print(f"{row['name']:<{width}}{row['median']:>10.2f}{spread:>24}{busy:>7}{mark}")
    for name, kinds in result["kinds"].items():
        print(f"{name}: {_shares(kinds)}")
    for found in filter(_is_shown, result["comparisons"]):
        print(f"{found['ours']} / {found['peer']}: {_ratio(found)}: {found['verdict']}", flush=True)


def _is_shown(found: dict[str, Any]) -> bool:
    """The compiled step is held against the best peer, the eager one against PyTorch's."""
    return found["against"] == (TORCH if found["ours"] == EAGER else BEST_PEER)


def _shares(kinds: list[dict[str, Any]]) -> str:
    """Shares of the step by kind of work, largest first; rates where operations are counted."""
    whole = sum(kind["seconds"] for kind in kinds)
    words = []
    for kind in sorted(kinds, key=lambda kind: -kind["seconds"]):
        share = kind["seconds"] / whole
        if share < 0.01:
            continue
        text = f"{kind['kind']} {share:.0%}"
        if kind["kind"] == PRODUCTS:
            text += f" ({kind['flops'] / 1e9:.2f} GFLOP at {_rate(kind, 'seconds'):.0f} GFLOP/s"
            text += f"; alone {_rate(kind, 'alone'):.0f})" if kind["alone"] else ")"
        words.append(text)
    return ", ".join(words)


def _rate(kind: dict[str, Any], seconds: str) -> float:
    return kind["flops"] / kind[seconds] / 1e9


def print_means(means: list[dict[str, Any]], workloads: int) -> None:
    """Print the geometric means."""
    for mean in filter(_is_shown, means):
        print(f"{mean['ours']} / {mean['against']}, geometric mean of {workloads} workloads: "
              f"{_ratio(mean)}")  # fmt: skip


def _ratio(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['ratio']:.3f} ({low:.3f} .. {high:.3f})"
