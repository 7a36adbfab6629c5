"""Plots: drawn without a display, with labels and units, as PNG and SVG."""

from __future__ import annotations

import sys
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from simulated_study import samples, strong, write_study

from hpcad.errors import ConfigError
from hpcad.scaling.report.plots.draw import draw
from hpcad.scaling.report.plots.steps import _fewer, lateness
from hpcad.scaling.report.plots.style import bars, drawing, require_matplotlib, save, svg
from hpcad.scaling.report.reading import read_study
from hpcad.scaling.report.report import make_report

pytest.importorskip("matplotlib")


def test_all_plots_are_drawn_and_say_what_they_show(tmp_path):
    study = read_study(write_study(tmp_path, strong((1, 2)), noise=0.01, steps=6))
    report = make_report(study)
    names = []
    with drawing():
        for name, caption, made in draw(report, study):
            names.append(name)
            (axes, *_) = made.axes
            assert caption
            assert axes.get_title()
            assert axes.get_ylabel()
            assert axes.get_xlabel() or axes.get_xticklabels()[0].get_text().startswith("strong")
            if name == "strong-time":
                _check_times(axes, report)
                save(made, tmp_path / "time.svg")
    assert names == [
        "strong-time", "strong-efficiency", "strong-batch-256-phases", "roofline",
        "strong-batch-256-steps", "strong-p2-b256-r0-lateness",
    ]  # fmt: skip
    assert (tmp_path / "time.png").read_bytes()[:4] == b"\x89PNG"
    assert Xml.parse(tmp_path / "time.svg").getroot().tag.endswith("svg")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules[
        "matplotlib.pyplot"
    ].get_fignums()  # fmt: skip


def _check_times(axes, report):
    """Only the ideal joins points; the measured ones are where the report says."""
    joined = [line for line in axes.lines if line.get_linestyle() not in ("None", "none")]
    (ideal,) = joined
    first = 1e3 * report["series"][0]["points"][0]["median"]["value"]
    assert ideal.get_ydata() == pytest.approx([first, first / 2])
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1 and line not in joined]
    for row in report["series"][0]["points"]:
        place = (row["ranks"], pytest.approx(1e3 * row["median"]["value"]))
        assert place in [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks]


def test_the_same_figure_makes_the_same_file():
    (point,) = strong((2,))
    run = samples(point, 0, np.random.default_rng(0), noise=0.1)
    with drawing():
        one, other = svg(lateness(run)), svg(lateness(run))
    assert one == other
    assert b"<dc:date>" not in one


def test_lateness_is_of_work_against_the_median_rank():
    (point,) = strong((4,))
    run = samples(point, 0, np.random.default_rng(0), steps=5)
    run.seconds[3, 4] *= 1.5
    run.seconds[1, 5] *= 0.9  # one that is early does not make the others late
    with drawing():
        image = lateness(run).axes[0].images[0].get_array()
    assert image.shape == (4, 5)
    assert np.flatnonzero(np.abs(image) > 1e-9).tolist() == [1 * 5 + 3, 3 * 5 + 2]
    assert image[3, 2] == pytest.approx(500 * run.seconds[0, 4])
    assert image[1, 3] == pytest.approx(-100 * run.seconds[0, 5])


def test_large_maps_keep_what_stands_out():
    late = np.zeros((1100, 3))
    late[1099, 1], late[5, 2] = -4.0, 3.0
    found, told = _fewer(late)
    assert found.shape == (367, 3)
    assert sorted(found[found != 0]) == [-4.0, 3.0]
    assert found[366, 1] == -4.0
    assert told == " (farthest of 3 ranks x 1 steps)"


def test_ends_that_nothing_bounds_have_no_bar():
    assert bars({"value": 2.0, "low": None, "high": 3.0}, 10) == ([0.0], [10.0])


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'hpcad\[plots\]', or say --no-plots"):
        require_matplotlib()
