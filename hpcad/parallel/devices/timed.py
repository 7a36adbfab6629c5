"""Reductions of device arrays as a measurement wants them: over when they return.

Not yet proven on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.parallel.devices.communicator import DeviceCommunicator


class Timed:
    """Reductions of device arrays that return when the device has the result, so one can time them.

    Parameters
    ----------
    communicator : DeviceCommunicator
    host : Communicator
    cupy : module
    """

    def __init__(self, communicator: DeviceCommunicator, host: Any, cupy: Any) -> None:
        self._communicator, self._host, self._cupy = communicator, host, cupy

    def allocate(self, nbytes: int) -> Any:
        """Return zeroed bytes of the device."""
        return self._cupy.zeros(nbytes, np.uint8)

    def allreduce(self, array: Any, op: str = "sum", name: str = "") -> None:
        """Reduce, and wait; arrays of the host (the times) go as they always do."""
        if isinstance(array, np.ndarray):
            self._host.allreduce(array, op, name)
            return
        self._communicator.allreduce(array, op, name)
        self._cupy.cuda.get_current_stream().synchronize()
