"""What the stand-in for cuDNN knows of an operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpcad.backend.cudnn.stand_in_graph import Graph

Given = dict[str, np.ndarray]  # port -> numbers in float32
Compute = Callable[["Graph", Given], dict[str, Any]]


@dataclass(frozen=True)
class Engine:
    """One way to compute an operation.

    Attributes
    ----------
    notes : frozenset of str
        Its numerical notes, by name.
    compute : callable
        ``compute(graph, given)``: port -> answer in float32.
    """

    notes: frozenset[str]
    compute: Compute


@dataclass(frozen=True)
class Operation:
    """An operation, as the tensors and options of a graph say.

    Attributes
    ----------
    name : str
    written : tuple of str
        Ports of what it finds.
    refusal : callable
        ``refusal(graph)``: why there is no plan; empty where there is one.
    workspace : callable
        ``workspace(graph)``: bytes.
    engines : tuple of Engine
        In the order in which they are tried.
    mismatch : callable
        ``mismatch(graph)``: what does not fit in shapes; empty where all fit.
    """

    name: str
    written: tuple[str, ...]
    refusal: Callable[[Graph], str]
    workspace: Callable[[Graph], int]
    engines: tuple[Engine, ...]
    mismatch: Callable[[Graph], str] = lambda _: ""
