"""The safetensors format, held to its specification by files made of bytes."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from hpcad.checkpoint import safetensors
from hpcad.checkpoint.disk import Disk
from hpcad.checkpoint.format import MAX_MANIFEST
from hpcad.checkpoint.safetensors import read_safetensors, write_safetensors
from hpcad.errors import CheckpointError

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.safetensors"


def put(file, header, data=b"", length=None):
    """Write a file from its parts; a header that is no text is made JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    file.write_bytes(size.to_bytes(8, "little") + text + data)


def shapes_of(arrays):
    return {name: (array.dtype.str, array.shape) for name, array in arrays.items()}


def test_a_file_of_the_specification(file):
    data = np.array([1.5, -2.0], "<f4").tobytes() + b"\1\0\1"
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
        "mask": {"dtype": "BOOL", "shape": [3], "data_offsets": [8, 11]},
        "none": {"dtype": "I64", "shape": [0, 4], "data_offsets": [11, 11]},
    }
    put(file, json.dumps(header).encode() + b"   ", data)
    arrays, metadata = read_safetensors(file)
    assert metadata == {"format": "pt"}
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "w": [[1.5, -2.0]],
        "mask": [True, False, True],
        "none": [],
    }
    assert arrays["none"].shape == (0, 4)


def test_what_is_written_is_the_specification(file):
    arrays = {"b": np.array([1, 2], np.int16), "a": np.array(0.5), "c": np.array([True])}
    size = write_safetensors(file, shapes_of(arrays), arrays.__getitem__, {"step": "7"})
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert size == len(content)
    assert (8 + length) % 8 == 0
    assert json.loads(content[8 : 8 + length]) == {
        "__metadata__": {"step": "7"},
        "a": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]},
        "b": {"dtype": "I16", "shape": [2], "data_offsets": [8, 12]},
        "c": {"dtype": "BOOL", "shape": [1], "data_offsets": [12, 13]},
    }
    assert content[8 + length :] == np.array(0.5).tobytes() + b"\1\0\2\0\1"


def test_every_dtype_there_and_back(file, same):
    arrays = {
        code: np.arange(6).reshape(2, 3).astype(dtype) for code, dtype in safetensors.DTYPES.items()
    }
    write_safetensors(file, shapes_of(arrays), arrays.__getitem__)
    found, metadata = read_safetensors(file)
    same({name: found[name] for name in arrays}, arrays)
    assert metadata == {}


