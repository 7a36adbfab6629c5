"""Reductions of gradients that may stand inside of a CUDA graph: the whole step is one graph then.

Not yet proven on a GPU.

A bucket's reduction is a branch of the graph: an event behind its last gradient leads from the
compute stream to the communicator's (the fork), and one behind the last reduction leads back (the
join). So the graph itself says what overlaps. Eager passes do the same without a graph, since every
rank must hand the same to NCCL.

What the door does for single calls is done once a pass, before any of it is with the device: all
ranks state which reductions come, and how they would run them. They run them alike, as a graph that
was captured on all ranks at the same time, or one by one (the warm-up that opens connections; and
whenever some rank has no graph). Different buckets, or another call, are an error that names the
ranks; so is a rank that does not come. Then nothing is asked of the host any more. An event behind
the pass tells the watchdog whether it has ended.
"""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpcad.errors import ConfigError
from hpcad.parallel.devices.communicator import DeviceCommunicator
from hpcad.parallel.record import PassRecord
from hpcad.program.device.effect_kinds import COLD, WARM
from hpcad.program.device.held_graph import HeldGraph

VARIABLE = "HPCAD_GRAPH_REDUCTIONS"
MOST_ANEW = 16  # captures of what had been captured, because the ranks' graphs did not match
_SETTLING = "capture of a graph with reductions"
_log = logging.getLogger("hpcad")


class GraphReductions:
    """The reductions of one engine's buckets; a :class:`~hpcad.program.device.effect_kinds.Joint`.

    Parameters
    ----------
    communicator : DeviceCommunicator
    host : Communicator
        Compares what the ranks are about to do.
    cupy : module
    plan : sequence of (str, dtype, int)
        Name, dtype and elements of each reduction of a pass, in their order.
    waited : callable
        Told the seconds in which the host has waited for other hosts.
    obstacle : str
        Why they stay outside of graphs; equal on every rank.
    """

    def __init__(
        self,
        communicator: DeviceCommunicator,
        host: Any,
        cupy: Any,
        plan: Sequence[tuple[str, Any, int]],
        waited: Callable[[float], None],
        obstacle: str = "",
    ) -> None:
        self._communicator, self._host, self._cupy = communicator, host, cupy
        self._waited, self.obstacle = waited, obstacle
        said = [(name, np.dtype(dtype).name, count) for name, dtype, count in plan]
        digest = zlib.crc32(repr(said).encode())
        self._dtype = np.dtype(plan[0][1]).str if plan else ""
        self._count = sum(count for _, _, count in plan)
        messages = f"{len(said)} message{'s' if len(said) > 1 else ''}"
        self._name = f"gradients in {messages} (plan {digest:08x})"
        self._captures, self._anew = WARM, 0
        self._forked = False
        self._record: PassRecord | None = None
        self._flying: deque[PassRecord] = deque()

    @property
    def allowed(self) -> bool:
        """Whether they go this way; equal on every rank."""
        return not self.obstacle and not self._communicator.closed

    def __str__(self) -> str:
        if self.obstacle:
            return f"between CUDA graphs ({self.obstacle})"
        return "inside the CUDA graph of a compiled step"

    # -- what the ranks agree about ------------------------------------------------------------

    def agree(self, state: int) -> int:
        """Hear how all ranks run this pass; see :meth:`Joint.agree`.

        Raises
        ------
        CollectiveError
            Ranks mean something else, or NCCL has failed since.
        """
        started = time.perf_counter()
        number = self.begin(state)
        self._waited(time.perf_counter() - started)
        return number

    def begin(self, state: int = COLD) -> int:
        """The same, for who keeps the time; at the start of eager passes."""
        self._communicator.sweep()
        self._look_after()
        said = np.array([state, -state, -self._captures], np.int64)
        self._host.allreduce(said, "min", self._name)
        lowest, highest = int(said[0]), -int(said[1])
        self._captures = -int(said[2])
        self._enter()
        if lowest == COLD or (lowest == highest and lowest > WARM):
            return lowest
        if highest > WARM:
            self._anew += 1
            if self._anew > MOST_ANEW:
                self._refuse("the ranks run programs in ever new combinations")
                return COLD
        self._captures += 1
        return self._captures

    def settle(self, problem: str) -> bool:
        """Whether all ranks have captured a graph; from now on none, where one has not."""
        problems = [said for said in self._host.gather_json(problem, _SETTLING) if said]
        if problems:
            self._refuse(f"capture was refused ({problems[0]})")
        return not problems

    def hold(self, graph: HeldGraph) -> None:
        """Drop the graph before the communicator ends: NCCL waits for graphs to go, for ever."""
        self._communicator.let_go_before_end(graph)

    def _refuse(self, obstacle: str) -> None:
        self.obstacle = obstacle
        if self._host.rank == 0:
            _log.warning("gradients are reduced between graphs from now on: %s", obstacle)

    # -- work for the device -------------------------------------------------------------------

    def reduce(self, array: Any) -> None:
        """Sum over all ranks, in place, behind the current stream and beside it."""
        self._communicator.hand_over(array)
        self._forked = True

    def join(self) -> None:
        """Order the current stream behind all reductions that it was forked for."""
        if self._forked:
            self._forked = False
            self._communicator.order_stream()

    def launched(self) -> None:
        """All of the pass is with the device: note its end."""
        self.join()  # where all requests were found to be over, nobody has
        if self._record is not None:
            self._record.event = self._communicator.mark(self._cupy.cuda.get_current_stream())
            self._flying.append(self._record)
            self._record = None

    def start(self, array: Any) -> PassRequest:
        """The same as :meth:`reduce`, for eager passes."""
        self.reduce(array)
        return PassRequest(self, self._communicator.mark(self._communicator.stream))

    # -- what the watchdog sees ----------------------------------------------------------------

    def _enter(self) -> None:
        """Number the pass at the door; the watchdog waits for it until its event has come."""
        door = self._host._door
        detail = f"sums on devices by {self._communicator.kind}"
        self._record = door.enter_pass(
            "pass", self._dtype, self._count, self._name, detail, self._communicator.abort
        )

    def _look_after(self) -> None:
        """Forget passes that are over; one that never got to the device is none."""
        if self._record is not None:
            self._record.finish()
            self._record = None
        while self._flying and self._flying[0].look():
            self._flying.popleft()


