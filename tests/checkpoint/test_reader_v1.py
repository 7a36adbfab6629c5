"""Files of version 1: damage is found, hostile HDF5 is refused before it is read or allocated."""

from __future__ import annotations

import json
import os
import random
import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from checkpoint_layouts import write_file_v1

from hpcad.checkpoint import DamagedCheckpointError, read_checkpoint
from hpcad.checkpoint.format import checksum
from hpcad.checkpoint.reading.reader import open_checkpoint
from hpcad.checkpoint.reading.strict_hdf5 import check_extents
from hpcad.errors import CheckpointError

WEIGHT = "arrays/parameters/fc1.weight"


@pytest.fixture
def saved(tmp_path, arrays, state):
    """Return the path of a file of step 7."""
    return write_file_v1(tmp_path / "checkpoints", 7, arrays, state)


def test_content(saved, arrays, state, same):
    checkpoint = read_checkpoint(saved)
    same(checkpoint.arrays, arrays)
    assert (checkpoint.step, checkpoint.state, checkpoint.path) == (7, state, saved)


def test_flipped_bits_are_found_or_harmless(saved, arrays, state, same):
    """400 single flips anywhere in the file: the same content, or an error; never other data."""
    whole = saved.read_bytes()
    choose = random.Random(11)
    found = 0
    for _ in range(400):
        data = bytearray(whole)
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        saved.write_bytes(data)
        try:
            checkpoint = read_checkpoint(saved)
        except DamagedCheckpointError:
            found += 1
        else:
            same(checkpoint.arrays, arrays)
            assert checkpoint.state == state
    assert found > 200  # the rest lies in padding


def test_every_flip_in_an_array_is_found(saved, arrays):
    whole = saved.read_bytes()
    begin = whole.index(arrays["parameters/fc1.bias"].tobytes())
    for offset in range(begin, begin + 96):
        data = bytearray(whole)
        data[offset] ^= 1
        saved.write_bytes(data)
        with pytest.raises(
            DamagedCheckpointError, match=r"checksum of array 'parameters/fc1\.bias'"
        ):
            read_checkpoint(saved)


def test_truncation_anywhere(saved):
    whole = saved.read_bytes()
    for length in [0, 1, 100, *range(200, len(whole), 211), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(DamagedCheckpointError, match="is damaged"):
            read_checkpoint(saved)


def test_zeroed_pages_are_found(saved):
    """What a disk does to a file whose blocks never arrived."""
    whole = saved.read_bytes()
    for begin in range(0, len(whole), 512):
        data = whole[:begin] + bytes(len(whole[begin : begin + 512])) + whole[begin + 512 :]
        if data == whole:
            continue
        saved.write_bytes(data)
        with pytest.raises(DamagedCheckpointError):
            read_checkpoint(saved)


def test_a_file_of_another_step_under_this_name(saved, arrays):
    saved.write_bytes(write_file_v1(saved.parent, 8, arrays, {}).read_bytes())
    with pytest.raises(DamagedCheckpointError, match="its name states step 7, it holds 8"):
        read_checkpoint(saved)


def test_a_copy_under_a_free_name_is_read(saved, arrays, same):
    copy = saved.with_name("best.h5")
    copy.write_bytes(saved.read_bytes())
    same(read_checkpoint(copy).arrays, arrays)


def test_a_newer_format_is_no_damage(saved):
    with h5py.File(saved, "r+", libver="latest") as file:
        file.attrs["version"] = np.int64(2)
    with pytest.raises(CheckpointError, match="update hpcad") as caught:
        read_checkpoint(saved)
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_other_files_are_not_checkpoints(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3)
    with pytest.raises(DamagedCheckpointError, match="not a checkpoint of hpcad"):
        read_checkpoint(path)
    path.write_text("no HDF5 at all\n" * 100)
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(path)


def test_a_pipe_or_a_directory_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedCheckpointError, match="not a regular file"):
        read_checkpoint(tmp_path / "pipe")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path)


def test_opening_does_not_need_the_arrays(saved, arrays, state):
    data = bytearray(saved.read_bytes())
    begin = data.index(arrays["parameters/fc1.weight"].tobytes())
    data[begin] ^= 1
    saved.write_bytes(data)
    with open_checkpoint(saved) as reader:
        assert [spec.name for spec in reader.arrays] == list(arrays)
        assert reader.state == state


# Hostile files: a valid checkpoint, altered through HDF5 itself, with checksums made to fit.


