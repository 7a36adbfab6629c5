"""Checkpoints: a directory per step, written by all ranks, published by one rename."""

from __future__ import annotations

from hpcad.checkpoint.find import find_checkpoints
from hpcad.checkpoint.format import DamagedCheckpointError
from hpcad.checkpoint.reading.reader import Checkpoint, read_checkpoint
from hpcad.checkpoint.restoring.match import require_match
from hpcad.checkpoint.restoring.partial import restore_partial
from hpcad.checkpoint.safetensors import read_safetensors, write_safetensors
from hpcad.checkpoint.saving.commit import Saved
from hpcad.checkpoint.slices import Slice
from hpcad.checkpoint.store import CheckpointStore

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "DamagedCheckpointError",
    "Saved",
    "Slice",
    "find_checkpoints",
    "read_checkpoint",
    "read_safetensors",
    "require_match",
    "restore_partial",
    "write_safetensors",
]
