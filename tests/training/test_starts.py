"""The record of a run's starts: it refuses a run that never gets further, and loses nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim
from hpcad.errors import HpcadError, NoProgressError
from hpcad.training import Limits
from hpcad.training.result import OUT_OF_TIME
from hpcad.training.starts import NAME, Start, read


@pytest.fixture(autouse=True)
def batch_job(monkeypatch):
    """A job of a batch system, which would start a run again for ever."""
    monkeypatch.setenv("PBS_JOBID", "7.server")


class NodeFailure(Exception):  # noqa: N818 - as it is called
    """What ends a run from outside."""


def run(directory, *, fails_at=None, steps=20, resume=True, seed=0, limits=None, **options):
    """Run to the end, or to a step at which the node fails."""
    model = nn.Linear(3, 2).initialize(1)
    x = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    trainer = hpcad.Trainer(
        model,
        optim.Adam(model, 1e-3),
        hpcad.ArrayDataset({"x": x}),
        loss=lambda m, batch: (m(batch["x"]) ** 2).mean(),
        directory=directory,
        limits=limits,
        **({"batch": 20, "steps": steps, "seed": seed, "checkpoint_every": 4} | options),
    )
    real = trainer._step

    def taken(batch, phases):
        if trainer.result.step == fails_at:
            raise NodeFailure
        return real(batch, phases)

    trainer._step = taken
    return trainer.run(resume)


def fail(directory, at, **options):
    with pytest.raises(NodeFailure):
        run(directory, fails_at=at, asynchronous=False, **options)


def test_a_run_that_never_gets_further_is_refused_the_fourth_time(tmp_path, capsys):
    for _ in range(3):
        fail(tmp_path, at=2)
    with pytest.raises(NoProgressError, match=r"started 3 times at step 0.*remove .*starts.json"):
        run(tmp_path, fails_at=2)
    assert "start 3 of this run; none of the last 3 has begun later than step 0" in (
        capsys.readouterr().out
    )
    assert not (tmp_path / "checkpoints").exists()
    # It stays refused, however often it is asked, until a person decides.
    with pytest.raises(NoProgressError):
        run(tmp_path)
    (tmp_path / NAME).unlink()
    assert run(tmp_path).step == 20


def test_a_person_may_try_as_often_as_they_like(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcad.training.limits.batch_job", lambda environ: "")
    for _ in range(5):
        fail(tmp_path, at=2)
    assert run(tmp_path).step == 20


def test_progress_counts_from_anew(tmp_path):
    for at in (2, 3, 6, 7, 7, 10, 11, 11):  # saved are 4 and 8
        fail(tmp_path, at=at)
    assert run(tmp_path).resumed_step == 8


def test_a_run_that_ended_may_be_started_as_often_as_one_likes(tmp_path):
    for _ in range(6):
        assert run(tmp_path).step == 20
    assert read(tmp_path / NAME).starts == 6


def test_a_person_at_the_keyboard_is_not_counted(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    for _ in range(5):
        with monkeypatch.context() as patched:
            patched.setattr(hpcad.Trainer, "_loop", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path)
    assert run(tmp_path).step == 20


def test_other_settings_count_from_anew(tmp_path):
    for _ in range(3):
        fail(tmp_path, at=2)
    fail(tmp_path, at=2, batch=40)
    for _ in range(2):
        fail(tmp_path, at=2, description={"name": "changed"}, batch=40)


def test_a_run_that_is_always_told_to_begin_at_the_same_step_is_refused(tmp_path):
    fail(tmp_path, at=10)  # 4 and 8 are saved
    old = tmp_path / "checkpoints" / "step-00000004"
    for _ in range(3):  # an earlier step than the last start is no sign of standing still
        fail(tmp_path, at=6, resume=old)
    with pytest.raises(NoProgressError, match="at step 4"):
        run(tmp_path, resume=old)


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_a_damaged_newest_checkpoint_is_no_progress(tmp_path):
    fail(tmp_path, at=10)  # 4 and 8 are saved
    for _ in range(3):
        fail(tmp_path, at=14)  # from 8, and 12 is saved
        (tmp_path / "checkpoints" / "step-00000012" / "manifest.json").write_text("{}")
    with pytest.raises(NoProgressError, match="at step 8"):
        run(tmp_path)


@pytest.mark.parametrize("tries", [1, 2])
def test_how_often_is_a_setting(tmp_path, tries):
    for _ in range(tries):
        fail(tmp_path, at=2, limits=Limits(tries=tries))
    with pytest.raises(NoProgressError):
        run(tmp_path, limits=Limits(tries=tries))
    for _ in range(5):
        fail(tmp_path, at=2, limits=Limits(tries=None))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"starts": "many", "step": 0, "in_vain": 0, "restarts": 0, "settings": "", "job": ""}',
        '{"starts": 1, "step": -7, "in_vain": 0, "restarts": 0, "settings": "", "job": ""}',
        '{"starts": 1, "step": 0, "in_vain": 0, "restarts": 0, "settings": null, "job": ""}',
        "\udcff",
    ],
)
def test_a_damaged_record_loses_nothing(tmp_path, capsys, text):
    fail(tmp_path, at=10)
    (tmp_path / NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run(tmp_path).resumed_step == 8
    assert "cannot be read" in capsys.readouterr().err
    assert json.loads((tmp_path / NAME).read_text())["starts"] == 1


def test_a_record_that_cannot_be_written_loses_nothing(tmp_path, capsys):
    fail(tmp_path, at=10)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    assert run(tmp_path).resumed_step == 8
    err = capsys.readouterr().err
    assert "cannot be read" in err
    assert "cannot be written" in err
    assert not list(tmp_path.glob(f".{NAME}*"))


def test_without_a_directory_or_saving_nothing_is_noted(tmp_path):
    run(None)
    run(tmp_path, saving=False)
    assert not (tmp_path / NAME).exists()


def test_the_record_names_the_job_of_slurm(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    fail(tmp_path, at=10)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(tmp_path)
    assert "start 2 of this run (job 12_3, restart 1)" in capsys.readouterr().out
    record = read(tmp_path / NAME)
    assert (record.job, record.restarts) == ("12_3", 1)


def test_the_error_has_an_exit_code_of_its_own():
    codes = {error: error.exit_code for error in HpcadError.__subclasses__()}
    assert codes.pop(NoProgressError) == 14
    assert not {14, 13, OUT_OF_TIME} & set(codes.values())


def test_start_counts():
    first = Start(0, -1, 0, "a").next(0, "a", {}, chosen=False)
    assert (first.starts, first.step, first.in_vain) == (1, 0, 0)
    second = first.next(0, "a", {}, chosen=False)
    assert (second.starts, second.step, second.in_vain) == (2, 0, 1)
    assert second.next(5, "a", {}, chosen=False).in_vain == 0
    back = second.next(5, "a", {}, chosen=False).next(3, "a", {}, chosen=False)
    assert (back.step, back.in_vain) == (5, 1)