class PassRequest:
    """A reduction of an eager pass, on its way.

    Parameters
    ----------
    reductions : GraphReductions
    event : cupy.cuda.Event
        Behind it.
    """

    def __init__(self, reductions: GraphReductions, event: Any) -> None:
        self._reductions, self._event = reductions, event

    def test(self) -> bool:
        """Whether the device is done with it."""
        return bool(self._event.done)

    def wait(self) -> None:
        """Let the current stream go on only behind all that was started. The host goes on."""
        self._reductions.join()


def graph_reductions(
    communicator: DeviceCommunicator,
    host: Any,
    cupy: Any,
    plan: Sequence[tuple[str, Any, int]],
    waited: Callable[[float], None],
    environ: Mapping[str, str] = os.environ,
) -> GraphReductions:
    """The reductions of an engine, and what keeps them out of graphs. Collective.

    Raises
    ------
    ConfigError
        ``HPCAD_GRAPH_REDUCTIONS`` is neither 0 nor 1.
    """
    wish = environ.get(VARIABLE, "") or "1"
    if wish not in ("0", "1"):
        raise ConfigError(f"{VARIABLE}={wish!r} is not understood; set it to 0 or 1, or not at all")
    mine = communicator.capture_obstacle() if wish == "1" else f"{VARIABLE}=0"
    found = [said for said in host.gather_json(mine, "reductions in graphs") if said]
    return GraphReductions(communicator, host, cupy, plan, waited, found[0] if found else "")
