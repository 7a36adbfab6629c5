"""The commands as a user types them, without the program around them."""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcad.data import open_dataset
from hpcad.data.commands import add_parsers
from hpcad.errors import ConfigError, DataError


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser(prog="hpcad")
    add_parsers(parser.add_subparsers(required=True))
    options = parser.parse_args(["data", *map(str, words)])
    return options.func(options)


@pytest.fixture
def arrays(tmp_path: Path) -> tuple[Path, Path]:
    np.save(tmp_path / "x.npy", np.arange(20.0).reshape(10, 2))
    np.save(tmp_path / "y.npy", np.arange(10))
    return tmp_path / "x.npy", tmp_path / "y.npy"


def test_pack_inspect_verify(
    tmp_path: Path, arrays: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "d"
    words = ("--shard-samples", "4", "--licence", "CC0", "--fields", "pos, id")
    assert run("pack", out, "--npy", *arrays, *words) == 0
    assert f"packed 10 samples into 3 shards (240 B): {out}" in capsys.readouterr().out
    assert [*open_dataset(out).fields] == ["pos", "id"]
    assert run("inspect", out) == 0
    assert "CC0" in capsys.readouterr().out
    assert run("verify", out) == 0
    assert "3 of 3 shards are good" in capsys.readouterr().out

    with open(out / "shard-00001.h5", "r+b") as file:
        file.seek(open_dataset(out).manifest.shards[1].arrays["id"].offset)
        file.write(b"\xff")
    assert run("verify", out) == DataError.exit_code
    said = capsys.readouterr().out
    assert "[2/3] shard-00001.h5: damaged" in said
    assert "checksum of field 'id' does not match" in said
    assert "2 of 3 shards are good" in said


def test_pack_in_chunks(
    tmp_path: Path, arrays: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--layout", "chunked", "--compress", "2")
    assert run("pack", tmp_path / "d", "--npy", *arrays, *words) == 0
    data = open_dataset(tmp_path / "d")
    assert data.manifest.shards[0].arrays["x"].filters == ("shuffle", "deflate:2", "fletcher32")
    np.testing.assert_array_equal(data.read(np.arange(10))["x"], np.arange(20.0).reshape(10, 2))
    assert run("verify", tmp_path / "d") == 0
    assert "1 of 1 shards are good" in capsys.readouterr().out
    with pytest.raises(DataError, match="only chunks can be compressed"):
        run("pack", tmp_path / "e", "--npy", *arrays, "--compress", "2")


def test_an_existing_dataset_needs_force(tmp_path: Path, arrays: tuple[Path, Path]) -> None:
    assert run("pack", tmp_path / "d", "--npy", arrays[0]) == 0
    with pytest.raises(DataError, match="--force"):
        run("pack", tmp_path / "d", "--npy", arrays[1])
    assert open_dataset(tmp_path / "d").fields["x"].shape == (2,)
    assert run("pack", tmp_path / "d", "--npy", arrays[1], "--force") == 0
    assert open_dataset(tmp_path / "d").fields["x"].shape == ()


def test_text_in_two_parts(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("to be or not to be")
    assert run("pack", tmp_path / "d", "--text", tmp_path / "t", "--split", "0.5") == 0
    assert len(open_dataset(tmp_path / "d" / "train")) == 9
    assert len(open_dataset(tmp_path / "d" / "val", window=4)) == 5
    assert run("pack", tmp_path / "one", "--text", tmp_path / "t") == 0
    assert len(open_dataset(tmp_path / "one")) == 18


@pytest.mark.parametrize("label", ["kind", "1", "-2"])
def test_csv(tmp_path: Path, label: str) -> None:
    (tmp_path / "t.csv").write_text("a\tkind\tb\n1\tu\t2\n3\tv\t4\n")
    words = ("--csv", tmp_path / "t.csv", f"--label={label}", "--delimiter", r"\t")
    assert run("pack", tmp_path / "d", *words) == 0
    dataset = open_dataset(tmp_path / "d")
    assert dataset.metadata["class_names"] == ["u", "v"]
    np.testing.assert_array_equal(dataset.read(np.arange(2))["x"], [[1, 2], [3, 4]])


def test_npz_images_and_idx(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", z=np.arange(3))
    assert run("pack", tmp_path / "npz", "--npz", tmp_path / "a.npz") == 0
    header = bytes([0, 0, 8, 1, 0, 0, 0, 3])
    (tmp_path / "idx").write_bytes(header + b"\1\0\1")
    idx = ("--idx", tmp_path / "idx", tmp_path / "idx", "--class-names", "no,yes")
    assert run("pack", tmp_path / "d", *idx) == 0
    assert open_dataset(tmp_path / "d").metadata["class_names"] == ["no", "yes"]
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / "in" / "cat").mkdir(parents=True)
    image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "in" / "cat" / "a.png")
    assert run("pack", tmp_path / "images", "--images", tmp_path / "in") == 0
    assert open_dataset(tmp_path / "images").fields["x"].shape == (2, 3)


def test_hdf5_by_fields_and_by_a_mapping(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["s"] = np.arange(11.0)
        file["l"] = h5py.SoftLink("/s")
    words = ("--hdf5", tmp_path / "f.h5", "--window", "4", "--stride", "2")
    assert run("pack", tmp_path / "a", *words, "--field", "x=s") == 0
    assert "the last 1 of 11 are in no window" in capsys.readouterr().out
    (tmp_path / "m.toml").write_text('[fields.x]\npath = "s"\n')
    assert run("pack", tmp_path / "b", *words, "--mapping", tmp_path / "m.toml") == 0
    hashes = {open_dataset(tmp_path / name).hash for name in "ab"}
    assert len(hashes) == 1
    with pytest.raises(DataError, match="--allow-links"):
        run("pack", tmp_path / "c", *words, "--field", "x=l")
    assert run("pack", tmp_path / "c", *words, "--field", "x=l", "--allow-links") == 0
    assert "leads over a soft link to /s" in capsys.readouterr().out


def test_split_merge_stats_and_bench(
    tmp_path: Path, arrays: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pack", tmp_path / "d", "--npy", *arrays) == 0
    assert run("split", tmp_path / "d", tmp_path / "s", "--fractions", "0.6,0.2,0.2") == 0
    parts = [tmp_path / "s" / name for name in ("train", "valid", "test")]
    assert [len(open_dataset(part)) for part in parts] == [6, 2, 2]
    assert run("merge", tmp_path / "m", *parts, "--shard-samples", "4") == 0
    merged = open_dataset(tmp_path / "m").read(np.arange(10))["y"]
    assert sorted(merged.tolist()) == list(range(10))
    capsys.readouterr()
    assert run("stats", tmp_path / "m", "--bins", "2") == 0
    assert "numbers 10, of these NaN 0, infinite 0" in capsys.readouterr().out
    assert run("bench", tmp_path / "m", "--batch", "4", "--step-ms", "5") == 0
    said = capsys.readouterr().out
    assert "batches of 4 on 1 rank" in said
    assert "a step of 5 ms needs" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fractions", "a"), "takes numbers between commas"),
        (("--fractions", "0.1," * 4 + "0.6"), "5 fractions need as many different names"),
        (("--fractions", "0.5,0.5", "--names", "a,a"), "different names"),
        (("--fractions", "0.5,0.5", "--names", "a,../b"), "'../b' is not the name of a directory"),
    ],
)
def test_parts_that_cannot_be_named(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("split", "builtin:digits/test", tmp_path / "s", *words)


def test_a_packing_is_continued(tmp_path: Path, arrays: tuple[Path, Path]) -> None:
    words = ("pack", tmp_path / "d", "--npy", *arrays, "--resume")
    assert run(*words) == 0
    (tmp_path / "d").rename(tmp_path / "e")
    (tmp_path / ".d.packing").mkdir()
    with pytest.raises(DataError, match="go on with --resume, or start again with --force"):
        run(*words[:-1])
    assert run(*words[:-1], "--force") == 0
    assert open_dataset(tmp_path / "d").hash == open_dataset(tmp_path / "e").hash


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--text", "t", "--label", "a"), "--label goes with --csv and --parquet, not with --text"),
        (("--csv", "t", "--split", "0.9"), "--split goes with --text, not with --csv"),
        (("--npz", "t", "--fields", "a,b"), "--fields goes with --idx and --npy"),
        (("--idx", "a", "b", "c"), "takes inputs and labels, not 3 files"),
        (("--npz", "t", "--allow-links"), "--allow-links goes with --hdf5, not with --npz"),
        (("--csv", "t", "--tokenizer", "bytes"), "--tokenizer goes with --text"),
        (("--hdf5", "t"), "needs either --field"),
        (("--hdf5", "t", "--field", "x=a", "--mapping", "m"), "needs either --field"),
    ],
)
def test_options_that_do_not_belong_together(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run("pack", tmp_path / "d", *words)


def test_one_kind_of_input_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("pack", tmp_path / "d")
    assert "one of the arguments" in capsys.readouterr().err


def test_a_damaged_input_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2]) + b"12345")
    with pytest.raises(DataError, match="announces 3 samples and holds 2"):
        run("pack", tmp_path / "new" / "d", "--idx", tmp_path / "idx")
    assert [path.name for path in tmp_path.iterdir()] == ["idx"]
