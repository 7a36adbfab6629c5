"""Study files: what is read, and what is refused with file and line."""

from __future__ import annotations

import pytest
from study_files import JOB, STUDY, write_study

from hpcad.errors import ConfigError
from hpcad.scaling.study.study import load_study

SWEEPS = '[batch]\nbatches = [8]\nranks = 2\n[model]\nbatch = 8\nranks = 2\nvariants.a = ["seed=2"]'


def test_a_study_is_read(tmp_path):
    loaded = load_study(write_study(tmp_path, f"{STUDY}\n{SWEEPS}"))
    study = loaded.study
    assert (study.name, study.repeats, study.steps, study.warmup) == ("small", 2, 12, 3)
    assert study.strong.ranks == [1, 2]
    assert study.weak is None
    assert study.batch.batches == [8]
    assert loaded.job.model.kind == "mlp"
    assert loaded.job_with(["seed=2"]).seed == 2


def test_overrides_of_the_job_and_of_the_study_apply(tmp_path):
    text = STUDY.replace("repeats = 2", 'repeats = 2\noverrides = ["model.hidden=[8]"]')
    loaded = load_study(write_study(tmp_path, text), ["repeats=7"])
    assert loaded.study.repeats == 7
    assert loaded.job.model["hidden"] == [8]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("repeats = 2", "repeat = 2", r"study.toml:3: .* level of the study has no key 'repeat'"),
        ("repeats = 2", "repeats = 0", r"study.toml:3: repeats must be at least 1, not 0"),
        ("warmup = 3", "warmup = 12", r"warmup \(12\) must be less than steps \(12\)"),
        ("[strong]", "[stong]", r"study.toml:7: .* no section \[stong\]; did you mean \[strong\]"),
        ("ranks = [1, 2]", 'ranks = "2"', r"study.toml:9: \[strong\] ranks must be a list"),
        ("ranks = [1, 2]", "ranks = [0]", r"study.toml:9: \[strong\] ranks must be at least 1"),
        ('job = "small.toml"', 'job = "x.toml"', r"study.toml:2: there is no job file .*x.toml"),
        ('name = "small"', 'name = "a/b"', r"name must be a word"),
        ("repeats = 2", 'controls = ["communication of"]', r"study.toml:3: controls .*must be one"),
        ("[launch]", '[launch]\nlauncher = "slurm"', r"needs a site"),
        ("[launch]", "[correctness]\nsteps = 99\n[launch]", r"steps \(99\) is more than the 12"),
        ("[strong]\nbatch = 64\nranks = [1, 2]", "", r"nothing is varied"),
        ("batch = 64", "batch = 1", r"study.toml:9: \[strong\] a batch of 1 cannot be divided"),
        ("ranks = [1, 2]", "ranks = []", r"study.toml:9: \[strong\] ranks is empty"),
        ("[strong]", "strong = 3\n[weak]", r"strong must be a section"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path, old, new, message):
    assert STUDY.count(old) == 1
    with pytest.raises(ConfigError, match=message):
        load_study(write_study(tmp_path, STUDY.replace(old, new)))


def test_a_mistake_in_the_job_names_the_job_file(tmp_path):
    path = write_study(tmp_path, job=JOB.replace("seed", "sed"))
    with pytest.raises(ConfigError, match=r"small.toml:2: .* did you mean 'seed'"):
        load_study(path)


def test_a_mistake_in_a_variant_is_found_before_anything_runs(tmp_path):
    text = f"{STUDY}\n{SWEEPS.replace('seed=2', 'model.width=2')}"
    with pytest.raises(ConfigError, match=r"study.toml:\d+: variant 'a': .*'width'"):
        load_study(write_study(tmp_path, text))


def test_a_missing_file_is_a_missing_study(tmp_path):
    with pytest.raises(ConfigError, match="there is no study file"):
        load_study(tmp_path / "none.toml")


def test_the_hash_tells_what_samples_have_in_common(tmp_path):
    path = write_study(tmp_path)
    same = ["repeats=9", "launch.timeout=5", "strong.ranks=[1, 2, 4]"]
    first = load_study(path).hash
    assert all(load_study(path, [override]).hash == first for override in same)
    other = ["steps=14", "warmup=4", "launch.threads=2", 'overrides=["seed=2"]']
    assert len({first, *(load_study(path, [override]).hash for override in other)}) == 5
