"""Checkpoint files of version 1, as hpcad wrote them before it wrote directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.checkpoint.format import STORED_DTYPES, checksum
from hpcad.checkpoint.format_v1 import ArraySpec, Manifest, file_name


def write_file(
    folder: Path, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]
) -> Path:
    """Write ``folder/step-....h5`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(step)
    text = json.dumps(state).encode()
    manifest = Manifest(
        step=step,
        arrays=tuple(
            ArraySpec(name, a.dtype.str, a.shape, checksum(a.tobytes()))
            for name, a in arrays.items()
        ),
        state_bytes=len(text),
        state_checksum=checksum(text),
        written="2025-01-01T00:00:00+00:00",
        host="node1",
        hpcad="0.1.0",
    ).encode()
    with h5py.File(path, "w", libver="latest", alignment_threshold=1, alignment_interval=64) as out:
        out.attrs["format"] = np.bytes_("hpcad-checkpoint")
        out.attrs["version"] = np.int64(1)
        out["manifest"] = np.frombuffer(manifest, np.uint8)
        out["manifest"].attrs["xxh3_128"] = np.bytes_(checksum(manifest))
        out["state"] = np.frombuffer(text, np.uint8)
        for name, array in arrays.items():
            out[f"arrays/{name}"] = array.view(STORED_DTYPES[array.dtype.str])
    return path
