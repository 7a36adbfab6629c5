"""What all calls of cuDNN on one device share: the module, plans, and a handle per stream."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from hpcad.backend.cudnn.search import VARIABLE, find_cudnn
from hpcad.errors import DeviceError


@dataclass
class Lane:
    """A stream, the handle that is bound to it, and memory to work in.

    Attributes
    ----------
    stream : stream
        Held, so that its pointer is not another's later.
    handle : object
    memory : device array or None
        The largest workspace so far. Who was given a smaller one before holds it.
    """

    stream: Any
    handle: Any
    memory: Any = None


class Context:
    """One device; see :func:`context_of`.

    Attributes
    ----------
    xp : module
        ``cupy``, or the strict device.
    cudnn : module
        Or what stands in for it.
    handle : object
        With which plans are made; nothing runs on it.
    plans : dict
        Problem -> plan, or None where cuDNN has none.
    """

    def __init__(self, xp: Any, cudnn: Any) -> None:
        self.xp, self.cudnn = xp, cudnn
        self.plans: dict[Any, Any] = {}
        self.lock = threading.RLock()
        self._lanes: dict[int, Lane] = {}
        self.handle = self._new_handle()

    def lane(self, stream: Any, nbytes: int) -> tuple[Any, Any]:
        """The handle of a stream, and a workspace of at least so many bytes.

        Made when they are first asked for, which must not be while the stream is captured.

        Returns
        -------
        handle : object
        memory : device array of uint8
        """
        with self.lock, stream:
            lane = self._lanes.get(stream.ptr)
            enough = lane is not None and lane.memory is not None and lane.memory.size >= nbytes
            if not enough and stream.is_capturing():
                raise DeviceError(
                    "cuDNN was called for the first time on a stream that is being "
                    "captured; call it once before"
                )
            if lane is None:
                lane = self._lanes[stream.ptr] = Lane(stream, self._new_handle())
                self.cudnn.set_stream(handle=lane.handle, stream=stream.ptr)
            if not enough:
                lane.memory = self.xp.empty(max(256, nbytes), "uint8")
            return lane.handle, lane.memory

    def _new_handle(self) -> Any:
        try:
            return self.cudnn.create_handle()
        except RuntimeError as error:
            raise DeviceError(
                f"cuDNN cannot be used here ({error}); see `nvidia-smi` and --gpus of the job, "
                f"or unset {VARIABLE}"
            ) from error


def context_of(xp: Any) -> Context | None:
    """The context of the current device; None where cuDNN is not asked for.

    Raises
    ------
    DeviceError
        It is asked for, and is not there.
    """
    cudnn = find_cudnn(xp)
    if cudnn is None:
        return None
    key = xp, xp.cuda.Device().id
    with _lock:
        found = _contexts.get(key)
        if found is None:
            found = _contexts[key] = Context(xp, cudnn)
    return found


_contexts: dict[tuple[Any, int], Context] = {}
_lock = threading.Lock()
