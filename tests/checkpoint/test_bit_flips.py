"""A flipped bit in any file of a checkpoint is found or harmless, and never silently wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
from checkpoint_layouts import write_directory

from hpcad.checkpoint import CheckpointStore, DamagedCheckpointError, read_checkpoint

FLIPS = 1000


def by_the_store(folder, arrays, state):
    return CheckpointStore(folder).save(7, arrays, state)


def by_three_ranks(folder, arrays, state):
    return write_directory(folder, 7, arrays, state, ranks=3)


@pytest.mark.parametrize("save", [by_the_store, by_three_ranks])
def test_flipped_bits_are_found_or_harmless(tmp_path, same, save):
    """1,000 seeded single flips over all files: the same content, or an error that says damaged."""
    rng = np.random.default_rng(2)
    arrays = {
        "parameters/w": rng.standard_normal((24, 32)).astype(np.float32),
        "parameters/b": rng.standard_normal(32).astype(np.float16),
        "optimizer/m/w": rng.standard_normal((24, 32)),
        "flags": np.array([True, False, True]),
        "count": np.array(7),
    }
    state = {"cursor": 448, "loss": 0.25, "job": {"name": "digits"}}
    path = save(tmp_path, arrays, state)
    files = sorted(path.iterdir())
    whole = {file: file.read_bytes() for file in files}
    choose = random.Random(19)
    sizes = [len(whole[file]) for file in files]
    found = dict.fromkeys(files, 0)
    tried = dict.fromkeys(files, 0)
    for _ in range(FLIPS):
        file = choose.choices(files, sizes)[0]
        data = bytearray(whole[file])
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        file.write_bytes(data)
        tried[file] += 1
        try:
            checkpoint = read_checkpoint(path)
        except DamagedCheckpointError:
            found[file] += 1
        else:
            same(checkpoint.arrays, arrays)
            assert (checkpoint.state, checkpoint.step) == (state, 7)
        file.write_bytes(whole[file])
    manifest = path / "manifest.json"
    assert tried[manifest] > 20
    assert found[manifest] == tried[manifest]  # each of its bits counts
    covered = sum(array.nbytes for array in arrays.values()) / sum(sizes[:-1])
    assert sum(found.values()) > 0.8 * covered * FLIPS  # the rest lies between the arrays


def test_every_bit_of_a_slice_and_of_the_manifest_counts(tmp_path):
    arrays = {"w": np.arange(6.0)}
    path = write_directory(tmp_path, 7, arrays, ranks=1)
    part = next(path.glob("*.h5"))
    begin = part.read_bytes().index(arrays["w"].tobytes())
    for file, places in ((part, range(begin, begin + 48)), (path / "manifest.json", None)):
        whole = file.read_bytes()
        for offset in places or range(len(whole)):
            data = bytearray(whole)
            data[offset] ^= 1 << offset % 8
            file.write_bytes(data)
            try:
                read_checkpoint(path)
            except DamagedCheckpointError:
                continue
            raise AssertionError(f"byte {offset} of {file.name} was changed unnoticed")
        file.write_bytes(whole)
