"""What stands in for the module ``cudnn`` on the strict device.

It takes graphs as nvidia-cudnn-frontend does, of attention and of convolutions, and computes with
NumPy what their tensors, strides, options and numbers say, through
:func:`hpcad.backend.strict.enqueue`. So a wrong stride, scale, mask or address gives wrong numbers
or an error. Where the library is silent about what it refuses, it is strict. It says nothing about
which plans a GPU has, or how fast they are.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from hpcad.backend.cudnn.stand_in_graph import Graph


class DataType(enum.Enum):
    """Types of elements, with the names of NumPy."""

    FLOAT = "float32"
    HALF = "float16"
    BFLOAT16 = "bfloat16"


class HeurMode(enum.Enum):
    """How plans are looked for."""

    A = 0
    FALLBACK = 1


class NumericalNote(enum.Enum):
    """What engines are marked with."""

    TENSOR_CORE = "TENSOR_CORE"
    DOWN_CONVERT_INPUTS = "DOWN_CONVERT_INPUTS"
    NONDETERMINISTIC = "NONDETERMINISTIC"


class NotSupported(Exception):  # noqa: N818 - stands in for cudnnGraphNotSupportedError
    """There is no plan for a graph."""


@dataclass(eq=False)
class Handle:
    """A handle; work is enqueued on its stream."""

    stream: int = 0


class StandIn:
    """What is imported as ``cudnn`` on the strict device.

    Parameters
    ----------
    xp : module
        With ``enqueue`` and ``host_view``.

    Attributes
    ----------
    graphs : list of Graph
        All that were made.
    """

    __version__ = "the stand-in of hpcad"
    data_type = DataType
    heur_mode = HeurMode
    numerical_note = NumericalNote
    cudnnGraphNotSupportedError = NotSupported  # noqa: N815 - the name that the module has

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.graphs: list[Graph] = []

    def backend_version(self) -> int:
        """As ``CUDNN_VERSION``."""
        return 91900

    def create_handle(self) -> Handle:
        """A handle on the null stream."""
        self.xp.cuda.get_current_stream().refuse_capture("cudnn.create_handle()")
        return Handle()

    def set_stream(self, handle: Handle, stream: int) -> None:
        """Bind a handle to a stream, which asks the driver: nothing for a capture."""
        if not isinstance(handle, Handle) or not isinstance(stream, int):
            raise TypeError("cudnn.set_stream takes a handle and the address of a stream")
        self.xp.cuda.get_current_stream().refuse_capture("cudnn.set_stream()")
        handle.stream = stream

    def pygraph(
        self,
        *,
        io_data_type: DataType,
        intermediate_data_type: DataType,
        compute_data_type: DataType,
        handle: Handle,
    ) -> Graph:
        """A graph without operations."""
        if {intermediate_data_type, compute_data_type} != {DataType.FLOAT}:
            raise ValueError("cuDNN is told to compute in float32, and to keep what is between so")
        if not isinstance(handle, Handle):
            raise TypeError("cudnn.pygraph takes a handle")
        self.graphs.append(Graph(self, io_data_type))
        return self.graphs[-1]
