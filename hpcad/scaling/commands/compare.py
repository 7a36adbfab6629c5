"""`hpcad scaling compare A B`: is B slower than A? With an exit code for CI."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

REGRESSION = 16


def add_compare(commands: argparse._SubParsersAction[Any]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "compare",
        help="tell whether one study is slower than another",
        description="Compare the points that two studies have in common. Exit codes: 0 where no "
        f"point of B is shown to be slower, {REGRESSION} where one is or has no good run, 2 where "
        "the studies cannot be compared.",
        allow_abbrev=False,
    )
    parser.add_argument("a", metavar="A", type=Path, help="directory of the reference")
    parser.add_argument("b", metavar="B", type=Path, help="directory of the study to judge")
    parser.add_argument(
        "--tolerance",
        metavar="SHARE",
        type=float,
        default=0.05,
        help="slower by no more than this share is no regression (default 0.05)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result there, too")
    parser.set_defaults(func=compare)


def compare(arguments: argparse.Namespace) -> int:
    """Compare two studies."""
    from hpcad.errors import ConfigError, DataError
    from hpcad.scaling.report.comparison import compare as compared
    from hpcad.scaling.report.reading import read_study

    try:
        found = compared(read_study(arguments.a), read_study(arguments.b), arguments.tolerance)
        if arguments.json:
            arguments.json.write_text(json.dumps(found.to_dict(), indent=1) + "\n")
    except (DataError, OSError) as error:  # 2 is what CI is told of all bad input
        raise ConfigError(str(error)) from error
    print(found.table().text())
    for notice in found.notices:
        print(f"\nnotice: {notice}")
    if found.is_regression:
        print(f"\nB is slower than A by more than {100 * found.tolerance:g} %, or lost a point")
        return REGRESSION
    if not found.judged:
        raise ConfigError(
            "no point could be judged: run each point of both studies six times or more, and with "
            "many points more often (`repeats` of the study)"
        )
    print(f"\nno point of B is shown to be slower than A by more than {100 * found.tolerance:g} %")
    return 0
