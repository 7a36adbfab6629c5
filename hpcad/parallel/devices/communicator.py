"""What all communicators for device arrays have in common: the door, the turns, the events.

Not yet proven on a GPU: written against CuPy's documented interface, tested with a stand-in.

A collective has three orders to keep. Its calls pass the door of a communicator for host arrays, so
that ranks that mean different things, or never come, are named as they are for host arrays; nothing
is handed to the device before. Requests take turns, in the order in which they were started, which
is the same on every rank. And on the device, work goes to a stream of its own, behind an event of
the compute stream (the arrays are written) and ahead of an event that the compute stream waits for
(the result is there). The host waits for neither.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, ClassVar

from hpcad.errors import ConfigError, DeviceError, ShapeError
from hpcad.parallel.buffer import REDUCTIONS
from hpcad.parallel.devices.request import DeviceRequest, Steps
from hpcad.program.device.held_graph import HeldGraph

_SPIN_SECONDS = 2e-3


class DeviceCommunicator(ABC):
    """Collectives on CuPy arrays, in place, each behind the compute stream that called it.

    Collective.

    Parameters
    ----------
    host : Communicator
        For arrays in host memory; its door records the calls and compares them between the ranks.
    cupy : module
        CuPy, or what stands in for it. The current device is the one that this rank computes on.

    Attributes
    ----------
    kind : str
        ``"nccl"``, ``"nccl+mpi"``, ``"mpi"`` or ``"staged"``.
    rank, size : int
    stream : cupy.cuda.Stream
        Of the communication.
    closed : bool

    Notes
    -----
    Programs wait for a request at the same place of their sequence of blocking collectives on every
    rank, as backward passes do: what passes through the host moves only while somebody tests or
    waits.
    """

    kind: ClassVar[str]

    def __init__(self, host: Any, cupy: Any) -> None:
        self._host, self._cupy = host, cupy
        self.rank: int = host.rank
        self.size: int = host.size
        # Non-blocking: it must not be ordered by the legacy default stream, only by our events.
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self._agreeing: Any = getattr(host, "_started", None)  # None: a single process
        self._queue: deque[DeviceRequest] = deque()
        self._flying: list[DeviceRequest] = []
        self.closed = False

    # -- collectives -------------------------------------------------------------------------------

    def allreduce(self, array: Any, op: str = "sum", name: str = "") -> None:
        """Overwrite ``array`` with the reduction over all ranks, as far as the compute stream sees.

        Parameters
        ----------
        array : cupy.ndarray
            C-contiguous.
        op : {"sum", "max", "min", "prod"}

        Raises
        ------
        ShapeError
            Not such an array, or a dtype without this reduction here.
        CollectiveError
            The ranks make different calls, or the library failed.
        """
        flat = self._reducible(array, op, "allreduce")
        self._start("allreduce", (flat,), self._allreduce(flat, op), op, name, True).wait()

    def iallreduce(self, array: Any, op: str = "sum", name: str = "") -> DeviceRequest:
        """Start :meth:`allreduce` behind what the current stream has been given so far."""
        flat = self._reducible(array, op, "iallreduce")
        return self._start("iallreduce", (flat,), self._allreduce(flat, op), op, name, False)

    def broadcast(self, array: Any, root: int = 0, name: str = "") -> None:
        """Overwrite ``array`` with the root's, on every rank."""
        if not 0 <= root < self.size:
            raise ConfigError(
                f"broadcast was given root {root}, but this communicator has ranks 0 to "
                f"{self.size - 1}"
            )
        flat = self._flat(array, "broadcast")
        steps = self._broadcast(flat.view("u1"), root)
        self._start("broadcast", (flat,), steps, f"from {root}", name, True).wait()

    @abstractmethod
    def _allreduce(self, flat: Any, op: str) -> Steps:
        """Reduce in place; runs once all ranks have agreed and it is this request's turn."""

    @abstractmethod
    def _broadcast(self, data: Any, root: int) -> Steps:
        """Overwrite the bytes with the root's."""

    @abstractmethod
    def _takes(self, dtype: Any, op: str) -> bool:
        """Whether there is such a reduction."""

    def check(self) -> None:  # noqa: B027  # most have nothing to ask
        """Raise where the library has failed since; called whenever requests are looked after."""

    def close(self) -> None:
        """Let go of what must be gone before MPI ends. Nothing may be under way."""
        self.closed = True

    # -- inside of graphs --------------------------------------------------------------------------

    def capture_obstacle(self) -> str:
        """Why reductions cannot be part of a CUDA graph; empty where they can."""
        return f"a {self.kind!r} communicator passes through the host"

    def hand_over(self, array: Any, op: str = "sum") -> None:
        """Give a reduction to :attr:`stream`, behind the current one: no door, no turn, no wait.

        Whoever calls this sees to it that all ranks do, in one order; see
        :mod:`hpcad.parallel.devices.in_graph`. Also while both streams are captured.
        """
        flat = self._reducible(array, op, "hand_over")
        self.stream.wait_event(self.mark(self._cupy.cuda.get_current_stream()))
        for _ in self._allreduce(flat, op):
            raise DeviceError(f"a {self.kind!r} communicator waits for the host in a reduction")

    def order_stream(self) -> None:
        """Let the current stream go on only behind all that :attr:`stream` was given."""
        self._cupy.cuda.get_current_stream().wait_event(self.mark(self.stream))

    def let_go_before_end(self, graph: HeldGraph) -> None:  # noqa: B027  # most hold nothing
        """Drop a graph before what it uses is destroyed."""

    def abort(self) -> None:  # noqa: B027  # nor can be aborted
        """Free the device from collectives that hang. Any thread may call it."""

    # -- arrays ------------------------------------------------------------------------------------

    def _flat(self, array: Any, call: str) -> Any:
        if not isinstance(array, self._cupy.ndarray) or not array.flags.c_contiguous:
            raise ShapeError(
                f"{call} on a {self.kind!r} communicator works on C-contiguous CuPy arrays, in "
                f"place, but was given {type(array).__module__}.{type(array).__name__} of shape "
                f"{getattr(array, 'shape', '?')}; pass a contiguous device array"
            )
        return array.reshape(-1)

    def _reducible(self, array: Any, op: str, call: str) -> Any:
        if op not in REDUCTIONS:
            raise ConfigError(f"unknown reduction {op!r}; expected one of {', '.join(REDUCTIONS)}")
        flat = self._flat(array, call)
        if not self._takes(flat.dtype, op):
            raise ShapeError(
                f"{call} on a {self.kind!r} communicator cannot take the {op} of dtype "
                f"{flat.dtype}; convert to float32 or float64, or to 32- or 64-bit integers"
            )
        return flat

    # -- turns -------------------------------------------------------------------------------------

    def _start(
        self,
        operation: str,
        arrays: tuple[Any, ...],
        steps: Steps,
        detail: str,
        name: str,
        blocking: bool,
    ) -> DeviceRequest:
        """Pass the door, and let a request take its turn. The first array is described."""
        self.sweep()
        flat = arrays[0]
        ready = self.mark(self._cupy.cuda.get_current_stream())
        detail = f"{detail} on devices by {self.kind}"
        if flat.dtype.kind == "V":  # bfloat16, for which NumPy has no character
            detail = f"{detail} in {flat.dtype.name}"
        door = self._host._door
        record = door.enter(operation, flat.dtype.str, flat.size, name, detail, blocking)
        request = DeviceRequest(self, record, arrays, steps, ready)
        if blocking or self._agreeing is None:
            request.post()  # the door has let all earlier requests pass
        else:
            self._agreeing.add(request, record)
            self._agreeing.advance()
        return request

    def enqueue(self, request: DeviceRequest) -> None:
        """Let a request take its place, and go as far as that is possible now."""
        self._queue.append(request)
        self._run(wait=False)

    def advance(self) -> None:
        """Go as far as possible with all requests, without waiting."""
        if self._agreeing is not None:
            self._agreeing.advance()
        self._run(wait=False)
        self.sweep()

    def drive(self, request: DeviceRequest) -> None:
        """Return when all work of a request, and of those before it, is with the device."""
        started = time.perf_counter()
        # Not all that was started is waited for: another rank may start a later request only after
        # it has waited for this one.
        while not request.posted:
            self._agreeing.advance()  # there is one, or the request were posted
            self._run(wait=False)
            if time.perf_counter() - started > _SPIN_SECONDS:
                time.sleep(2e-5)
            else:
                os.sched_yield()
        self._run(wait=True, last=request)
        self.check()

    def _run(self, wait: bool, last: DeviceRequest | None = None) -> None:
        while self._queue and (last is None or last.event is None):
            request = self._queue[0]
            if not request.proceed(wait):
                return
            self._queue.popleft()
            self._flying.append(request)

    def sweep(self) -> None:
        """Note which requests have ended on the device."""
        self.check()
        self._flying = [request for request in self._flying if not request.end_if_done()]

    # -- events ------------------------------------------------------------------------------------

    def mark(self, stream: Any) -> Any:
        """An event behind all that a stream has been given."""
        event = self._cupy.cuda.Event(disable_timing=True)
        event.record(stream)
        return event

    def order_behind(self, request: DeviceRequest) -> None:
        """Let the current stream go on only behind a request."""
        self._cupy.cuda.get_current_stream().wait_event(request.event)
