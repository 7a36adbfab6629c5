"""The command line: what reaches the trainer, exit codes, and errors said once per job."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from launched import mpirun, run_bounded

from hpcad import __version__, cli
from hpcad.errors import CheckpointError, ConfigError, DataError
from hpcad.launch import info
from hpcad.training.result import Result

JOB = """\
name = "digits"

[model]
kind = "mlp"
hidden = [8]

[data]
train = "builtin:digits/train"

[optimizer]
kind = "sgd"
learning_rate = 0.1

[training]
epochs = 1
"""


@pytest.fixture
def job(tmp_path, monkeypatch, plain_environment) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "digits.toml"
    path.write_text(JOB)
    return path


@pytest.fixture
def runs(monkeypatch) -> list[tuple]:
    """Replace the trainer by one that notes its arguments."""
    calls: list[tuple] = []

    def run(*arguments) -> Result:
        calls.append(arguments)
        return Result()

    monkeypatch.setattr("hpcad.training.run.run", run)
    return calls


def test_a_run_that_a_signal_ended_is_not_done(job, monkeypatch):
    monkeypatch.setattr("hpcad.training.run.run", lambda *arguments: Result(stop_signal=15))
    assert cli.main(["train", str(job)]) == 128 + 15


def test_a_run_out_of_time_is_not_done(job, monkeypatch):
    monkeypatch.setattr("hpcad.training.run.run", lambda *arguments: Result(out_of_time=True))
    assert cli.main(["train", str(job)]) == 200


def test_a_time_limit_counts_from_the_start(job, runs, capsys):
    before = time.time()
    assert cli.main(["train", str(job), "--time-limit", "02:00:00"]) == 0
    assert before + 7200 <= runs[0][5] <= time.time() + 7200
    assert cli.main(["train", str(job), "--time-limit", "soon"]) == ConfigError.exit_code
    assert "--time-limit 'soon' is not a time limit" in capsys.readouterr().err


def test_fresh_counts_at_the_first_start_of_a_job(job, runs, monkeypatch, capsys):
    Path("runs/digits").mkdir(parents=True)
    Path("runs/digits/metrics.jsonl").write_text("{}")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert cli.main(["train", str(job), "--fresh"]) == 0
    assert runs[0][3] is True
    assert list(Path("runs").iterdir()) == [Path("runs/digits")]
    assert "restart 1 of this job: it goes on" in capsys.readouterr().out


def test_train_passes_job_entry_world_and_resume(job, runs):
    from hpcad.models import REGISTRY

    assert cli.main(["train", str(job), "--set", "training.epochs=7", "data.batch=16"]) == 0
    ((found, entry, world, resume, timeline, end),) = runs
    assert (found.training.epochs, found.data.batch) == (7, 16)
    assert found.model.config.hidden == [8]
    assert entry is REGISTRY["mlp"]
    assert world.size == 1
    assert resume is True
    assert timeline is None
    assert end is None


@pytest.mark.parametrize(
    ("options", "resume"),
    [
        ([], True),
        (["--resume"], True),
        (["--resume", "auto"], True),
        (["--resume", "runs/x/step-00000007"], "runs/x/step-00000007"),
        (["--fresh"], False),
    ],
)
def test_how_a_run_starts(job, runs, options, resume):
    assert cli.main(["train", str(job), *options]) == 0
    assert runs[0][3] == resume


def test_a_timeline_is_asked_for(job, runs):
    assert cli.main(["train", str(job), "--timeline", "somewhere"]) == 0
    assert runs[0][4] == Path("somewhere")


def test_fresh_and_resume_exclude_each_other(job, runs):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", str(job), "--fresh", "--resume"])
    assert caught.value.code == 2
    assert runs == []


def test_a_wrong_job_file_is_one_sentence(job, runs, capsys):
    job.write_text(JOB.replace("learning_rate", "learning_rat"))
    assert cli.main(["train", "digits.toml"]) == ConfigError.exit_code
    assert capsys.readouterr().err == (
        "hpcad: error: digits.toml:12: [optimizer] has no key 'learning_rat'; "
        "did you mean 'learning_rate'?\n"
    )
    assert runs == []


@pytest.mark.parametrize("error", [DataError, CheckpointError])
def test_an_error_of_the_run_gives_its_exit_code(job, monkeypatch, capsys, error):
    def run(*arguments):
        raise error("shard 3 is truncated")

    monkeypatch.setattr("hpcad.training.run.run", run)
    assert cli.main(["train", str(job)]) == error.exit_code
    assert capsys.readouterr().err == "hpcad: error: shard 3 is truncated\n"


def test_ctrl_c(job, monkeypatch, capsys):
    def run(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("hpcad.training.run.run", run)
    assert cli.main(["train", str(job)]) == 130
    assert capsys.readouterr().err == "hpcad: interrupted\n"


def test_a_defect_keeps_its_traceback(job, monkeypatch):
    def run(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("hpcad.training.run.run", run)
    with pytest.raises(ZeroDivisionError):
        cli.main(["train", str(job)])


# --fresh


def test_fresh_renames_an_earlier_run_and_loses_nothing(job, runs, tmp_path, capsys):
    checkpoints = tmp_path / "runs" / "digits" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "step-00000007.h5").write_bytes(b"precious")
    assert cli.main(["train", str(job), "--fresh"]) == 0
    assert not (tmp_path / "runs" / "digits").exists()
    (kept,) = (tmp_path / "runs").iterdir()
    assert kept.name.startswith("digits.20")
    assert (kept / "checkpoints" / "step-00000007.h5").read_bytes() == b"precious"
    assert f"is now runs/{kept.name}" in capsys.readouterr().err


def test_set_aside_twice_in_a_second(tmp_path):
    kept = set()
    for number in range(3):
        directory = tmp_path / "run"
        directory.mkdir()
        (directory / "metrics.csv").write_text(str(number))
        kept.add(cli.set_aside(directory))
    assert sorted((path / "metrics.csv").read_text() for path in kept) == ["0", "1", "2"]


def test_set_aside_of_nothing(tmp_path):
    assert cli.set_aside(tmp_path / "absent") is None
    (tmp_path / "empty").mkdir()
    assert cli.set_aside(tmp_path / "empty") is None
    assert (tmp_path / "empty").is_dir()


def test_the_current_directory_is_never_renamed(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    for directory in (Path(), tmp_path):
        with pytest.raises(ConfigError, match="not a directory of this run's own"):
            cli.set_aside(directory)


def test_a_file_in_the_place_of_the_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot rename"):
        cli.set_aside(tmp_path / "file")


# Other commands


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"hpcad {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["ckpt"], ["data"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: hpcad" in capsys.readouterr().err


def test_a_job_file_is_needed(capsys):
    assert cli.main(["train", "--set", "a=1"]) == ConfigError.exit_code
    assert "say `hpcad train JOB.toml`" in capsys.readouterr().err


def test_the_job_file_may_stand_behind_the_settings(tmp_path, capsys):
    assert cli.main(["train", "--set", "a=1", str(tmp_path / "absent.toml")]) == 2
    assert "absent.toml" in capsys.readouterr().err


def test_data_commands_are_reached(plain_environment, capsys):
    assert cli.main(["data", "inspect", "builtin:digits/none"]) == DataError.exit_code
    assert "builtin:digits/none" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from hpcad import cli\n"
        "try:\n    cli.main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'numpy', 'h5py', 'mpi4py', 'cupy', 'hpcad.models'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = run_bounded([sys.executable, "-c", program], timeout=30)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


# hpcad info


def test_info_says_every_fact(plain_environment, capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert set(rows) == {
        "hpcad", "Python", "NumPy", "h5py", "mpi4py", "MPI", "launcher", "devices", "BLAS",
        "host", "cores",
    }  # fmt: skip
    assert "HDF5" in rows["h5py"]
    assert rows["hpcad"].startswith(__version__)
    assert rows["launcher"].startswith("none")


def test_info_without_an_mpi_library(plain_environment, monkeypatch):
    monkeypatch.setattr(info, "_PROBE", "raise RuntimeError('cannot load MPI library')")
    found = dict(info.collect())
    assert "cannot load MPI library" in found["MPI"]
    assert "pip install mpich" in found["MPI"]


def test_info_when_the_library_kills_its_process(plain_environment, monkeypatch):
    monkeypatch.setattr(info, "_PROBE", "import os; os._exit(17)")
    assert "no usable library" in dict(info.collect())["MPI"]


def test_info_when_the_library_hangs(plain_environment, monkeypatch):
    monkeypatch.setattr(info, "_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(info, "_PROBE_SECONDS", 0.2)
    assert "did not start within" in dict(info.collect())["MPI"]


def test_info_under_mpirun_prints_once():
    done = mpirun(2, ["-m", "hpcad", "info"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("launcher") == 1
    assert "2 ranks" in done.stdout
    assert "communicator" in done.stdout


# Several ranks


def under_mpirun(tmp_path: Path, ranks: int, body: str) -> subprocess.CompletedProcess[str]:
    """Run `hpcad train` with a trainer that executes `body`; `world` is known there."""
    (tmp_path / "digits.toml").write_text(JOB)
    program = tmp_path / "program.py"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program.write_text(
        "import sys, time\n"
        "import hpcad.training.run\n"
        "from hpcad.cli import main\n"
        "from hpcad.errors import DataError\n"
        f"def run(job, entry, world, resume, timeline, end):\n{lines}\n"
        "hpcad.training.run.run = run\n"
        "sys.exit(main(['train', 'digits.toml']))\n"
    )
    return mpirun(ranks, [program], timeout=20, cwd=tmp_path)


def test_a_reader_that_has_seen_enough_gets_no_traceback():
    command = f"{sys.executable} -m hpcad info | true; exit ${{PIPESTATUS[0]}}"
    done = run_bounded(["bash", "-c", command], timeout=60)
    assert (done.returncode, done.stderr) == (cli.BROKEN_PIPE, "")


def test_a_wrong_job_file_is_said_once(tmp_path):
    (tmp_path / "bad.toml").write_text(JOB.replace("epochs", "epoch"))
    done = mpirun(3, ["-m", "hpcad", "train", "bad.toml"], timeout=20, cwd=tmp_path)
    assert done.returncode == ConfigError.exit_code
    assert done.stderr.count("hpcad: error:") == 1
    assert "bad.toml:15: [training] has no key 'epoch'; did you mean 'epochs'?" in done.stderr


def test_one_rank_fails_while_the_others_wait(tmp_path):
    body = (
        "if world.rank == 1:\n    raise DataError('shard 3 is truncated')\n"
        "world.communicator.barrier()"
    )
    done = under_mpirun(tmp_path, 2, body)
    assert done.returncode == DataError.exit_code
    assert done.stderr.count("hpcad: error:") == 1
    assert "hpcad: error: shard 3 is truncated (rank 1 on " in done.stderr


def test_all_ranks_fail_alike(tmp_path):
    done = under_mpirun(tmp_path, 3, "raise DataError('the batch is smaller than the world')")
    assert done.returncode == DataError.exit_code
    assert done.stderr.count("hpcad: error:") == 1
    assert "(rank 0 on " in done.stderr


def test_an_agreed_error_names_its_rank(tmp_path):
    body = (
        "error = DataError('disk gone') if world.rank == 1 else None\n"
        "world.communicator.agree(error, 'x')"
    )
    done = under_mpirun(tmp_path, 2, body)
    assert done.returncode == DataError.exit_code
    assert done.stderr.count("hpcad: error:") == 1
    assert "hpcad: error: rank 1 on " in done.stderr


def test_a_defect_on_one_rank_ends_all_with_its_traceback(tmp_path):
    body = "if world.rank == 1:\n    1 / 0\nworld.communicator.barrier()"
    done = under_mpirun(tmp_path, 2, body)
    assert done.returncode != 0
    assert "[rank 1 on " in done.stderr
    assert "ZeroDivisionError" in done.stderr