def test_bfloat16_becomes_float32_exactly_or_stays_as_bits(file):
    """0x3fc0 is 1.5, 0xff80 -inf, 0x0001 the smallest subnormal number: 2**-133."""
    bits = np.array([0x3FC0, 0xFF80, 0x0001, 0x7FC0], "<u2")
    put(file, {"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, bits.tobytes())
    values = read_safetensors(file)[0]["x"]
    assert values.dtype == np.float32
    assert np.array_equal(values, [1.5, -np.inf, 2.0**-133, np.nan], equal_nan=True)
    assert np.array_equal(read_safetensors(file, bfloat16_bits=True)[0]["x"], bits)


def test_a_link_is_followed(file):
    """The caches of downloads consist of links."""
    put(file, {"w": F32}, bytes(8))
    file.with_name("link").symlink_to(file)
    assert read_safetensors(file.with_name("link"))[0]["w"].tolist() == [0.0, 0.0]


def bad(**entry):
    return {"w": F32 | entry}


HEADERS = {
    "hole before": (bad(data_offsets=[4, 12]), 12, "leaves a hole"),
    "hole between": ({"a": F32, "b": F32 | {"data_offsets": [12, 20]}}, 20, "leaves a hole"),
    "overlap": ({"a": F32, "b": F32 | {"data_offsets": [4, 12]}}, 12, "overlaps"),
    "same bytes": ({"a": F32, "b": F32}, 8, "overlaps"),
    "data left over": ({"w": F32}, 9, "have 8 bytes and its data 9"),
    "data missing": ({"w": F32}, 7, "have 8 bytes and its data 7"),
    "shape and offsets": (bad(shape=[3]), 8, "does not fit its offsets"),
    "terabytes": (bad(shape=[1 << 40], data_offsets=[0, 1 << 42]), 8, "have 4398046511104 bytes"),
    "overflow": (bad(shape=[1 << 62, 4]), 8, "does not fit its offsets"),
    "backwards": (bad(data_offsets=[8, 0]), 8, "does not fit its offsets"),
    "negative": (bad(shape=[-2]), 8, "is not a count"),
    "three offsets": (bad(data_offsets=[0, 8, 8]), 8, "too many values"),
    "float offsets": (bad(data_offsets=[0.0, 8.0]), 8, "is not a count"),
    "100 axes": (bad(shape=[1] * 99 + [2]), 8, "does not fit"),
    "8-bit floats": (bad(dtype="F8_E4M3", shape=[8]), 8, "'F8_E4M3', which is not known here"),
    "objects": (bad(dtype="O"), 8, "not known here"),
    "number for a dtype": (bad(dtype=3), 8, "is not text"),
    "one key more": (bad(x=1), 8, "has not dtype, shape and data_offsets alone"),
    "one key less": ({"w": {"dtype": "F32", "shape": [2]}}, 8, "data_offsets alone"),
    "no object": ({"w": None}, 8, "data_offsets alone"),
    "a list": ([1], 0, "is no JSON object"),
    "metadata of numbers": ({"__metadata__": {"x": 1}}, 0, "is not text"),
    "metadata list": ({"__metadata__": [1]}, 0, "metadata are no JSON object"),
    "NaN": (b'{"w": NaN}', 0, "NaN is no JSON"),
    "Infinity": (b'{"w": {"dtype": "F32", "shape": [Infinity]}}', 0, "Infinity is no JSON"),
    "key twice": (b'{"w": 1, "w": 2}', 0, "a key occurs twice"),
    "deep": (b'{"x": ' * 100_000, 0, "recursion"),
    "cut": (b'{"w": {', 0, "Expecting"),
    "no text": (b"{\xff\xfe", 0, "codec"),
    "space in front": (b' {"w": 1}', 0, "is no JSON object"),
    "empty": (b"", 0, "is no JSON object"),
    "wide": (b'{"w": [' + b"[]," * (1 << 20) + b"1]}", 0, "lists and objects"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_another_header_is_refused(file, case):
    header, size, reason = HEADERS[case]
    put(file, header, bytes(size))
    with pytest.raises(CheckpointError) as caught:
        read_safetensors(file)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{file} is no usable safetensors file: ")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("length", [1 << 20, MAX_MANIFEST + 1, 1 << 62, (1 << 64) - 1])
def test_a_header_longer_than_the_file_is_refused(file, length):
    put(file, {"w": F32}, bytes(8), length)
    with pytest.raises(CheckpointError, match=r"its header of \d+ bytes is too long"):
        read_safetensors(file)


def test_a_giant_header_is_refused_unread(file):
    put(file, b"{", b"", MAX_MANIFEST + 1)
    os.truncate(file, MAX_MANIFEST + 100)
    with pytest.raises(CheckpointError, match="is too long"):
        read_safetensors(file)


def test_a_boolean_of_another_byte_is_refused(file):
    put(file, {"w": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\1\2")
    with pytest.raises(CheckpointError, match="holds what is no boolean"):
        read_safetensors(file)


def test_short_files_pipes_and_absent_ones(tmp_path, file):
    for content in (b"", b"\1", b"\0" * 7):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="no usable safetensors"):
            read_safetensors(file)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_safetensors(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="No such file"):
        read_safetensors(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "dtype"), [("w", "|O"), ("w", ">f4"), ("w", "<c8"), ("__metadata__", "<f4")]
)
def test_what_the_format_cannot_hold_is_refused(file, name, dtype):
    with pytest.raises(CheckpointError, match="cannot hold an array"):
        write_safetensors(file, {name: (dtype, (1,))}, lambda name: np.zeros(1))
    assert not file.exists()


def test_a_full_disk_leaves_the_old_file(file):
    class Full(Disk):
        def pwrite(self, descriptor, data, offset):
            raise OSError(28, "No space left on device")

    file.write_bytes(b"old")
    with pytest.raises(CheckpointError, match=r"cannot write .*: No space left on device"):
        write_safetensors(file, {"w": ("<f4", (1,))}, lambda name: np.zeros(1, "f4"), disk=Full())
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == b"old"