def forge(path: Path, alter: Callable[[h5py.File, dict], None]) -> None:
    """Let `alter` change file and manifest; write the manifest back with a fitting checksum."""
    with h5py.File(path, "r+", libver="latest") as file:
        manifest = json.loads(bytes(file["manifest"][()]))
        alter(file, manifest)
        put_manifest(file, json.dumps(manifest).encode())


def put_manifest(file: h5py.File, text: bytes) -> None:
    del file["manifest"]
    file["manifest"] = np.frombuffer(text, np.uint8)
    file["manifest"].attrs["xxh3_128"] = np.bytes_(checksum(text))


Alteration = Callable[[h5py.File, dict], None]


def replaced(make: Callable[[h5py.File], None], reason: str) -> tuple[Alteration, str]:
    """Return an alteration that puts something else in the place of the weight."""

    def alter(file: h5py.File, manifest: dict) -> None:
        del file[WEIGHT]
        make(file)

    alter.__name__ = make.__name__
    return alter, reason


def external_storage(file):
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(b"s" * 4096)
    file.create_dataset(WEIGHT, (16, 24), "<f4", external=[(str(secret), 0, 4096)])


def external_link(file):
    file[WEIGHT] = h5py.ExternalLink("/etc/hostname", "/x")


def soft_link(file):
    file[WEIGHT] = h5py.SoftLink("/arrays/parameters/fc1.bias")


def dangling_link(file):
    file[WEIGHT] = h5py.SoftLink("/nowhere")


def virtual(file):
    layout = h5py.VirtualLayout((16, 24), "<f4")
    layout[...] = h5py.VirtualSource("/etc/hostname", "x", (16, 24))
    file.create_virtual_dataset(WEIGHT, layout)


def compressed(file):
    file.create_dataset(WEIGHT, (16, 24), "<f4", compression="gzip")


def chunked(file):
    file.create_dataset(WEIGHT, (16, 24), "<f4", chunks=(4, 4))


def variable_length(file):
    file.create_dataset(WEIGHT, (16, 24), h5py.vlen_dtype(np.float32))


def references(file):
    file.create_dataset(WEIGHT, (16, 24), h5py.ref_dtype)


def big_endian(file):
    file[WEIGHT] = np.zeros((16, 24), ">f4")


def wrong_shape(file):
    file[WEIGHT] = np.zeros((24, 16), "<f4")


def null_space(file):
    file[WEIGHT] = h5py.Empty("<f4")


def group_instead(file):
    file.create_group(WEIGHT)


def type_instead(file):
    file[WEIGHT] = np.dtype("<f4")


def never_allocated(file):
    file.create_dataset(WEIGHT, (16, 24), "<f4")


def same_bytes_twice(file):
    file[WEIGHT] = file["arrays/optimizer/m/fc1.weight"]


def shared_extent(file, manifest):
    """Two names of one dataset: each plausible alone."""
    del file["arrays/parameters/fc1.bias"]
    file["arrays/parameters/fc1.bias"] = file[WEIGHT]
    by_name = {item["name"]: item for item in manifest["arrays"]}
    bias, weight = by_name["parameters/fc1.bias"], by_name["parameters/fc1.weight"]
    bias |= {key: weight[key] for key in ("shape", "dtype", "xxh3_128")}


def shape_bomb(file, manifest):
    """Four terabytes in a few bytes."""
    del file[WEIGHT]
    file.create_dataset(WEIGHT, (1 << 20, 1 << 20), "<f4")
    next(i for i in manifest["arrays"] if i["name"] == "parameters/fc1.weight")["shape"] = [
        1 << 20,
        1 << 20,
    ]


def empty_bomb(file, manifest):
    """No bytes, but a shape that no array can have."""
    del file[WEIGHT]
    shape = (1 << 62, 1 << 62, 0)
    file.create_dataset(WEIGHT, shape, "<f4")
    weight = next(i for i in manifest["arrays"] if i["name"] == "parameters/fc1.weight")
    weight |= {"shape": shape, "xxh3_128": checksum(b"")}


def unnamed_member(file, manifest):
    file["arrays/parameters/extra"] = np.zeros(3)


def unnamed_at_root(file, manifest):
    file["extra"] = h5py.ExternalLink("/etc/hostname", "/x")


def missing_member(file, manifest):
    del file[WEIGHT]


def group_is_a_soft_link(file, manifest):
    del file["arrays/parameters"]
    file["arrays/parameters"] = h5py.SoftLink("/arrays/optimizer")


def group_is_a_cycle(file, manifest):
    del file["arrays/parameters"]
    file["arrays/parameters"] = file["arrays"]


def arrays_gone(file, manifest):
    del file["arrays"]


