"""`hpcad scaling report DIRECTORY`: tables, fits and plots of a study."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_report(commands: argparse._SubParsersAction[Any]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "report",
        help="tables, fits and plots of a study",
        description="Report a study: tables on the terminal, and report.json, report.html and the "
        "plots (PNG and SVG) in DIRECTORY/report.",
        allow_abbrev=False,
    )
    parser.add_argument("directory", metavar="DIRECTORY", type=Path)
    parser.add_argument(
        "--output", metavar="FOLDER", type=Path, help="write there, not to DIRECTORY/report"
    )
    parser.add_argument(
        "--no-plots", action="store_true", help="leave the plots out; needs no matplotlib"
    )
    parser.add_argument(
        "--fit-oversubscribed",
        action="store_true",
        help="fit laws to points whose ranks share cores, too",
    )
    parser.add_argument("--extra-p", metavar="FILE", type=Path, help="export for Extra-P")
    parser.set_defaults(func=report)


def report(arguments: argparse.Namespace) -> int:
    """Report a study."""
    from hpcad.scaling.report.extra_p import write_extra_p
    from hpcad.scaling.report.page import (
        counted,
        environment_table,
        page,
        refused_table,
        write_page,
    )
    from hpcad.scaling.report.plots.style import require_matplotlib
    from hpcad.scaling.report.reading import read_study
    from hpcad.scaling.report.report import make_report, write_report
    from hpcad.scaling.report.tables import tables

    if not arguments.no_plots:
        require_matplotlib()
    study = read_study(arguments.directory)
    found = make_report(study, arguments.fit_oversubscribed)
    folder = arguments.output or arguments.directory / "report"
    write_report(found, folder / "report.json")
    plots = [] if arguments.no_plots else _drawn(found, study, folder)
    write_page(folder / "report.html", page(found, plots))
    print(f"{found['name']}: {counted(found)}\n")
    shown = [environment_table(found), *tables(found)]
    shown += [refused_table(found)] if found["refused"] else []
    print("\n\n".join(table.text() for table in shown))
    for notice in found["notices"]:
        print(f"\nnotice: {notice}")
    print(f"\nwrote {folder / 'report.html'}, report.json and {2 * len(plots)} pictures")
    if arguments.extra_p:
        count = write_extra_p(study, arguments.extra_p)
        print(f"wrote {count} lines for Extra-P to {arguments.extra_p}")
    return 0


def _drawn(found: dict[str, Any], study: Any, folder: Path) -> list[tuple[str, bytes]]:
    """Write all plots, and return captions and SVGs for the page."""
    from hpcad.scaling.report.plots.draw import draw
    from hpcad.scaling.report.plots.style import drawing, save

    kept = []
    with drawing():
        for name, caption, made in draw(found, study):
            save(made, folder / f"{name}.svg")
            kept.append((caption, (folder / f"{name}.svg").read_bytes()))
    return kept
