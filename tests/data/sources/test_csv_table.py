from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcad.data import open_dataset, pack
from hpcad.data.sources import csv_source
from hpcad.errors import DataError


@pytest.fixture
def table(tmp_path: Path):
    def table(text: str) -> Path:
        (tmp_path / "t.csv").write_text(text)
        return tmp_path / "t.csv"

    return table


def packed(path: Path, **options: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    source = csv_source(path, **options)
    pack(source, path.parent / "d", force=True)
    dataset = open_dataset(path.parent / "d")
    return dataset.read(np.arange(len(dataset))), dataset.metadata


def test_a_label_column_by_name(table) -> None:
    data, metadata = packed(table("a,kind,b\n1,0,2.5\n-3e1,2,4\n"), label="kind")
    np.testing.assert_array_equal(data["x"], np.array([[1, 2.5], [-30, 4]], np.float32))
    assert data["x"].dtype == np.float32
    np.testing.assert_array_equal(data["y"], [0, 2])
    assert metadata == {"classes": 3}


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_column_by_index_with_names_for_classes(table, label: int) -> None:
    text = "5.1,3.5,setosa\n7.0,3.2,virginica\n6.4,3.2,setosa\n\n"
    data, metadata = packed(table(text), label=label, dtype="float64")
    np.testing.assert_array_equal(data["x"], [[5.1, 3.5], [7.0, 3.2], [6.4, 3.2]])
    np.testing.assert_array_equal(data["y"], [0, 1, 0])
    assert metadata == {"classes": 2, "class_names": ["setosa", "virginica"]}


def test_a_header_is_found_by_its_words(table) -> None:
    assert len(packed(table("1,2\n3,4\n"))[0]["x"]) == 2
    assert len(packed(table("\ufeffa,b\n3,4\n"))[0]["x"]) == 1
    assert len(packed(table("a,2\n3,4\n"))[0]["x"]) == 1


def test_regression(table) -> None:
    path = table("a,y\n1,0.5\n2,1\n")
    data, metadata = packed(path, label="y")
    np.testing.assert_array_equal(data["y"], np.array([0.5, 1], np.float32))
    assert data["y"].dtype == np.float32
    assert metadata == {}
    path = table("a,y\n1,1990\n2,-5\n")
    np.testing.assert_array_equal(packed(path, label="y", label_type="number")[0]["y"], [1990, -5])
    with pytest.raises(DataError, match="label -5 of sample 1 is negative"):
        csv_source(path, label="y")


def test_numbers_as_class_names(table) -> None:
    data, metadata = packed(table("1,0.5\n2,1.5\n3,0.5\n"), label=1, label_type="class")
    np.testing.assert_array_equal(data["y"], [0, 1, 0])
    assert metadata["class_names"] == ["0.5", "1.5"]


def test_quotes_and_other_delimiters(table) -> None:
    data, metadata = packed(
        table('a;"the ""kind"";"\n1;"x;y"\n'), label='the "kind";', delimiter=";"
    )
    np.testing.assert_array_equal(data["x"], [[1]])
    assert metadata["class_names"] == ["x;y"]


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("a,b\n1,2\n3,x\n", None, "line 3, column 'b': 'x' is not a finite number"),
        ("a,b\n1,\n", None, "line 2, column 'b': the cell is empty"),
        ("a,b\n1,nan\n", None, "line 2, column 'b': 'nan' is not a finite number"),
        ("a,b\n1,inf\n", None, "line 2, column 'b': 'inf' is not a finite number"),
        ("a,b\n1,2,3\n", None, "line 2: 3 cells, expected 2"),
        ("1,2\n3,4\n5\n", None, "line 3: 1 cells, expected 2"),
        ("1,2\n3,q\n", None, "line 2, column '1': 'q' is not"),
        ("a,y\n1, \n", "y", "line 2, column 'y': the label is empty"),
        ("a,b\n1,2\n", "c", r"label column 'c' stands 0 times in the header.*columns are a, b"),
        ("a,a\n1,2\n", "a", "stands 2 times"),
        ("1,2\n", 2, "there is no column 2, the columns are 0 to 1"),
        ("a\n1\n", "a", "no column beside the label"),
        ("a,b\n", None, "header but no samples"),
        ("", None, "is empty"),
        ("\n\n", None, "is empty"),
        ('a,b\n1,"2', None, "not a valid CSV file"),
    ],
)
def test_mistakes_are_named_with_their_place(table, text: str, label: Any, message: str) -> None:
    with pytest.raises(DataError, match=r"t\.csv.*" + message):
        csv_source(table(text), label=label)


def test_options_and_files_that_do_not_fit(table, tmp_path: Path) -> None:
    path = table("a,y\n1,z\n")
    with pytest.raises(DataError, match=r"line 2, column 'y': 'z' is not a finite number"):
        csv_source(path, label="y", label_type="number")
    with pytest.raises(DataError, match="is not one of auto, class, number"):
        csv_source(path, label="y", label_type="float")
    with pytest.raises(DataError, match="'float99' is not a dtype"):
        csv_source(path, dtype="float99")
    with pytest.raises(DataError, match="complex64 cannot be packed"):
        csv_source(path, dtype="complex64")
    with pytest.raises(DataError, match="holds names itself"):
        csv_source(path, label="y", class_names=["q"])
    with pytest.raises(DataError, match="not a valid CSV file"):
        csv_source(path, delimiter="ab")
    with pytest.raises(DataError, match="No such file"):
        csv_source(tmp_path / "none.csv")
    path.write_bytes(b"a,b\n\xff,1\n")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        csv_source(path)
