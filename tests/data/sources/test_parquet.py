from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.sources import parquet_source
from hpcad.errors import DataError

N = 50


def test_without_pyarrow_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs pyarrow.*pip install 'hpcad\[parquet\]'"):
        parquet_source(["t.parquet"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(3 * N, dtype="f4")), 3)
    table = pa.table(
        {
            "a": np.arange(N),
            "b": np.arange(N) / 2,
            "ok": np.arange(N) % 2 == 0,
            "v": vectors,
            "r": [[float(j) for j in range(i % 4)] for i in range(N)],
            "c": ["u" if i % 3 else "v" for i in range(N)],
            "gaps": [None if i == 30 else i for i in range(N)],
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=11)
    return tmp_path / "t.parquet"


def test_columns_become_fields(tmp_path: Path, file: Path) -> None:
    source = parquet_source([file, file], columns=["a", "b", "ok", "v", "r"])
    pack(source, tmp_path / "d", shard_samples=13)
    dataset = open_dataset(tmp_path / "d")
    assert len(dataset) == 2 * N
    found = dataset.read(np.arange(2 * N))
    np.testing.assert_array_equal(found["a"], np.tile(np.arange(N), 2))
    np.testing.assert_array_equal(found["b"], np.tile(np.arange(N) / 2, 2))
    np.testing.assert_array_equal(found["ok"], np.tile(np.arange(N) % 2 == 0, 2))
    np.testing.assert_array_equal(found["v"][N:], np.arange(3 * N).reshape(N, 3))
    assert found["r"].lengths.tolist() == [i % 4 for i in range(N)] * 2
    assert found["r"][7].tolist() == [0, 1, 2]


def test_a_label_makes_a_vector_of_the_others(tmp_path: Path, file: Path) -> None:
    pack(parquet_source([file], columns=["a", "b"], label="c"), tmp_path / "d", shard_samples=20)
    dataset = open_dataset(tmp_path / "d")
    found = dataset.read(np.arange(N))
    np.testing.assert_array_equal(found["x"], np.stack([np.arange(N), np.arange(N) / 2], 1))
    np.testing.assert_array_equal(found["y"], np.arange(N) % 3 == 0)
    assert dataset.metadata == {"classes": 2, "class_names": ["u", "v"]}
    assert found["x"].dtype == np.float32
    assert parquet_source([file], columns=["b"], label="a").metadata == {"classes": N}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "column 'c' holds string, not numbers"),
        ({"columns": ["z"]}, "there is no one column 'z'"),
        ({"columns": ["a"], "label": "z"}, "there is no one column 'z'"),
        ({"columns": ["c"], "label": "c"}, "no column is left"),
        ({"columns": ["v"], "label": "c"}, "column 'v' holds lists"),
        ({"columns": ["a"], "dtype": "foo"}, "'foo' is not a dtype"),
        ({"columns": ["gaps"]}, "column 'gaps' has 1 gaps"),
    ],
)
def test_columns_that_do_not_fit(
    tmp_path: Path, file: Path, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        pack(parquet_source([file], **how), tmp_path / "d")


def test_files_that_are_missing_or_damaged(tmp_path: Path, file: Path) -> None:
    with pytest.raises(DataError, match="none: cannot be read"):
        parquet_source([tmp_path / "none"])
    (tmp_path / "text").write_text("a,b\n")
    with pytest.raises(DataError, match="is not a Parquet file"):
        parquet_source([tmp_path / "text"])
    data = bytearray(file.read_bytes())
    data[40:300] = bytes(260)
    file.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        pack(parquet_source([file], columns=["a", "b"]), tmp_path / "d")
