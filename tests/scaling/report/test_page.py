"""The page: escaped, self-contained, and with no number that report.json lacks."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from simulated_study import samples, strong, write_run, write_study

from hpcad.scaling.report.page import page
from hpcad.scaling.report.reading import read_study
from hpcad.scaling.report.report import make_report
from hpcad.scaling.report.table import Table, interval, number, scaled
from hpcad.scaling.report.tables import tables

EVIL = "<script>alert('x')</script>&\"'"


class Page(HTMLParser):
    """Elements, attributes and texts, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a study whose every text is hostile."""
    import numpy as np

    folder = tmp_path_factory.mktemp("study")
    points = [*strong((1, 2, 4)), *strong((2,), control="communication off")]
    evil = {"dataset": EVIL, "environment": {EVIL: EVIL}, "clock": EVIL, "device": EVIL}
    study = write_study(folder, points, noise=0.01, name="x", hosts=[EVIL], steps=4, **evil)
    random = np.random.default_rng(0)
    write_run(study, samples(points[0], 6, random), "wrong", EVIL)
    write_run(study, samples(points[1], 6, random, environment={EVIL: 1}))
    (study / "study.toml").write_text(f"name = {json.dumps(EVIL)}\n")
    return json.loads(json.dumps(make_report(read_study(study)), allow_nan=False))


def test_every_text_is_escaped(report):
    svg = f"<svg><script>{EVIL}</script></svg>".encode()
    found = Page(page(report, [(EVIL, svg)]))
    assert "script" not in {tag for tag, _ in found.tags}
    text = "".join(found.texts)
    assert text.count(EVIL) >= 8  # name, reason, host, dataset, facts, notice, plan, caption
    (image,) = (attributes for tag, attributes in found.tags if tag == "img")
    assert image["alt"] == EVIL
    assert set(image) == {"alt", "src"}


def test_nothing_is_loaded_from_elsewhere(report):
    found = Page(page(report, [("a plot", b"<svg/>")]))
    addresses = [
        value
        for _, attributes in found.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "srcset", "poster")
    ]
    assert addresses == ["data:image/svg+xml;base64,PHN2Zy8+"]
    assert not {tag for tag, _ in found.tags} & {"link", "script", "iframe", "object", "base"}
    assert "url(" not in page(report)
    policy = next(a["content"] for t, a in found.tags if t == "meta" and "content" in a)
    assert policy.startswith("default-src 'none'")


def test_all_numbers_come_from_the_report(report):
    """With every number of the report changed, no number of any table stays."""
    before = [cell for table in tables(report) for row in table.rows for cell in row[1:]]
    after = [cell for table in tables(changed(report)) for row in table.rows for cell in row[1:]]
    kept = {
        one
        for one, other in zip(before, after, strict=True)
        if one == other and any(character.isdigit() for character in one)
    }
    # Formulae of laws, and the name of a parameter, are words with digits in them.
    assert {cell for cell in kept if not cell.startswith("t = ")} <= {"t1"}


def changed(tree):
    if isinstance(tree, dict):
        return {key: changed(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [changed(value) for value in tree]
    if isinstance(tree, bool) or not isinstance(tree, int | float):
        return tree
    return tree + 1 if isinstance(tree, int) else 1.37 * tree + 0.011


def test_a_wrong_run_is_listed_with_its_reason(report):
    text = "".join(Page(page(report)).texts)
    assert "25 good runs, 1 refused." in text
    assert "strong-p1-b2566wrong" in text.replace("\n", "")


def test_the_same_tables_are_texts(report):
    text = "\n".join(table.text() for table in tables(report))
    row = report["series"][0]["points"][1]
    assert interval(row["median"], 1e3) in text
    assert interval(row["efficiency"], 100) in text
    assert "base of the efficiency: strong-p1-b256, 1 rank," in text
    assert "largest scale, predicted" in text or "not fitted" in text


def test_columns_are_as_wide_as_their_cells():
    table = Table("title", ["name", "value"], [["a", "1"], ["bcdef", "23456"]], ["a note"])
    assert table.text() == (
        "title\n-----\nname   value\na          1\nbcdef  23456\na note"
    )  # fmt: skip
    assert Table("empty", ["name"], [], ["a note"]).text() == "empty\n-----\na note"


def test_numbers_are_short_and_what_is_absent_is_a_dash():
    assert [number(v) for v in (None, 0.0, 7, 98765.4, 1e-9)] == ["-", "0", "7", "98765", "1e-09"]
    assert [scaled(v, "B/s") for v in (None, 0.0, 999.0, 1e3, 2e13)] == [
        "-", "0 B/s", "999 B/s", "1 kB/s", "20 TB/s"
    ]  # fmt: skip
    assert interval(None) == "-"
    assert interval({"value": 2.0, "low": None, "high": None}) == "2 [no interval]"
