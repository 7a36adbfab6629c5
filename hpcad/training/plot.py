"""A picture of a run: training loss, and the test metrics, over steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError
from hpcad.training.metrics import read_metrics


def plot_run(directory: str | Path, output: str | Path | None = None) -> Path:
    """Draw the metrics of a run.

    Parameters
    ----------
    directory : path
        Of the run; holds ``metrics.jsonl``.
    output : path, optional
        A file whose ending tells the format (png, svg, pdf); ``curve.png`` in the directory
        when left out.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        There are no metrics, or matplotlib is not installed.
    """
    directory = Path(directory)
    rows = read_metrics(directory)
    if not rows:
        raise ConfigError(
            f"there are no metrics in {directory}; name the output directory of a run, "
            "such as runs/digits"
        )
    target = Path(output) if output is not None else directory / "curve.png"
    figure = _figure(rows, directory.name)
    figure.savefig(target, dpi=150)
    return target


def _figure(rows: list[dict[str, Any]], title: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "drawing needs matplotlib; install it with `pip install 'hpcad[plots]'`"
        ) from error
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    lines = [*_curve(axes, rows, "loss", "training loss", "C0", "-")]
    lines += _curve(axes, rows, "test_loss", "test loss", "C1", "o-")
    axes.set(xlabel="step", ylabel="loss (nats)", title=title)
    axes.grid(alpha=0.3)
    if any("test_accuracy" in row for row in rows):
        right = axes.twinx()
        lines += _curve(right, rows, "test_accuracy", "test accuracy (right)", "C2", "s--")
        right.set_ylabel("accuracy")
    axes.legend(handles=lines, loc="center right", frameon=False)
    return figure


def _curve(axes: Any, rows: list[dict[str, Any]], key: str, label: str, colour: str,
           style: str) -> list[Any]:  # fmt: skip
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    if not points:
        return []
    steps, values = zip(*points, strict=True)
    return list(axes.plot(steps, values, style, color=colour, label=label, markersize=4))
