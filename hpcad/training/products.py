"""Algorithms of matrix products on a device: chosen on rank 0, told to all, kept with the run.

Another algorithm sums in another order. So all ranks take the same ones, and a run that goes on
from a checkpoint takes those that it began with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcad.backend import Backend
from hpcad.backend.cublaslt.context import context_of
from hpcad.backend.cublaslt.tuning import record_for, tune
from hpcad.parallel.communicator import Communicator

FILE = "products.json"


def tune_products(
    program: Any, backend: Backend, communicator: Communicator, directory: Path | None
) -> dict[str, float]:
    """Choose the algorithms for a program's products. Collective.

    Parameters
    ----------
    program : Executable or None
        None on a rank that has none.
    backend : DeviceBackend
    directory : Path or None
        Of the run, where rank 0 keeps the choices; without one they go to hpcad's cache.

    Returns
    -------
    dict
        Product -> seconds, of what this rank has measured now.
    """
    lead = communicator.rank == 0
    products = [] if program is None else [p for step in program.steps for p in step.products]
    record = None
    if lead and products:
        path = None if directory is None else directory / FILE
        record = record_for(context_of(backend.xp), path)

    def share(message: bytes | None) -> bytes:
        text = None if message is None else message.decode()
        return communicator.broadcast_json(text, name="algorithms of products").encode()

    return tune(products, record=record, lead=lead, share=share)
