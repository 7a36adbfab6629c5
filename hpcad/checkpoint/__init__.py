"""Checkpoints: one verified HDF5 file per step, written beside and renamed."""

from __future__ import annotations

from hpcad.checkpoint.format import DamagedCheckpointError
from hpcad.checkpoint.match import require_match
from hpcad.checkpoint.reader import Checkpoint, read_checkpoint
from hpcad.checkpoint.store import CheckpointStore, find_checkpoints

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "DamagedCheckpointError",
    "find_checkpoints",
    "read_checkpoint",
    "require_match",
]