def arrays_unnamed(file, manifest):
    manifest["arrays"] = []


def upward_name(file, manifest):
    manifest["arrays"][0]["name"] = "../manifest"


def state_of_another_size(file, manifest):
    manifest["state"]["bytes"] = 1 << 50


def state_is_a_list(file, manifest):
    del file["state"]
    text = b"[1]"
    file["state"] = np.frombuffer(text, np.uint8)
    manifest["state"] = {"bytes": len(text), "xxh3_128": checksum(text)}


def state_is_deep(file, manifest):
    del file["state"]
    text = b'{"x":' * 100_000 + b"1" + b"}" * 100_000
    file["state"] = np.frombuffer(text, np.uint8)
    manifest["state"] = {"bytes": len(text), "xxh3_128": checksum(text)}


LINK = "is a soft or external link"
PLAIN = "is external, virtual, chunked or filtered"
TYPE = "is not of type <f4"
SHAPE = "is not of shape"
MORE = "holds more than its manifest names"

# Each is refused by the check that is made for it, not by a checksum behind it.
HOSTILE = [
    replaced(external_link, LINK),
    replaced(soft_link, LINK),
    replaced(dangling_link, LINK),
    (group_is_a_soft_link, LINK),
    replaced(external_storage, PLAIN),
    replaced(virtual, PLAIN),
    replaced(compressed, PLAIN),
    replaced(chunked, PLAIN),
    replaced(variable_length, TYPE),
    replaced(references, TYPE),
    replaced(big_endian, TYPE),
    replaced(same_bytes_twice, TYPE),
    replaced(wrong_shape, SHAPE),
    replaced(null_space, SHAPE),
    (state_of_another_size, SHAPE),
    replaced(group_instead, "a group stands where an array should be"),
    replaced(type_instead, "a group stands where an array should be"),
    replaced(never_allocated, "has no bytes in the file"),
    (shape_bomb, "has no bytes in the file"),
    (empty_bomb, "array is too big"),
    (shared_extent, "overlap"),
    (unnamed_member, MORE),
    (unnamed_at_root, MORE),
    (missing_member, "lacks 'fc1.weight'"),
    (group_is_a_cycle, "lacks 'fc1.bias'"),
    (arrays_gone, "its arrays are missing"),
    (arrays_unnamed, "holds arrays that its manifest does not name"),
    (upward_name, "cannot name an array"),
    (state_is_a_list, "its state is not a JSON object"),
    (state_is_deep, "its state cannot be used"),
]


def test_a_forged_manifest_alone_is_accepted(saved, arrays, same):
    """The forgeries below are refused for what they alter, not for how they are made."""
    forge(saved, lambda file, manifest: None)
    same(read_checkpoint(saved).arrays, arrays)


@pytest.mark.parametrize(("alter", "reason"), HOSTILE, ids=[alter.__name__ for alter, _ in HOSTILE])
def test_hostile_structure_is_refused(saved, alter, reason):
    forge(saved, alter)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedCheckpointError, match=reason):
        read_checkpoint(saved)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # KiB: nothing of the declared size was allocated


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[" * 100_000, b"null", b'{"format": "hpcad-checkpoint", "version": 1}'],
    ids=["empty", "object", "deep", "null", "bare"],
)
def test_hostile_manifest_is_refused(saved, text):
    with h5py.File(saved, "r+", libver="latest") as file:
        put_manifest(file, text)
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(saved)


def test_attributes_of_variable_length_are_refused(saved):
    with h5py.File(saved, "r+", libver="latest") as file:
        text = file["manifest"].attrs["xxh3_128"].decode()
        del file["manifest"].attrs["xxh3_128"]
        file["manifest"].attrs["xxh3_128"] = text  # h5py stores str with variable length
    with pytest.raises(DamagedCheckpointError, match="short text"):
        read_checkpoint(saved)


def test_an_attribute_bomb_is_refused(saved):
    with h5py.File(saved, "r+", libver="latest") as file:
        file.attrs["format"] = np.zeros(8, "S4000")
    with pytest.raises(DamagedCheckpointError, match="short text"):
        read_checkpoint(saved)


def test_blocks_must_lie_in_the_file():
    """HDF5 checks this as well, for files that it wrote; nothing is allocated on its word."""
    check_extents({"a": (0, 10), "b": (10, 90), "empty": (5, 0)}, 100)
    with pytest.raises(DamagedCheckpointError, match="ends at byte 101 and the file at byte 100"):
        check_extents({"a": (0, 10), "b": (10, 91)}, 100)
