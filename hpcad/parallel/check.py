"""Do all ranks mean the same collective? Asked before each one, so that none waits for another.

MPI says nothing of ranks that call different collectives, or with other counts or dtypes: some
combinations hang, some end with an error that names nobody, some return wrong numbers. Here every
rank states a fingerprint of its call first (operation, reduction or root, dtype, count, name, and
how many calls came before). Where they differ, all ranks exchange what they were about to do and
raise. It costs one small reduction a call; ``HPCAD_CHECK=0`` saves it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NoReturn, Protocol

import numpy as np
from mpi4py import MPI

from hpcad.errors import CollectiveError, user_frame
from hpcad.parallel.door import Record

_UNLIKE = 2**62  # as the largest and as the negative of the smallest: no fingerprint is both


def is_wanted() -> bool:
    """Whether calls are compared; on unless ``HPCAD_CHECK=0``."""
    return os.environ.get("HPCAD_CHECK", "1") != "0"


class Agreement(Protocol):
    """A call that this rank has stated, and others may not have yet."""

    def reached(self, wait: bool) -> bool:
        """Whether all ranks have stated the same; with ``wait``, return when they have.

        Raises
        ------
        CollectiveError
            On every rank, when they have stated different calls.
        """


class MessageAgreement:
    """States a call by a small reduction.

    Parameters
    ----------
    comm : MPI.Intracomm
        Nobody else sends on it.
    agreed : MPI.Intracomm
        Where only calls travel that all have agreed about: there all its ranks talk when some
        disagree. (On ``comm`` some of them may have stated later calls already.)
    record : Record
    alike : bool
        Whether those for whom this rank speaks mean the same.
    tell : callable, optional
        Called before the ranks talk: lets others know that they must, too.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        agreed: MPI.Intracomm,
        record: Record,
        alike: bool = True,
        tell: Callable[[], None] | None = None,
    ) -> None:
        self._agreed, self._record, self._tell = agreed, record, tell
        print_ = record.fingerprint
        self._stated = np.array([print_, -print_] if alike else [_UNLIKE, _UNLIKE], np.int64)
        self._request = comm.Iallreduce(MPI.IN_PLACE, self._stated, MPI.MAX)

    def reached(self, wait: bool) -> bool:
        """Whether all ranks have stated the same; see :class:`Agreement`."""
        if wait:
            self._request.Wait()
        elif not self._request.Test():
            return False
        if self._stated[0] != -self._stated[1]:  # the largest and the smallest
            if self._tell is not None:
                self._tell()
            disagree(self._agreed, self._record)
        return True


def disagree(comm: MPI.Intracomm, record: Record) -> NoReturn:
    """Tell all ranks of ``comm`` what each was about to do, and raise.

    Raises
    ------
    CollectiveError
        Always; it names the ranks of each kind of call, their host and line.
    """
    text = json.dumps({"call": record.call, "line": _line(record), "host": socket.gethostname()})
    mine = np.frombuffer(text.encode(), np.uint8)
    lengths = np.empty(comm.Get_size(), np.int64)
    comm.Allgather(np.array([mine.size], np.int64), lengths)
    received = np.empty(int(lengths.sum()), np.uint8)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    comm.Allgatherv(mine, [received, (lengths, starts), MPI.BYTE])
    ends = starts + lengths
    told = [json.loads(received[a:b].tobytes()) for a, b in zip(starts, ends, strict=True)]
    raise CollectiveError(
        f"the ranks of {record.communicator!r} disagree about collective call number "
        f"{record.sequence}: {_listed(told)}. All ranks must make the same calls in the same "
        "order, with equal dtypes, counts and names; look for a branch that only some ranks take"
    )


def _line(record: Record) -> str:
    """The user's line where a blocking call stands; of one that was started, where it was."""
    frame = None if record.operation.startswith("i") else user_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else record.place


def _listed(told: Sequence[dict[str, str]]) -> str:
    """Ranks with equal calls, together: the smaller groups are the likelier culprits."""
    order = sorted(range(len(told)), key=lambda rank: (_what(told[rank]), rank))
    groups = [(what, list(ranks)) for what, ranks in groupby(order, lambda r: _what(told[r]))]
    groups.sort(key=lambda group: (len(group[1]), group[1]))
    return "; ".join(f"{_ranks(ranks, told)} called {what}" for what, ranks in groups)


def _what(said: dict[str, str]) -> str:
    return f"{said['call']} at {said['line']}"


def _ranks(ranks: Sequence[int], told: Sequence[dict[str, str]]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (f", ... ({len(ranks)} in all)" if ranks[8:] else "")
    return f"rank{'s' if ranks[1:] else ''} {shown} (on {told[ranks[0]]['host']})"
