"""`hpcad scaling point ORDERS.json`: one run of a study, on the ranks of a launcher."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from hpcad.errors import HpcadError

_ROOT_HEAD_START = 0.5  # seconds in which rank 0 may report an error that all ranks have


def add_point(commands: argparse._SubParsersAction[Any]) -> None:
    """Register the command."""
    text = "run one point of a study (started by `hpcad scaling run`, under mpirun or srun)"
    parser = commands.add_parser("point", help=text, description=text, allow_abbrev=False)
    parser.add_argument("orders", metavar="ORDERS.json", type=Path)
    parser.set_defaults(func=_point)


def _point(arguments: argparse.Namespace) -> int:
    from hpcad.models import REGISTRY
    from hpcad.parallel import init
    from hpcad.scaling.study.orders import Orders
    from hpcad.scaling.study.worker import run_point

    orders = Orders.read(arguments.orders)
    try:
        run_point(orders, REGISTRY)
    except HpcadError as error:
        if orders.point.ranks == 1:
            raise
        world = init()
        if not world.is_root:  # often all ranks have the error: one of them tells it
            time.sleep(_ROOT_HEAD_START)
        told = f"hpcad: error: {error} (rank {world.rank} on {world.host})"
        print(told, file=sys.stderr, flush=True)
        world.communicator.abort(error.exit_code)
    return 0
