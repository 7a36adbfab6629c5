"""`hpcad ckpt ...`, through the command line."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoint_layouts import write_directory, write_file_v1

from hpcad import cli
from hpcad.checkpoint import read_checkpoint
from hpcad.checkpoint.safetensors import read_safetensors, write_safetensors
from hpcad.errors import CheckpointError

BAD = CheckpointError.exit_code


@pytest.fixture(autouse=True)
def _plain(plain_environment):
    """Errors are printed by the rank of the launcher; there is none here."""


@pytest.fixture
def folder(tmp_path, arrays, state):
    """A directory with the checkpoint of step 7, of two ranks."""
    write_directory(tmp_path / "checkpoints", 7, arrays, state, ranks=2)
    return tmp_path / "checkpoints"


@pytest.fixture
def ckpt(capsys):
    """Return a function that runs ``hpcad ckpt`` and returns exit code, output and errors."""

    def run(*words):
        code = cli.main(["ckpt", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def damage(path):
    part = sorted(path.glob("*.h5"))[0]
    data = bytearray(part.read_bytes())
    data[data.index(np.array(7).tobytes())] ^= 1
    part.write_bytes(data)


def test_list(folder, arrays, ckpt):
    path = write_directory(folder, 8, arrays)
    old = write_file_v1(folder, 6, arrays, {})
    code, out, _ = ckpt("list", folder)
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines[1:]] == ["8", "7", "6"]
    assert lines[1].endswith(str(path))
    assert lines[3].endswith(str(old))


def test_list_names_a_damaged_one_and_goes_on(folder, arrays, ckpt):
    path = write_directory(folder, 8, arrays)
    (path / "manifest.json").write_bytes(b"")
    code, out, _ = ckpt("list", folder)
    assert code == BAD
    assert f"{path} is damaged" in out
    assert "step-00000007" in out


def test_inspect_the_newest_of_an_output_directory(folder, ckpt):
    code, out, _ = ckpt("inspect", folder.parent)
    assert code == 0
    assert "step 7" in out
    assert "by 2 ranks on node1" in out
    assert "4 arrays, 408 parameters" in out
    assert "parameters/fc1.weight" in out
    assert "2 slices" in out
    assert "cursor = 448" in out


def test_inspect_a_file_of_version_1(tmp_path, arrays, ckpt):
    path = write_file_v1(tmp_path, 6, arrays, {"cursor": 5})
    code, out, _ = ckpt("inspect", path)
    assert code == 0
    assert "one file of version 1" in out
    assert "cursor = 5" in out


def test_verify_good_and_bad(folder, arrays, ckpt):
    damage(write_directory(folder, 8, arrays))
    code, out, _ = ckpt("verify", folder)
    assert code == BAD
    assert "BAD  checkpoint" in out
    assert "checksum of array 'optimizer/count'" in out
    code, out, _ = ckpt("verify", folder / "step-00000007")
    assert code == 0
    assert out.startswith(f"ok   {folder / 'step-00000007'}: step 7")


def test_an_empty_place_is_one_sentence(tmp_path, ckpt):
    code, _, err = ckpt("list", tmp_path)
    assert code == BAD
    assert err == f"hpcad: error: there is no checkpoint in {tmp_path}\n"
    assert ckpt("list", tmp_path / "absent")[0] == BAD


def test_diff_of_equals_is_0(folder, ckpt):
    code, out, _ = ckpt("diff", folder, folder / "step-00000007")
    assert code == 0
    assert "equal: all arrays bitwise, and the state" in out


def test_diff_says_how_far_arrays_are_apart(folder, arrays, state, tmp_path, ckpt):
    other = {name: array.copy() for name, array in arrays.items()}
    other["optimizer/count"] = np.array(9)
    other["parameters/fc1.bias"][3] = 0
    other["parameters/fc1.weight"] = other["parameters/fc1.weight"].astype(np.float64)
    other["parameters/new"] = other.pop("optimizer/m/fc1.weight")
    path = write_directory(tmp_path / "b", 9, other, state | {"cursor": 5, "schedule": {}})
    code, out, _ = ckpt("diff", folder, path)
    assert code == 1
    bias = abs(float(arrays["parameters/fc1.bias"][3]))
    found = [" ".join(line.split()) for line in out.splitlines()[2:]]
    assert found == [
        "optimizer/count max abs 2.000e+00 max rel 2.222e-01 1 of 1 elements differ",
        "optimizer/m/fc1.weight only in a",
        f"parameters/fc1.bias max abs {bias:.3e} max rel 1.000e+00 1 of 24 elements differ",
        "parameters/fc1.weight max abs 0.000e+00 max rel 0.000e+00 0 of 384 elements differ "
        "dtype float32 in a, float64 in b",
        "parameters/new only in b",
        "state cursor: 448 in a, 5 in b",
        "state schedule: absent in a, {} in b",
        'state schedule.kind: "cosine" in a, absent in b',
    ]
    assert "state" not in ckpt("diff", "--arrays-only", folder, path)[1].replace("step", "")


def test_diff_knows_special_values(tmp_path, ckpt):
    a = {"nan": np.array([np.nan, 1.0]), "zero": np.array([0.0]), "inf": np.array([np.inf, 2.0])}
    b = {"nan": np.array([np.nan, 1.0]), "zero": np.array([-0.0]), "inf": np.array([1.0, 2.0])}
    a["big"], b["big"] = np.array([2**63 - 1]), np.array([2**63 - 2])
    first = write_directory(tmp_path / "a", 1, a)
    second = write_directory(tmp_path / "b", 1, b)
    code, out, _ = ckpt("diff", first, second)
    found = {line.split()[0]: line for line in out.splitlines()[2:]}
    assert code == 1
    assert set(found) == {"zero", "inf", "big"}
    assert "(but bits do: zeros or NaN)" in found["zero"]
    assert "max abs inf" in found["inf"]
    assert "max abs 1.000e+00" in found["big"]


def test_diff_of_other_shapes(tmp_path, ckpt):
    first = write_directory(tmp_path / "a", 1, {"x": np.zeros((2, 3))})
    second = write_directory(tmp_path / "b", 1, {"x": np.zeros((3, 2))})
    assert "shape (2, 3) in a, (3, 2) in b" in ckpt("diff", first, second)[1]


def test_diff_of_a_damaged_one_is_no_difference(folder, arrays, tmp_path, ckpt):
    damage(write_directory(tmp_path / "b", 7, arrays))
    code, _, err = ckpt("diff", folder, tmp_path / "b")
    assert code == BAD
    assert "checksum of array 'optimizer/count'" in err


def test_export_and_import(folder, arrays, tmp_path, ckpt, same):
    file = tmp_path / "model.safetensors"
    code, out, _ = ckpt("export", folder, file)
    assert code == 0
    assert "2 arrays" in out
    found, metadata = read_safetensors(file)
    names = {"fc1.weight", "fc1.bias"}
    assert found.keys() == names
    assert metadata["step"] == "7"
    code, out, _ = ckpt("import", file, tmp_path / "new", "--step", "3")
    assert code == 0
    checkpoint = read_checkpoint(tmp_path / "new" / "step-00000003")
    expected = {f"parameters/{name}": arrays[f"parameters/{name}"] for name in found}
    same(checkpoint.arrays, expected)
    assert checkpoint.state["step"] == 3
    assert checkpoint.state["imported"]["file"] == str(file)


def test_export_by_patterns(folder, tmp_path, ckpt):
    file = tmp_path / "all.safetensors"
    assert ckpt("export", folder, file, "--arrays", "optimizer/*", "--arrays", "*.bias")[0] == 0
    assert set(read_safetensors(file)[0]) == {
        "optimizer/m/fc1.weight",
        "optimizer/count",
        "fc1.bias",
    }
    code, _, err = ckpt("export", folder, tmp_path / "x.safetensors", "--arrays", "none/*")
    assert code == BAD
    assert "no array that matches 'none/*'" in err


def test_export_replaces_nothing_unasked(folder, tmp_path, ckpt):
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"precious")
    code, _, err = ckpt("export", folder, file)
    assert code == BAD
    assert "is there already" in err
    assert file.read_bytes() == b"precious"
    assert ckpt("export", folder, file, "--force")[0] == 0
    assert ckpt("export", folder, tmp_path / "x.bin")[0] == BAD


def test_export_of_a_damaged_one_leaves_no_file(folder, arrays, tmp_path, ckpt):
    damage(write_directory(folder, 8, arrays))
    file = tmp_path / "x.safetensors"
    code, _, err = ckpt("export", folder, file, "--arrays", "*")
    assert code == BAD
    assert "checksum of array" in err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_import_goes_into_no_run(folder, tmp_path, ckpt):
    file = tmp_path / "x.safetensors"
    write_safetensors(file, {"w": ("<f4", (2,))}, lambda name: np.ones(2, "f4"))
    code, _, err = ckpt("import", file, folder)
    assert code == BAD
    assert "holds checkpoints, step-00000007 among them" in err
    assert len(list(folder.iterdir())) == 1


def test_prune_keeps_the_newest(folder, arrays, ckpt):
    for step in (8, 9):
        write_directory(folder, step, arrays)
    write_file_v1(folder, 6, arrays, {})
    code, out, _ = ckpt("prune", folder.parent, "--keep", "2", "--dry-run")
    assert code == 0
    assert out.count("would remove") == 2
    assert len(list(folder.iterdir())) == 4
    code, out, _ = ckpt("prune", folder.parent, "--keep", "2")
    assert code == 0
    assert "2 of 4 checkpoints stay" in out
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000008", "step-00000009"]


def test_prune_never_removes_the_last_whole_one(folder, arrays, ckpt):
    for step in (8, 9):
        damage(write_directory(folder, step, arrays))
    code, _, err = ckpt("prune", folder, "--keep", "2")
    assert code == BAD
    assert "none of the 2 newest checkpoints" in err
    assert len(list(folder.iterdir())) == 3
    assert ckpt("prune", folder, "--keep", "0")[0] == BAD
