"""What every communicator can do.

========================  ====================================================================
communicator              when to use it
========================  ====================================================================
``SerialCommunicator``    one process; no MPI library is loaded (laptop, notebook, most tests)
``MpiCommunicator``       one rank per node: the MPI library's own collectives
``NodeCommunicator``      several ranks per node: reductions in place, in shared memory, then
                          between the nodes by MPI
``NaiveCommunicator``     never for speed: point-to-point to rank 0, reduced in rank order; the
                          definition that tests hold the others to
========================  ====================================================================

All of them work on host NumPy arrays that are C-contiguous, in place. Arrays on devices are reduced
by one of four others, which stand on one of these and are not yet proven on a GPU
(:mod:`hpcad.parallel.devices.choice` takes one for a job):

=========================  ===================================================================
``NcclCommunicator``       every rank has a device of its own: NCCL, on a stream of its own
``NcclNodesCommunicator``  several nodes with several devices each: NCCL inside, MPI between
``GpuAwareCommunicator``   no NCCL, and an MPI library that says that it takes device memory
``StagedCommunicator``     everywhere else: through pinned host memory, in pieces
=========================  ===================================================================

Every rank must make the same calls in the same order with the same dtype and count; each call
passes the door (:mod:`hpcad.parallel.door`), which records it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np


class Request(Protocol):
    """A reduction that was started and may not have ended.

    The array belongs to the communicator until :meth:`wait` returned or :meth:`test` was true.
    """

    def test(self) -> bool:
        """Give the library a chance to progress; return whether the reduction has ended."""

    def wait(self) -> None:
        """Return when the reduction has ended."""


class Communicator(Protocol):
    """A group of ranks that exchange host arrays.

    Attributes
    ----------
    kind : str
        ``"serial"``, ``"mpi"``, ``"node"`` or ``"naive"``.
    rank, size : int
        This process's number in the group, and how many there are.

    Notes
    -----
    ``name`` is free text that appears in the door's records and in error messages.

    Every method raises :class:`~hpcad.errors.CollectiveError`, on every rank, where the ranks make
    different calls (:mod:`hpcad.parallel.check`).
    """

    @property
    def kind(self) -> str: ...

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def barrier(self, name: str = "") -> None:
        """Return when every rank has come."""

    def broadcast(self, array: np.ndarray, root: int = 0, name: str = "") -> None:
        """Overwrite ``array`` with the root's, on every rank.

        Any dtype without Python objects; the same shape and dtype on every rank.
        """

    def allreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> None:
        """Overwrite ``array`` with the elementwise reduction over all ranks.

        Parameters
        ----------
        array : ndarray
            Integers, float16 (accumulated in float32), float32, float64; complex64 and complex128
            for ``sum`` and ``prod``.
        op : {"sum", "max", "min", "prod"}
            The reduction. Its order is the implementation's.

        Raises
        ------
        ShapeError
            The array is not C-contiguous, is read-only, or has a dtype without this reduction.
        """

    def iallreduce(self, array: np.ndarray, op: str = "sum", name: str = "") -> Request:
        """Start :meth:`allreduce` and return at once."""

    # Blocks are equal: ``n`` elements a rank, ``size * n`` in all, in rank order. Arrays that are
    # only read may be read-only. Another number of elements is a ShapeError.

    def reduce(self, array: np.ndarray, op: str = "sum", root: int = 0, name: str = "") -> None:
        """Overwrite the root's ``array`` with the reduction; leave the others as they are."""

    def reduce_scatter(
        self, array: np.ndarray, out: np.ndarray, op: str = "sum", name: str = ""
    ) -> None:
        """Reduce ``array`` over the ranks, and write block ``rank`` of the result to ``out``.

        ``array`` may be overwritten; one that is read-only is copied first.
        """

    def scan(
        self, array: np.ndarray, op: str = "sum", reverse: bool = False, name: str = ""
    ) -> None:
        """Overwrite ``array`` with the reduction over ranks 0 to this one (from it to the last)."""

    def gather(
        self, array: np.ndarray, out: np.ndarray | None, root: int = 0, name: str = ""
    ) -> None:
        """Write the arrays of all ranks to the root's ``out``."""

    def scatter(
        self, array: np.ndarray | None, out: np.ndarray, root: int = 0, name: str = ""
    ) -> None:
        """Write block r of the root's ``array`` to ``out`` of rank r."""

    def allgather(self, array: np.ndarray, out: np.ndarray, name: str = "") -> None:
        """Write the arrays of all ranks to ``out`` on every rank."""

    def alltoall(self, array: np.ndarray, out: np.ndarray, name: str = "") -> None:
        """Send block r of ``array`` to rank r; block r of ``out`` comes from there."""

    def alltoallv(
        self,
        array: np.ndarray,
        counts: Sequence[int] | np.ndarray,
        out: np.ndarray,
        out_counts: Sequence[int] | np.ndarray,
        name: str = "",
    ) -> None:
        """Send ``counts[r]`` elements of ``array`` to rank r, receive ``out_counts[r]`` from it.

        Blocks of any lengths, 0 too, in rank order. What one rank states as a count, the other
        must state in ``out_counts``; CollectiveError on every rank otherwise.
        """

    # Messages concern two ranks, and are not compared with what others do.

    def send(self, array: np.ndarray, dest: int, tag: int = 0, name: str = "") -> None:
        """Send ``array`` to rank ``dest``, which must call :meth:`receive`."""

    def receive(self, array: np.ndarray, source: int, tag: int = 0, name: str = "") -> None:
        """Overwrite ``array`` with what rank ``source`` sends, of the same shape and dtype."""

    def sendrecv(
        self,
        array: np.ndarray,
        dest: int | None,
        out: np.ndarray,
        source: int | None,
        tag: int = 0,
        name: str = "",
    ) -> None:
        """Send ``array`` to ``dest`` while receiving ``out`` from ``source``; None is nobody."""

    def broadcast_json(self, value: Any, root: int = 0, name: str = "") -> Any:
        """Return the root's ``value`` on every rank, as JSON gives it back (tuples are lists)."""

    def gather_json(self, value: Any, name: str = "") -> list[Any]:
        """Return every rank's JSON-able ``value``, in rank order, on every rank."""

    def allocate(self, nbytes: int) -> np.ndarray:
        """Return ``nbytes`` zeroed bytes (uint8) on a 64-byte boundary, good for reductions."""

    def abort(self, code: int = 1) -> NoReturn:
        """End the whole job now with exit code ``code``."""

    def agree(self, error: BaseException | None, name: str = "") -> None:
        """Raise on every rank when any rank passes an error.

        The rank that failed raises its own error again; the others raise one of the same
        :class:`~hpcad.errors.HpcadError` class that names the rank and its host. Use it after
        work that may fail on one rank only, before the next collective.
        """
