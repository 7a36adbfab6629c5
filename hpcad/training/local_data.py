"""Copies of a job's datasets on each node, where the job file asks for them."""

from __future__ import annotations

import functools

from hpcad.data.staging.room import AUTO, NoRoomError
from hpcad.data.staging.stage import stage
from hpcad.data.staging.staged import Staged
from hpcad.parallel import World
from hpcad.training.job_sections import DataSection


def local_copy(path: str, data: DataSection, world: World) -> str | Staged:
    """What a job reads instead of a dataset: its copy on this node, or itself. Collective.

    With ``stage = "auto"``, a job whose nodes have too little room reads the dataset where it is,
    and says so.

    Raises
    ------
    DataError
        On every rank; see :func:`~hpcad.data.staging.stage.stage`.
    """
    if data.stage is None:
        return path
    say = functools.partial(print, flush=True) if world.is_root else None
    try:
        staged = stage(
            path,
            data.stage,
            world.communicator,
            world.node,
            share=data.stage_share,
            keep=data.stage_keep,
            progress=say,
        )
    except NoRoomError as error:  # on all ranks alike
        if data.stage != AUTO:
            raise
        if say is not None:
            say(f"{path} is read where it is: {error}")
        return path
    if say is not None:
        say(f"{path} staged to {staged.path}: {staged.describe()}")
    return staged
