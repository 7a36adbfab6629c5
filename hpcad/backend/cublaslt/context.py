"""What all products on one device share: the library, its handle, workspaces, plans."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

from hpcad.backend.cublaslt.binding import Library, call
from hpcad.backend.cublaslt.search import require_cublaslt

if TYPE_CHECKING:
    from hpcad.backend.cublaslt.plan import Plan

HOPPER = 90  # compute capability
WORKSPACE = {True: 32 << 20, False: 4 << 20}  # bytes, from Hopper on and before, as NVIDIA advises


class Context:
    """One device; see :func:`context_of`.

    Attributes
    ----------
    xp : module
        ``cupy``, or the strict device.
    library : Library
    handle : int
    device : str
        Name of the device, which choices of algorithms are kept for.
    workspace_bytes : int
        Of each stream.
    plans : dict
        Problem -> plan, or ``None`` where the library has no algorithm.
    choices : dict
        Key of a problem -> algorithm that was found to be the fastest.
    """

    def __init__(self, xp: Any, number: int) -> None:
        self.xp = xp
        self.library = library_of(xp)
        made = ctypes.c_void_p()
        call(self.library, "cublasLtCreate", ctypes.byref(made))
        self.handle = made.value
        newer = int(xp.cuda.Device(number).compute_capability) >= HOPPER
        self.workspace_bytes = WORKSPACE[newer]
        self.device = _name(xp, number)
        self.plans: dict[Any, Plan | None] = {}
        self.choices: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self._workspaces: dict[int, tuple[Any, Any]] = {}  # a stream that lives is not another's

    def workspace(self, stream: Any) -> int:
        """Address of the workspace of a stream, allocated when it is first used there.

        While a stream is being captured nothing can be allocated: products are bound, or
        this is called, on that stream before.
        """
        found = self._workspaces.get(stream.ptr)
        if found is None:
            with self.lock, stream:
                memory = self.xp.empty(self.workspace_bytes, "uint8")
                found = self._workspaces.setdefault(stream.ptr, (memory, stream))
        return found[0].data.ptr


def library_of(xp: Any) -> Library:
    """cuBLASLt, or what stands in for it on the strict device."""
    if hasattr(xp, "host_view"):
        from hpcad.backend.cublaslt.stand_in import StandIn

        return StandIn(xp)
    return require_cublaslt(newest=xp.cuda.runtime.driverGetVersion() // 1000)


def context_of(xp: Any) -> Context:
    """The context of the current device.

    Raises
    ------
    DeviceError
        There is no cuBLASLt, or no GPU.
    """
    number = xp.cuda.Device().id
    found = _contexts.get((xp, number))
    if found is None:
        with _lock:
            found = _contexts.get((xp, number))
            if found is None:
                found = _contexts[xp, number] = Context(xp, number)
    return found


_contexts: dict[tuple[Any, int], Context] = {}
_lock = threading.Lock()


def _name(xp: Any, number: int) -> str:
    name = xp.cuda.runtime.getDeviceProperties(number)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)
