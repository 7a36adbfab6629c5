"""The theory pages: their scripts run, and what the pages say of the numbers is so."""

from __future__ import annotations

import importlib.util
import re
import sys
from html import escape
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from launched import run_bounded

import hpcad

ROOT = Path(__file__).resolve().parents[2]
THEORY = ROOT / "docs" / "theory"
SCRIPTS = sorted((THEORY / "examples").glob("*.py"))
PAGES = {path.name: path.read_text(encoding="utf-8") for path in THEORY.glob("*.md")}


def load(name: str) -> ModuleType:
    """A script as a module; its ``__main__`` part does not run."""
    spec = importlib.util.spec_from_file_location(name, THEORY / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ran(*words: object, cwd: Path) -> str:
    done = run_bounded([sys.executable, "-W", "error", *words], timeout=60, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_page_names_each_script_and_only_scripts_that_exist(script):
    assert any(f"docs/theory/examples/{script.name}" in text for text in PAGES.values())
    named = {n for text in PAGES.values() for n in re.findall(r"theory/examples/(\w+\.py)", text)}
    assert named == {path.name for path in SCRIPTS}


def test_expression_swell_prints_what_the_page_shows(tmp_path):
    assert ran(THEORY / "examples" / "expression_swell.py", cwd=tmp_path) in PAGES["programs.md"]


def test_derivatives_more_than_double_and_tapes_grow_by_three():
    rows = list(load("expression_swell").table(8))
    for before, after in pairwise(rows[2:]):
        assert after[2] > 2 * before[2]
        assert after[3] > 2 * before[3]  # simplified
    assert [row[4] for row in rows] == [3 * k for k in range(8)]


def test_differences_have_the_errors_of_their_order():
    module = load("difference_error")
    steps = np.array([1e-4, 1e-5])
    found = {name: np.array(values) for name, values in module.errors(steps).items()}
    order = {name: np.log10(values[0] / values[1]) for name, values in found.items()}
    assert order["forward difference"] == pytest.approx(1, abs=0.1)
    assert order["central difference"] == pytest.approx(2, abs=0.1)
    tiny = {name: values[0] for name, values in module.errors([1e-13]).items()}
    assert tiny["forward difference"] > 1e-6  # rounding
    assert tiny["central difference"] > 1e-6
    assert tiny["complex step"] < 1e-13


def test_difference_error_draws_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    printed = ran(THEORY / "examples" / "difference_error.py", "picture.png", cwd=tmp_path)
    assert printed.count("smallest error of the") == 3
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_forward_mode_costs_columns_and_reverse_mode_rows():
    sizes = (1, 64)
    rows = {(kind, size): cost for kind, size, *cost in load("mode_cost").measured(sizes, 3)}
    forward, reverse = 0, 1
    assert rows["R -> R^m", 64][forward] < 4 * rows["R -> R^m", 1][forward]
    assert rows["R -> R^m", 64][reverse] > 5 * rows["R -> R^m", 1][reverse]
    assert rows["R^n -> R", 64][reverse] < 4 * rows["R^n -> R", 1][reverse]
    assert rows["R^n -> R", 64][forward] > 5 * rows["R^n -> R", 1][forward]


def test_hessian_vector_products_agree():
    rows = list(load("hessian_vector").measured(8))
    assert len(rows) == 3
    assert all(off < 1e-12 for _, off, *_ in rows)


def test_the_nan_page_shows_what_anomaly_says(tmp_path):
    block = re.search(
        r'```python title="distance.py"\n(?P<code>.*?)```\n+```console\n\$ python distance.py\n'
        r"(?P<shown>.*?)```",
        PAGES["how.md"],
        re.DOTALL,
    )
    assert block is not None
    path = tmp_path / "distance.py"
    path.write_text(block["code"], encoding="utf-8")
    done = run_bounded([sys.executable, path], timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    said = done.stderr.replace(f"{tmp_path}/", "/home/me/")
    assert said.endswith(block["shown"])


def test_the_drawn_graph_is_that_of_the_page():
    picture = (ROOT / "docs" / "images" / "graph.svg").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```python\n(.*?)```", PAGES["programs.md"], re.DOTALL)
                 if "graph.save" in b)  # fmt: skip
    names: dict[str, object] = {}
    exec(block.partition("graph.save")[0], names)  # noqa: S102  a page of this project
    graph = names["graph"]
    assert isinstance(graph, hpcad.autodiff.Graph)
    for node in graph.nodes:
        assert f">{escape(node.name)}" in picture
    assert graph.totals() in picture
