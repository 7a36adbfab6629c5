"""The local driver: what has ended well is not run again, and what has not is told and kept."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from study_files import STUDY, write_made_samples, write_study

from hpcad.errors import ConfigError
from hpcad.scaling.study import local
from hpcad.scaling.study.files import open_directory
from hpcad.scaling.study.journal import read_journal
from hpcad.scaling.study.outcomes import Book
from hpcad.scaling.study.plan import Run, order
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import read_samples
from hpcad.scaling.study.study import load_study

P2 = Run(Point("strong", 2, 64))


def book_of(folder: Path, *overrides: str, fresh: bool = False) -> Book:
    loaded = load_study(write_study(folder), overrides)
    return Book(loaded, open_directory(loaded, fresh=fresh))


class Workers:
    """Stands in for mpirun: does what workers do, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[str] = []
        self.changes: dict[str, dict[str, object]] = {}
        self.failures: dict[str, str] = {}
        monkeypatch.setattr(local, "execute", self)

    def __call__(self, words, log, timeout, more) -> str:
        name = Path(words[-1]).stem
        self.started.append(name)
        log.parent.mkdir(exist_ok=True)
        log.write_text(f"+ {' '.join(words)}\nhpcad: error: a planted error\n")
        if name not in self.failures:
            write_made_samples(Path(words[-1]), **self.changes.get(name, {}))
        return self.failures.get(name, "")


@pytest.fixture
def workers(monkeypatch):
    return Workers(monkeypatch)


def run(book: Book) -> tuple[dict[str, str], list[str]]:
    lines: list[str] = []
    outcomes = local.run_locally(book, lines.append)
    return {outcome.run.name: outcome.status for outcome in outcomes}, lines


def test_a_study_runs_in_the_order_of_its_plan(tmp_path, workers):
    book = book_of(tmp_path)
    found, lines = run(book)
    assert workers.started == [run.name for run in order(book.loaded.study)]
    assert set(found.values()) == {"good"}
    assert len(lines) == len(found) == 5
    for each in order(book.loaded.study):
        assert read_samples(book.files.samples(each)).point == each.point
    assert not list(book.files.pending(P2).parent.iterdir())
    assert (tmp_path / "out" / "study.toml").read_text().startswith(STUDY)


def test_a_study_that_was_cut_goes_on(tmp_path, workers):
    run(book_of(tmp_path))
    journal = tmp_path / "out" / "runs.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])  # ended within its last line
    (tmp_path / "out" / "samples" / "strong-p1-b64-r0.h5").write_bytes(b"damaged")
    lost = order(load_study(write_study(tmp_path)).study)[-1].name
    workers.started.clear()
    found, _ = run(book_of(tmp_path))
    assert sorted(workers.started) == sorted({"strong-p1-b64-r0", lost})
    assert set(found.values()) == {"good"}
    lines = journal.read_text().splitlines()
    assert all(line.startswith("{") and line.endswith("}") for line in lines)
    workers.started.clear()
    run(book_of(tmp_path))
    assert workers.started == []


def test_repetitions_and_points_may_be_added(tmp_path, workers):
    run(book_of(tmp_path))
    workers.started.clear()
    run(book_of(tmp_path, "repeats=3", "strong.ranks=[1, 2, 4]"))
    assert sorted(workers.started) == [
        "strong-p1-b64-r2", "strong-p2-b64-r2",
        "strong-p4-b64-r0", "strong-p4-b64-r1", "strong-p4-b64-r2",
    ]  # fmt: skip


def test_another_study_is_not_mixed_in(tmp_path, workers):
    run(book_of(tmp_path))
    with pytest.raises(ConfigError, match=r"holds samples of another study.*--fresh"):
        book_of(tmp_path, "steps=20")
    book = book_of(tmp_path, "steps=20", fresh=True)
    assert not book.outcomes
    (aside,) = tmp_path.glob("out.*")
    assert (aside / "runs.jsonl").is_file()


def test_a_directory_of_other_things_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="holds files, but no study"):
        book_of(tmp_path)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "precious"


def test_a_wrong_point_is_refused(tmp_path, workers):
    workers.changes = {"strong-p2-b64-r1": {"loss": 2.1}}
    book = book_of(tmp_path)
    found, _ = run(book)
    wrong = Run(P2.point, 1)
    assert found == {**dict.fromkeys(found, "good"), wrong.name: "wrong"}
    assert "the loss of step 0 is 2.1, but 2 on 1 rank" in book.outcomes[wrong].reason
    assert not book.files.samples(wrong).exists()
    assert read_samples(book.files.refused(wrong)).repeat == 1
    # It may be run again, and then counts.
    workers.changes.clear()
    assert set(run(book_of(tmp_path))[0].values()) == {"good"}


def test_ranks_with_other_parameters_are_refused(tmp_path, workers):
    workers.changes = {P2.name: {"digests": ["same", "other"]}}
    book = book_of(tmp_path)
    run(book)
    assert book.outcomes[P2].status == "wrong"
    assert "rank 1 does not have the parameters of rank 0" in book.outcomes[P2].reason


def test_nothing_counts_without_its_reference(tmp_path, workers):
    workers.failures = {"reference-strong-p1-b64-r0": "it ended with code 3"}
    book = book_of(tmp_path)
    found, _ = run(book)
    assert found["strong-p2-b64-r0"] == found["strong-p2-b64-r1"] == "wrong"
    assert "nothing to check it against" in book.outcomes[P2].reason
    assert found["strong-p1-b64-r0"] == "good"


def test_a_failed_run_is_told_kept_and_no_obstacle(tmp_path, workers):
    workers.failures = {P2.name: "it ended with code 3"}
    book = book_of(tmp_path)
    found, lines = run(book)
    assert found == {**dict.fromkeys(found, "good"), P2.name: "failed"}
    reason = book.outcomes[P2].reason
    assert reason.startswith("it ended with code 3; hpcad: error: a planted error (")
    assert str(book.files.log(P2)) in reason
    assert any(f"{P2.name}: failed: it ended" in line for line in lines)
    kept = read_journal(book.files.journal(reference=False), reference=False)
    assert kept[P2].status == "failed"
    assert len(kept) == 4


def test_samples_of_an_earlier_start_do_not_pass_for_those_of_a_failed_one(tmp_path, monkeypatch):
    book = book_of(tmp_path)
    write_made_samples(book.write_orders(P2, threads=1, pin=False))
    assert book.files.pending(P2).exists()
    monkeypatch.setattr(local, "execute", lambda *_: "")  # ends well, and writes nothing
    outcome = local.run_once(book, P2)
    assert outcome.status == "failed"
    assert "left no samples" in outcome.reason


def test_a_command_that_hangs_is_ended_with_all_its_children(tmp_path):
    log = tmp_path / "log"
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    started = time.monotonic()
    failure = local.execute([sys.executable, "-c", program], log, 2.0, {})
    assert time.monotonic() - started < 30
    assert "did not end within 2 s" in failure
    child = int(log.read_text().split()[-1])
    assert not running(child)


def test_a_command_that_fails_is_told_by_its_code(tmp_path):
    words = [sys.executable, "-c", "import os; print(os.environ['A']); raise SystemExit(7)"]
    assert local.execute(words, tmp_path / "log", 60, {"A": "seen"}) == "it ended with code 7"
    assert (tmp_path / "log").read_text().endswith("seen\n")


def running(pid: int) -> bool:
    """Whether a process still does something; a zombie does not."""
    for _ in range(50):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.1)
    return True
