"""Metrics of a run as ``metrics.jsonl`` and ``metrics.csv``, one row per report.

The JSON Lines file is the record; the CSV file is the same for spreadsheets and `numpy.genfromtxt`,
with an empty cell for what a row does not have. Both are flushed after every row, so a killed run
keeps its curve up to its last report.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from hpcad.errors import HpcadError

Row = dict[str, Any]


class MetricsWriter:
    """Append rows to the metrics of a run; used by rank 0.

    Parameters
    ----------
    directory
        Made when absent.
    resumed_step
        The step of the checkpoint that the run continues from: rows of later steps are dropped,
        since they will be written again. None for a run that starts afresh: all rows are dropped.

    Raises
    ------
    HpcadError
        The files cannot be read or written (full disk, no permission).
    """

    def __init__(self, directory: str | Path, *, resumed_step: int | None = None) -> None:
        self.directory = Path(directory)
        self._jsonl: IO[str] | None = None
        self._csv: IO[str] | None = None
        with _Translated(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            kept = _kept_rows(self.directory / "metrics.jsonl", resumed_step)
            self._columns = _columns(kept)
            text = "".join(json.dumps(row) + "\n" for row in kept)
            _replace(self.directory / "metrics.jsonl", text)
            self._open(kept)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row of numbers and strings; it has an integer "step".

        NaN and infinities become null (JSON) and an empty cell (CSV). NumPy scalars are taken.

        Raises
        ------
        HpcadError
            The files cannot be written.
        """
        plain = {key: _plain(value) for key, value in row.items()}
        with _Translated(self.directory):
            assert self._jsonl is not None  # between construction and close
            self._jsonl.write(json.dumps(plain) + "\n")
            self._jsonl.flush()
            if set(plain) <= set(self._columns):
                self._write_csv([plain])
            else:
                self._widen()

    def close(self) -> None:
        """Close both files."""
        for stream in (self._jsonl, self._csv):
            if stream is not None:
                stream.close()
        self._jsonl = self._csv = None

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, rows: Sequence[Row]) -> None:
        """Write the CSV anew from `rows` and open both files for appending."""
        _replace(self.directory / "metrics.csv", _csv_text(self._columns, rows, header=True))
        self._jsonl = open(self.directory / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115  # closed by close()
        self._csv = open(self.directory / "metrics.csv", "a", encoding="utf-8", newline="")  # noqa: SIM115  # closed by close()

    def _widen(self) -> None:
        """A row brought new columns (the first evaluation, say): the header must change."""
        self.close()
        rows = _kept_rows(self.directory / "metrics.jsonl", None, everything=True)
        self._columns = _columns(rows)
        self._open(rows)

    def _write_csv(self, rows: Sequence[Row]) -> None:
        assert self._csv is not None  # between construction and close
        self._csv.write(_csv_text(self._columns, rows))
        self._csv.flush()


def read_metrics(directory: str | Path) -> list[Row]:
    """Return the rows of a run's ``metrics.jsonl``; an unfinished last line is left out."""
    return _kept_rows(Path(directory) / "metrics.jsonl", None, everything=True)


def _kept_rows(path: Path, resumed_step: int | None, everything: bool = False) -> list[Row]:
    if not path.exists() or (resumed_step is None and not everything):
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the run was killed while it wrote this line
        if isinstance(row, dict) and (everything or row.get("step", 0) <= resumed_step):
            rows.append(row)
    return rows


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _csv_text(columns: Sequence[str], rows: Sequence[Row], header: bool = False) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header and columns:
        writer.writeheader()
    writer.writerows(rows)  # None is an empty cell
    return text.getvalue()


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _replace(path: Path, text: str) -> None:
    """Put `text` into `path` so that a crash leaves the old content or the new."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _Translated:
    """Turn an OSError into a sentence that names the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise HpcadError(
                f"cannot write metrics in {self._directory}: {reason}; "
                "make room there, or set [output] directory to a place that can be written"
            ) from error
