"""Undoing HDF5's filters gives what HDF5 gives, and damaged chunks are told from good ones."""

from __future__ import annotations

import io
import zlib
from typing import Any

import h5py
import numpy as np
import pytest

from hpcad.data.shards import filters as module
from hpcad.data.shards.filters import (
    FilterError,
    decode,
    fletcher32,
    fletcher32_reference,
    unshuffle,
)

FORMS = [fletcher32, fletcher32_reference]


def stored_chunk(array: np.ndarray, **options: Any) -> tuple[int, bytes]:
    """Mask and bytes of a chunk as libhdf5 writes it."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_dataset("x", data=array, chunks=array.shape, **options)
    with h5py.File(memory, "r") as file:
        return file["x"].id.read_direct_chunk((0,) * array.ndim)


def cases() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = [*range(1, 20), 703, 704, 705, 706, 65535, 65536, 100_001]
    random = [rng.integers(0, 256, n).astype(np.uint8) for n in lengths]
    constant = [np.full(n, value, np.uint8) for n in (1, 2, 3, 705, 65536) for value in (0, 1, 255)]
    return random + constant


@pytest.mark.parametrize("form", FORMS)
def test_fletcher32_is_that_of_hdf5(form: Any) -> None:
    for data in cases():
        _, chunk = stored_chunk(data, fletcher32=True)
        assert form(data) == int.from_bytes(chunk[-4:], "little"), data.size


@pytest.mark.parametrize("form", FORMS)
def test_fletcher32_of_sums_that_are_multiples_of_65535(form: Any) -> None:
    for words in ([0xFFFF], [0xFFFF, 0], [0, 0xFFFF], [1, 0xFFFE], [0x8000, 0x7FFF]):
        data = np.array(words, ">u2").view(np.uint8)
        _, chunk = stored_chunk(data, fletcher32=True)
        assert form(data) == int.from_bytes(chunk[-4:], "little"), words


def test_every_single_bit_flip_changes_fletcher32() -> None:
    data = np.random.default_rng(0).integers(0, 256, 400).astype(np.uint8)
    good = fletcher32(data)
    for place in range(data.size):
        for bit in range(8):
            data[place] ^= 1 << bit
            assert fletcher32(data) != good
            data[place] ^= 1 << bit


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
@pytest.mark.parametrize("compiled", [True, False])
def test_unshuffle_undoes_the_shuffle_of_hdf5(
    monkeypatch: pytest.MonkeyPatch, itemsize: int, compiled: bool
) -> None:
    if not compiled:
        monkeypatch.setattr(module, "_routine", lambda name: None)
    rng = np.random.default_rng(0)
    for n in (1, 7, 5000, 10_001):
        array = rng.integers(0, 256, n * itemsize).astype(np.uint8).view(f"u{itemsize}")
        _, chunk = stored_chunk(array, shuffle=True)
        shuffled = np.frombuffer(chunk, np.uint8)
        np.testing.assert_array_equal(unshuffle(shuffled, itemsize).view(array.dtype), array)


@pytest.mark.parametrize("compress", [1, 9])
def test_whole_chunks_of_hdf5_are_decoded(compress: int) -> None:
    array = np.random.default_rng(0).integers(0, 50, (300, 7)).astype(np.float32)
    options = {"shuffle": True, "compression": compress, "fletcher32": True}
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_dataset("x", data=array, chunks=array.shape, **options)
    with h5py.File(memory, "r") as file:
        plan = file["x"].id.get_create_plist()
        codes = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
        mask, chunk = file["x"].id.read_direct_chunk((0, 0))
    names = {1: f"deflate:{compress}", 2: "shuffle", 3: "fletcher32"}
    found = decode(chunk, [names[code] for code in codes], mask, array.nbytes, 4)
    np.testing.assert_array_equal(found.view(np.float32).reshape(array.shape), array)


def test_filters_that_were_left_out_are_not_undone() -> None:
    data = np.arange(100, dtype=np.uint8)
    chunk = data.tobytes() + fletcher32(data).to_bytes(4, "little")
    assert decode(chunk, ["deflate:1", "fletcher32"], 1, 100, 1).tolist() == data.tolist()


def sealed(data: bytes) -> bytes:
    return data + fletcher32(np.frombuffer(data, np.uint8)).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (b"abc", "hold no fletcher32"),
        (b"abcdefgh", "its fletcher32 is"),
        (sealed(b"not deflate"), "cannot be inflated"),
        (sealed(zlib.compress(bytes(101))), "more than its 100 bytes"),
        (sealed(zlib.compress(bytes(50_000_000))), "more than its 100 bytes"),
        (sealed(zlib.compress(bytes(99))), "it has 99 bytes, expected 100"),
        (sealed(zlib.compress(bytes(100))[:-5]), "ends too early"),
        (sealed(zlib.compress(bytes(100)) + b"more"), "too late"),
        (sealed(zlib.compress(bytes(100))[:-1] + b"\xff"), "cannot be inflated"),
    ],
)
def test_damaged_chunks_are_refused(chunk: bytes, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        decode(chunk, ["deflate:1", "fletcher32"], 0, 100, 1)
