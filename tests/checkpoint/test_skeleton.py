"""The structure alone: it must be a plain HDF5 file once the bytes are put in."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from hpcad.checkpoint.saving.skeleton import SparseImage, build_skeleton


def test_image_reads_back_what_was_written_and_zeros_elsewhere():
    rng = np.random.default_rng(1)
    image, mirror = SparseImage(), bytearray(60_000)
    for _ in range(200):
        offset, count = int(rng.integers(50_000)), int(rng.integers(1, 9_000))
        data = rng.bytes(count)
        image.seek(offset)
        assert image.write(data) == count
        mirror[offset : offset + count] = data
    image.seek(0)
    buffer = bytearray(image.size)
    assert image.readinto(buffer) == image.size
    assert buffer == mirror[: image.size]


def test_image_holds_only_what_was_written():
    image = SparseImage()
    image.seek(1 << 40)
    image.write(b"x")
    assert [(offset, data) for offset, data in image.extents()] == [(1 << 40, b"x")]
    assert image.seek(0, io.SEEK_END) == (1 << 40) + 1


def test_filled_skeleton_is_plain_hdf5(tmp_path):
    rng = np.random.default_rng(2)
    arrays = {f"a/g{i % 40}/w{i}": rng.standard_normal((i % 7, 100)) for i in range(600)}
    arrays["scalar"] = np.array(2.5)
    skeleton = build_skeleton(
        {name: (a.dtype.str, a.shape) for name, a in arrays.items()},
        {"/": {"format": "x", "version": 3}, "scalar": {"unit": "m"}},
    )
    path = tmp_path / "plain.h5"
    with open(path, "wb") as file:
        file.truncate(skeleton.image.size)
        for offset, data in skeleton.image.extents():
            file.seek(offset)
            file.write(data)
        for name, offset in skeleton.offsets.items():
            file.seek(offset)
            file.write(arrays[name].tobytes())
    with h5py.File(path) as file:
        assert file.attrs["format"] == b"x"
        assert file.attrs["version"] == 3
        assert file["scalar"].attrs["unit"] == b"m"
        for name, array in arrays.items():
            assert np.array_equal(file[name][()], array), name


def test_empty_datasets_have_no_place():
    skeleton = build_skeleton({"w": ("<f4", (0, 3))}, {})
    assert skeleton.offsets == {}


def test_large_arrays_are_page_aligned():
    skeleton = build_skeleton({"a": ("<f4", (5000,)), "b": ("<f4", (5000,))}, {})
    assert all(offset % 4096 == 0 for offset in skeleton.offsets.values())


def test_the_image_does_not_grow_with_the_arrays():
    skeleton = build_skeleton({"w": ("<f8", (1 << 20, 1 << 20))}, {})
    assert skeleton.image.size > 1 << 43
    assert sum(len(data) for _, data in skeleton.image.extents()) < 1 << 16


def test_extents_do_not_pass_the_end():
    image = SparseImage()
    image.write(b"abc")
    assert list(image.extents()) == [(0, b"abc")]
    with pytest.raises(KeyError):
        image.seek(0, 9)
