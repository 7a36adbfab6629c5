"""Studies by Slurm: scripts, chains, and what is made of what jobs leave. Slurm is a stand-in here;
tests/slurm has the real one."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from study_files import STUDY, write_made_samples, write_study

from hpcad.errors import ConfigError, LaunchError
from hpcad.scaling.study import slurm
from hpcad.scaling.study.batch import layout, point_script, request_for
from hpcad.scaling.study.files import open_directory
from hpcad.scaling.study.outcomes import Book
from hpcad.scaling.study.plan import Run
from hpcad.scaling.study.plan_text import plan_text
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.study import load_study

SLURM_STUDY = STUDY.replace("ranks = [1, 2]", "ranks = [1, 2, 4]").replace(
    "[launch]", '[launch]\nlauncher = "slurm"\nsite = "generic"'
)
ONE, FOUR = Run(Point("strong", 1, 64)), Run(Point("strong", 4, 64))
REFERENCE = Run(Point("strong", 1, 64), reference=True)


class Cluster:
    """Answers as sbatch and squeue do, and keeps what it was asked."""

    def __init__(self, monkeypatch):
        self.submitted: list[list[str]] = []
        self.queue: dict[str, str] = {}
        monkeypatch.setattr(slurm, "_slurm", self)

    def __call__(self, words):
        if words[0] == "squeue":
            return "".join(f"{job} {state}\n" for job, state in self.queue.items())
        job = str(100 + len(self.submitted))
        self.submitted.append(list(words))
        self.queue[job] = "PENDING"
        return f"{job};cluster\n"


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


def book_of(folder, *overrides):
    loaded = load_study(write_study(folder, SLURM_STUDY), overrides)
    return Book(loaded, open_directory(loaded))


def run(folder, *overrides, retry=False):
    lines = []
    book = book_of(folder, *overrides)
    slurm.run_by_slurm(book, lines.append, retry=retry)
    return book, lines


def finish(book, run, status="0 5", **changed):
    """What a job does."""
    orders = book.files.orders(run)
    if status.startswith("0"):
        write_made_samples(orders, **changed)
    orders.with_suffix(".status").write_text(status)


def test_every_point_is_a_job_after_the_one_before(tmp_path, cluster):
    book, lines = run(tmp_path)
    assert len(cluster.submitted) == len(lines) == 4  # three points and the reference
    first, *others = cluster.submitted
    assert not any(word.startswith("--dependency") for word in first)
    for number, words in enumerate(others):
        assert f"--dependency=afterany:{100 + number}" in words
    orders = {word for words in cluster.submitted for word in words if word.endswith(".json")}
    assert len(orders) == 7
    by_point = [sum(word.endswith(".json") for word in words) for words in cluster.submitted]
    assert by_point == [1, 2, 2, 2]
    for words in cluster.submitted:
        script = next(word for word in words if word.endswith(".sbatch"))
        assert subprocess.run(["bash", "-n", script], check=False, timeout=30).returncode == 0
    assert not book.outcomes


def test_every_start_may_have_a_job_of_its_own(tmp_path, cluster):
    run(tmp_path, "launch.job=repeat")
    assert len(cluster.submitted) == 7


def test_what_is_submitted_is_not_submitted_again(tmp_path, cluster):
    run(tmp_path)
    _, lines = run(tmp_path)
    assert len(cluster.submitted) == 4
    assert lines == ["7 runs are still queued or running, in jobs 100, 101, 102, 103"]
    run(tmp_path, "repeats=3")  # what is new is, after all others
    assert len(cluster.submitted) == 7
    assert "--dependency=afterany:103" in cluster.submitted[4]


def test_what_has_ended_is_collected_and_checked(tmp_path, cluster):
    book, _ = run(tmp_path)
    finish(book, FOUR, loss=3.0)
    finish(book, ONE)
    book, lines = run(tmp_path)
    assert book.outcomes[ONE].status == "good"
    assert FOUR not in book.outcomes  # its reference has not ended
    finish(book, REFERENCE)
    book, lines = run(tmp_path)
    assert book.outcomes[REFERENCE].status == "good"
    assert book.outcomes[FOUR].status == "wrong"
    assert "but 2 on 1 rank" in book.outcomes[FOUR].reason
    assert lines[-1].startswith("4 runs are still queued")
    assert len(cluster.submitted) == 4


def test_failures_are_told_and_submitted_again_only_when_asked(tmp_path, cluster):
    book, _ = run(tmp_path)
    finish(book, ONE, "3 7")
    book.files.log(ONE).write_text("hpcad: error: no such data\n")
    cluster.queue.clear()  # all others vanished: a time limit
    book, _ = run(tmp_path)
    reason = book.outcomes[ONE].reason
    assert reason.startswith("it ended with code 3 in job 10")
    assert "hpcad: error: no such data" in reason
    assert "ended before it (a time limit" in book.outcomes[FOUR].reason
    assert {outcome.status for outcome in book.outcomes.values()} == {"failed"}
    assert len(cluster.submitted) == 4
    run(tmp_path, retry=True)
    assert len(cluster.submitted) == 8


def test_a_start_that_hung_is_named_so(tmp_path, cluster):
    book, _ = run(tmp_path)
    finish(book, ONE, "124 60")
    book, _ = run(tmp_path)
    assert "did not end within 60 s" in book.outcomes[ONE].reason


def test_a_study_is_not_set_aside_while_its_jobs_are_queued(tmp_path, cluster):
    run(tmp_path)
    with pytest.raises(ConfigError, match=r"jobs 100, 101, 102, 103 .* scancel 100 101 102 103"):
        slurm.refuse_while_queued(tmp_path / "out")
    cluster.queue.clear()
    slurm.refuse_while_queued(tmp_path / "out")
    slurm.refuse_while_queued(tmp_path / "nothing there")


def test_scripts_are_clean_for_shellcheck(tmp_path):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    for site in ("generic", "perlmutter"):
        loaded = load_study(write_study(tmp_path, SLURM_STUDY), [f"launch.site={site}"])
        script = tmp_path / f"{site}.sbatch"
        script.write_text(point_script(loaded, request_for(loaded, FOUR.point)))
        done = subprocess.run(
            ["shellcheck", script], check=False, timeout=60, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_ranks_fill_nodes():
    assert [layout(ranks, 4) for ranks in (1, 3, 4, 8)] == [(1, 1), (1, 3), (1, 4), (2, 4)]
    with pytest.raises(ConfigError, match="6 ranks do not fill nodes of 4"):
        layout(6, 4)


def test_the_script_asks_for_the_nodes_and_starts_every_orders(tmp_path):
    loaded = load_study(write_study(tmp_path, SLURM_STUDY), ["launch.threads=3"])
    text = point_script(loaded, request_for(loaded, FOUR.point))
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=2\n" in text
    assert "#SBATCH --no-requeue\n" in text
    assert "#SBATCH --exclusive\n" in text
    assert "export OMP_NUM_THREADS=3\n" in text
    assert 'for orders in "$@"; do\n' in text
    assert "  timeout --kill-after=30 60 srun -K1 -u \\\n" in text
    assert '"$venv/bin/hpcad" scaling point "$orders" > "$log" 2>&1 || status=$?\n' in text


def test_the_plan_can_be_read_before_it_costs_anything(tmp_path):
    loaded = load_study(write_study(tmp_path, SLURM_STUDY))
    text = plan_text(loaded)
    assert "3 points, 2 repetitions, 1 references: 7 runs" in text
    assert text.count("# ---- scripts/") == 3
    assert not (tmp_path / "out").exists()


def test_a_machine_without_slurm_is_told_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LaunchError, match="there is no squeue here"):
        slurm.queued()
