"""The report as one HTML page that needs nothing else: no script, no font, no other file.

All text is escaped, and plots are embedded as data. Its policy forbids a browser to load anything.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from hpcad.errors import DataError
from hpcad.scaling.report.table import Table
from hpcad.scaling.report.tables import tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.3rem; }
th, td { padding: 0.2rem 0.7rem; text-align: right; white-space: nowrap; }
.left { text-align: left; white-space: normal; }
thead th { border-bottom: 2px solid #555; } tbody tr { border-bottom: 1px solid #e3e3e3; }
.notice { background: #fff4d6; border-left: 4px solid #E69F00; padding: 0.4rem 0.8rem; }
.note { color: #555; font-size: 0.85rem; margin: 0.2rem 0; white-space: normal; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; } figcaption { color: #555; }
pre { background: #f5f5f5; padding: 0.8rem; overflow-x: auto; }
""".strip()

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

Plot = tuple[str, bytes]


def page(report: dict[str, Any], plots: Sequence[Plot] = ()) -> str:
    """The page.

    Parameters
    ----------
    report : dict
        As `report.json` holds it.
    plots : sequence of (str, bytes)
        Captions and SVG files.
    """
    title = f"Scaling study: {report['name']}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *_beginning(report),
            "<h2>Tables</h2>",
            *(_table(table) for table in tables(report)),
            *(["<h2>Plots</h2>"] if plots else []),
            *(_plot(caption, svg) for caption, svg in plots),
            "<h2>How it was measured</h2>",
            *(f"<p>{escape(rule)}</p>" for rule in report["rules"]),
            "<h2>Where it ran</h2>",
            _table(environment_table(report)),
            "<h2>The study</h2>",
            f"<pre>{escape(report['plan'])}</pre>",
            "</body></html>",
            "",
        ]
    )


def environment_table(report: dict[str, Any]) -> Table:
    """What all runs share."""
    rows = [[name, value] for name, value in report["environment"].items()]
    return Table("the same in all runs", ["fact", "value"], rows, left=2)


def refused_table(report: dict[str, Any]) -> Table:
    """The runs that enter no figure."""
    rows = [
        [run["point"], str(run["repeat"]), run["status"], run["reason"]]
        for run in report["refused"]
    ]
    return Table("runs that enter no figure", ["point", "run", "status", "reason"], rows, left=4)


def counted(report: dict[str, Any]) -> str:
    """How many runs there are, in a sentence."""
    return f"{report['good_runs']} good runs, {len(report['refused'])} refused"


def write_page(path: Path, text: str) -> None:
    """Write the page.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}; choose another --output") from error


def _beginning(report: dict[str, Any]) -> list[str]:
    found = [f"<p>{escape(counted(report))}.</p>"]
    found += [f'<p class="notice">{escape(notice)}</p>' for notice in report["notices"]]
    if report["refused"]:
        found += ["<h2>Refused</h2>", _table(refused_table(report))]
    return found


def _table(table: Table) -> str:
    head = _cells('th scope="col"', table.columns, table.left)
    rows = [f"<tr>{_cells('td', row, table.left)}</tr>" for row in table.rows]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    if not rows:
        return f'<div class="wide"><p><strong>{escape(table.title)}</strong></p>{notes}</div>'
    return (
        f'<div class="wide"><table><caption>{escape(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"
        f"{notes}</div>"
    )


def _cells(tag: str, texts: list[str], left: int) -> str:
    """Cells of a row; so many on the left."""
    name = tag.split()[0]
    return "".join(
        f"<{tag}{' class=left' if k < left else ''}>{escape(text)}</{name}>"
        for k, text in enumerate(texts)
    )


def _plot(caption: str, svg: bytes) -> str:
    # As an image: names inside one plot cannot meet those of another, or of the page.
    data = base64.b64encode(svg).decode("ascii")
    told = escape(caption)
    return (
        f'<figure><img alt="{told}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{told}</figcaption></figure>"
    )
