"""What passes for ``cupy.cuda``."""

from hpcad.backend.strict import nccl, runtime
from hpcad.backend.strict.device import Device
from hpcad.backend.strict.events import Event
from hpcad.backend.strict.events import elapsed_time as get_elapsed_time
from hpcad.backend.strict.graph import Graph
from hpcad.backend.strict.known import current_stream as get_current_stream
from hpcad.backend.strict.memory import Memory, MemoryPointer, UnownedMemory
from hpcad.backend.strict.pinned import PinnedMemory as PinnedMemoryPointer
from hpcad.backend.strict.pinned import alloc_pinned_memory
from hpcad.backend.strict.pools import MemoryPool, get_allocator, set_allocator, using_allocator
from hpcad.backend.strict.pools import allocate as alloc
from hpcad.backend.strict.streams import Stream

__all__ = [
    "Device",
    "Event",
    "Graph",
    "Memory",
    "MemoryPointer",
    "MemoryPool",
    "PinnedMemoryPointer",
    "Stream",
    "UnownedMemory",
    "alloc",
    "alloc_pinned_memory",
    "get_allocator",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "nccl",
    "runtime",
    "set_allocator",
    "using_allocator",
]


def is_available() -> bool:
    """True: it needs no machine of its own."""
    return True
