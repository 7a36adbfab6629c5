"""What all plots share: figures without a display, and colours that all can tell apart."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError, DataError

#: Okabe & Ito 2008, Color Universal Design; told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "oo", "++")

_SETTINGS: Any = {
    "svg.hashsalt": "hpcad",  # the same report makes the same file
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def require_matplotlib() -> None:
    """Refuse before anything is computed.

    Raises
    ------
    ConfigError
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "plots need matplotlib, which is not installed: pip install 'hpcad[plots]', or say "
            "--no-plots for a report without them"
        ) from error


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """The settings of all plots, while they are drawn and written."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield


def figure(width: float = 6.4, height: float = 4.0) -> tuple[Any, Any]:
    """A figure with one pair of axes; not one of pyplot's, so no display is asked for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots()


def looks() -> Iterator[dict[str, str]]:
    """Colour and marker of one set of points after the other."""
    for colour, marker in itertools.cycle(zip(COLOURS, MARKERS, strict=True)):
        yield {"color": colour, "marker": marker}


def ticks_at_ranks(axes: Any, ranks: list[int]) -> None:
    """Label the measured numbers of ranks on a logarithmic axis, and nothing between them."""
    axes.set_xscale("log", base=2)
    known = sorted(set(ranks))
    axes.set_xticks(known, [str(count) for count in known])
    axes.minorticks_off()
    if len(known) == 1:
        axes.set_xlim(known[0] / 2, known[0] * 2)


def bars(found: dict[str, Any], factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Lengths of an error bar down and up; 0 where nothing bounds it."""
    value = found["value"]
    low = value if found["low"] is None else found["low"]
    high = value if found["high"] is None else found["high"]
    return [factor * max(value - low, 0.0)], [factor * max(high - value, 0.0)]


def svg(made: Any) -> bytes:
    """A figure as SVG that names neither a date nor a program."""
    kept = io.BytesIO()
    made.savefig(kept, format="svg", metadata={"Date": None, "Creator": None})
    return kept.getvalue()


def save(made: Any, path: Path) -> None:
    """Write a figure as PNG and SVG, beside each other.

    Raises
    ------
    DataError
        The files cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".svg").write_bytes(svg(made))
        made.savefig(path.with_suffix(".png"), dpi=150)
    except OSError as error:
        raise DataError(f"cannot write {path}.svg and .png: {error}") from error
