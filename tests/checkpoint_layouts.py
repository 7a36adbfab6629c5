"""Checkpoints as any number of ranks would write them, and those of version 1, by one process.

The parts come from the specification of the format and from h5py alone, not from the writer, so
that reading is tested against the format.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcad.checkpoint.format import STORED_DTYPES, checksum, directory_name, part_name
from hpcad.checkpoint.manifest import ArraySpec, Manifest, PartSpec, SliceSpec
from hpcad.checkpoint.reading.format_v1 import ArraySpec as ArraySpecV1
from hpcad.checkpoint.reading.format_v1 import Manifest as ManifestV1
from hpcad.checkpoint.reading.format_v1 import file_name

NONCE = "0123456789abcdef"


def write_directory(
    folder: Path,
    step: int,
    arrays: dict[str, np.ndarray],
    state: dict[str, Any] | None = None,
    *,
    ranks: int = 1,
    nonce: str = NONCE,
    alignment: int = 1,
) -> Path:
    """Write ``folder/step-...`` with one part per rank that has a share, and return its path.

    Each array is divided by itself, at multiples of `alignment` elements, so that many slices and
    empty shares occur.
    """
    path = folder / directory_name(step)
    path.mkdir(parents=True, exist_ok=True)
    pieces: dict[str, list[SliceSpec]] = {name: [] for name in arrays}
    parts = []
    for rank in range(ranks):
        file = path / part_name(nonce, rank)
        placed = _write_part(file, _share(arrays, rank, ranks, alignment))
        for name, (offset, start, flat) in placed.items():
            pieces[name].append(
                SliceSpec(file.name, offset, start, flat.size, checksum(flat.tobytes()))
            )
        if placed:
            parts.append(PartSpec(file.name, file.stat().st_size))
        else:
            file.unlink()
    specs = [ArraySpec(n, a.dtype.str, a.shape, tuple(pieces[n])) for n, a in arrays.items()]
    manifest = Manifest(
        step=step,
        nonce=nonce,
        world_size=ranks,
        written="2026-01-01T00:00:00+00:00",
        hosts=("node1",),
        hpcad="0.1.0",
        state={"step": step} if state is None else state,
        arrays=tuple(specs),
        parts=tuple(parts),
    )
    (path / "manifest.json").write_bytes(manifest.encode())
    return path


def sealed(record: dict[str, Any] | str) -> bytes:
    """Return a manifest with that content, whatever it is, and the checksum that fits it."""
    text = record if isinstance(record, str) else json.dumps(record)
    body = text.encode().rstrip().removesuffix(b"}").rstrip()
    digest = checksum(body + b"\n}\n")
    return body + f',\n "xxh3_128": "{digest}"\n}}\n'.encode()


def forge(path: Path, alter: Callable[[dict[str, Any]], Any]) -> None:
    """Let `alter` change the manifest of a checkpoint, and give it a checksum that fits."""
    file = path / "manifest.json"
    record = json.loads(file.read_bytes())
    del record["xxh3_128"]
    alter(record)
    file.write_bytes(sealed(record))


def _share(
    arrays: dict[str, np.ndarray], rank: int, ranks: int, alignment: int
) -> dict[str, tuple[int, np.ndarray]]:
    found = {}
    for name, array in arrays.items():
        flat = array.reshape(-1)
        units = -(-flat.size // alignment)
        begin, end = (min(units * r // ranks * alignment, flat.size) for r in (rank, rank + 1))
        if begin < end:
            found[name] = (begin, flat[begin:end])
    return found


def _write_part(
    file: Path, share: dict[str, tuple[int, np.ndarray]]
) -> dict[str, tuple[int, int, np.ndarray]]:
    placed = {}
    with h5py.File(file, "w", libver="latest", alignment_threshold=1, alignment_interval=64) as out:
        for name, (start, flat) in share.items():
            dataset = out.create_dataset(name, data=flat.view(STORED_DTYPES[flat.dtype.str]))
            placed[name] = (dataset.id.get_offset(), start, flat)
    return placed


def write_file_v1(
    folder: Path, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]
) -> Path:
    """Write ``folder/step-....h5`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(step)
    text = json.dumps(state).encode()
    manifest = ManifestV1(
        step=step,
        arrays=tuple(
            ArraySpecV1(name, a.dtype.str, a.shape, checksum(a.tobytes()))
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
