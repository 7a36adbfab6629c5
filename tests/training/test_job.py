"""The job file: what it accepts, and the one sentence for each way to get it wrong."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from hpcad.errors import ConfigError
from hpcad.training.job import Job, load_job
from hpcad.training.job_source import key_lines, parse_value


@dataclass(frozen=True)
class Net:
    """A model's configuration, with every kind of annotation that a section may use."""

    hidden: tuple[int, ...] = (64,)
    activation: Literal["relu", "tanh"] = "relu"
    dropout: float = 0.0
    limits: tuple[float, float] | None = None
    names: dict[str, int] = dataclasses.field(default_factory=dict)
    sizes: list[float] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.hidden:
            raise ValueError("hidden must name at least one layer")


@dataclass(frozen=True)
class Bare:
    width: int


MODELS = {"net": Net, "bare": Bare}

TEXT = """\
name = "digits"
seed = 3

[model]
kind = "net"
hidden = [
  64,
  32,
]

[data]
train = "builtin:digits/train"
batch = 32

[optimizer]
kind = "sgd"
learning_rate = 1

[training]
epochs = 3
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes the job file with some text replaced, and loads it."""
    monkeypatch.chdir(tmp_path)

    def load(old: str = "", new: str = "", *overrides: str) -> Job:
        assert old in TEXT
        Path("digits.toml").write_text(TEXT.replace(old, new, 1) if old else TEXT)
        return load_job("digits.toml", overrides, models=MODELS)

    return load


def test_values_and_defaults(write):
    job = write()
    assert (job.name, job.seed) == ("digits", 3)
    assert job.model.kind == "net"
    assert job.model.config == Net(hidden=(64, 32))
    assert job.model["hidden"] == (64, 32)
    assert job.model["kind"] == "net"
    assert (job.data.batch, job.data.shuffle, job.data.test) == (32, True, None)
    assert job.optimizer.betas == (0.9, 0.999)
    assert job.schedule.kind == "constant"
    assert job.checkpoint.keep == 2
    assert job.output.directory == "runs/digits"


def test_a_whole_number_is_taken_as_float(write):
    rate = write().optimizer.learning_rate
    assert (rate, type(rate)) == (1.0, float)


def test_round_trip_through_json(write):
    job = write("", "", "model.limits=[0, 1]", "model.names={a=1}", "data.test=builtin:digits/test")
    table = json.loads(json.dumps(job.to_dict()))
    assert Job.from_dict(table, MODELS) == job
    assert Job.from_dict(table, MODELS).hash() == job.hash()


def test_hash_names_the_settings(write):
    hashes = {write("", "", override).hash() for override in ("seed=3", "seed=4", "data.batch=9")}
    assert len(hashes) == 3
    assert write().hash() in hashes
    assert all(len(value) == 32 for value in hashes)


def test_overrides(write):
    job = write(
        "",
        "",
        "training.dtype=float64",
        "model.hidden=[1, 2]",
        "optimizer.clip_norm=none",
        "schedule.kind='cosine'",
        "output.directory=/scratch/<name>/a=b",
        "data.scale=0.0625",
    )
    assert job.training.dtype == "float64"
    assert job.model.config.hidden == (1, 2)
    assert job.optimizer.clip_norm is None
    assert job.schedule.kind == "cosine"
    assert job.output.directory == "/scratch/digits/a=b"
    assert job.data.scale == 0.0625


def test_the_kind_of_model_decides_its_keys(write):
    job = write('kind = "net"\nhidden = [\n  64,\n  32,\n]', 'kind = "bare"\nwidth = 4')
    assert job.model.config == Bare(4)


# What is replaced, by what, and the whole message.
WRONG = {
    "key": (
        "learning_rate",
        "learning_rat",
        "digits.toml:17: [optimizer] has no key 'learning_rat'; did you mean 'learning_rate'?",
    ),
    "key without a near one": (
        "epochs",
        "zzz",
        "digits.toml:20: [training] has no key 'zzz'; known: 'epochs', 'steps', 'dtype', "
        "'precision', 'loss_scale', 'loss_scale_interval', "
        "'device', 'log_every', 'evaluate_every', 'evaluate_batch', 'accumulate', 'compile'",
    ),
    "section": (
        "[optimizer]",
        "[optimiser]",
        "digits.toml:15: there is no section [optimiser]; did you mean [optimizer]?",
    ),
    "top-level key": (
        "seed",
        "sed",
        "digits.toml:2: the top level of the job file has no key 'sed'; did you mean 'seed'?",
    ),
    "key of the model": (
        "hidden",
        "hiden",
        "digits.toml:6: [model] has no key 'hiden'; did you mean 'hidden'?",
    ),
    "kind of model": (
        '"net"',
        '"nett"',
        "digits.toml:5: there is no model 'nett'; did you mean 'net'?",
    ),
    "no kind of model": (
        'kind = "net"\n',
        "",
        "digits.toml:4: [model] lacks the key 'kind', one of 'net', 'bare'",
    ),
    "model is no section": (
        '[model]\nkind = "net"\n',
        "model = 3\n",
        None,
    ),
    "kind of optimizer": (
        '"sgd"',
        '"adm"',
        "digits.toml:16: [optimizer] kind must be one of 'sgd', 'rmsprop', 'adam', 'adamw', "
        "not the string 'adm'; did you mean 'adam'?",
    ),
    "string for number": (
        "= 1\n",
        '= "fast"\n',
        "digits.toml:17: [optimizer] learning_rate must be a number, not the string 'fast'",
    ),
    "bool for int": (
        "batch = 32",
        "batch = true",
        "digits.toml:13: [data] batch must be a whole number, not true",
    ),
    "float for int": (
        "batch = 32",
        "batch = 32.0",
        "digits.toml:13: [data] batch must be a whole number, not 32.0",
    ),
    "int for bool": (
        "batch = 32",
        "shuffle = 1",
        "digits.toml:13: [data] shuffle must be true or false, not 1",
    ),
    "item of a list": (
        "  32,",
        "  3.5,",
        "digits.toml:6: [model] hidden (item 2) must be a whole number, not 3.5",
    ),
    "length of a list": (
        "= 1\n",
        "= 1\nbetas = [0.9]\n",
        "digits.toml:18: [optimizer] betas must be a list of 2 values, not 1",
    ),
    "table for number": (
        "batch = 32",
        "batch = {a = 1}",
        "digits.toml:13: [data] batch must be a whole number, not a table",
    ),
    "value for section": (
        "[training]\nepochs = 3",
        "",
        "digits.toml: the top level of the job file lacks the key 'training'",
    ),
    "negative": (
        "= 1\n",
        "= -1\n",
        "digits.toml:17: [optimizer] learning_rate must be above 0, not -1.0",
    ),
    "zero batch": (
        "batch = 32",
        "batch = 0",
        "digits.toml:13: [data] batch must be at least 1, not 0",
    ),
    "beta of 1": (
        "= 1\n",
        "= 1\nbetas = [0.9, 1]\n",
        "digits.toml:18: [optimizer] betas must be at least 0 and below 1, not 1.0",
    ),
    "not finite": (
        "= 1\n",
        "= nan\n",
        "digits.toml:17: [optimizer] learning_rate must be finite, not nan",
    ),
    "no length": (
        "epochs = 3",
        "",
        "digits.toml:19: [training]: give the length of the training: epochs, or steps, or both",
    ),
    "a model's own rule": (
        "hidden = [\n  64,\n  32,\n]",
        "hidden = []",
        "digits.toml:4: [model]: hidden must name at least one layer",
    ),
    "missing key": (
        "learning_rate = 1\n",
        "",
        "digits.toml:15: [optimizer] lacks the key 'learning_rate'",
    ),
    "keep of 1": (
        "epochs = 3",
        "epochs = 3\n[checkpoint]\nkeep = 1",
        "digits.toml:22: [checkpoint] keep must be at least 2, not 1",
    ),
    "name with a slash": (
        '"digits"',
        '"a/b"',
        None,
    ),
    "syntax": (
        "[data]",
        "[data",
        "digits.toml:11: this is not valid TOML: Expected ']' at the end of a table declaration",
    ),
    "repeated key": (
        "batch = 32",
        "batch = 32\nbatch = 64",
        None,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(write, name):
    old, new, message = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        write(old, new)
    if message is not None:
        assert str(caught.value) == message
    assert str(caught.value).startswith("digits.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch", "--set takes section.key=value, such as training.epochs=3, not 'batch'"),
        (".a=1", "--set takes section.key=value, such as training.epochs=3, not '.a=1'"),
        (
            "training.epochs=many",
            "--set training.epochs=many: [training] epochs must be a whole number, "
            "not the string 'many'",
        ),
        (
            "optimizer.learning_rte=1",
            "--set optimizer.learning_rte=1: [optimizer] has no key 'learning_rte'; "
            "did you mean 'learning_rate'?",
        ),
        ("name.x=1", "--set name.x=1: 'name' is a value, not a section"),
        ("trainig.epochs=1", "--set trainig.epochs=1: there is no section [trainig]; "
         "did you mean [training]?"),
        ("schedule.warmup=-1", "--set schedule.warmup=-1: [schedule] warmup must be at least 0, "
         "not -1"),
    ],
)  # fmt: skip
def test_wrong_overrides(write, override, message):
    with pytest.raises(ConfigError) as caught:
        write("", "", override)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.nesterov=true"], "nesterov needs a momentum"),
        (["schedule.warmup=5", "schedule.steps=5"], "must be less than steps"),
        (["data.stride=2"], "stride belongs to window"),
        (["data.std=0"], "above 0"),
        (["training.device=tpu"], "one of 'auto', 'cpu', 'gpu'"),
        (["training.dtype=float16"], "did you mean 'float64'|one of 'float32', 'float64'"),
        (["parallel.bucket_mb=0"], "above 0"),
        (["seed=-1"], "at least 0"),
    ],
)
def test_rules_of_sections(write, overrides, message):
    with pytest.raises(ConfigError, match=message):
        write("", "", *overrides)


def test_a_missing_dataset_says_where_it_was_looked_for(write, tmp_path):
    with pytest.raises(ConfigError) as caught:
        write("builtin:digits/train", "data/mnist")
    assert str(caught.value) == (
        "digits.toml:12: [data] train: there is no dataset 'data/mnist' (relative paths start "
        f"from the current directory, {tmp_path}); `hpcad data pack` makes datasets"
    )
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    assert write("builtin:digits/train", "data/mnist").data.train == "data/mnist"


def test_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no job file absent\.toml \(relative paths"):
        load_job("absent.toml", models=MODELS)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "job.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_job(path, models=MODELS)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_job(tmp_path, models=MODELS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("3.5", 3.5), ("true", True), ("[1, 2]", [1, 2]), ("'a b'", "a b"),
        ("float64", "float64"), ("runs/x y", "runs/x y"), ("", ""),
        ("1\nother = 2", "1\nother = 2"),
        ("{a = 1}", {"a": 1}), ("True", "True"),
    ],
)  # fmt: skip
def test_parse_value(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_lines_of_keys():
    text = '''\
a = 1
b.c = 2
"quoted" = 3

[s]
text = """
x = 1
[no.section]
"""
y = 2
z = """one line"""
[s.sub]
k = [
  1,
]
[[many]]
m = 1
'''
    lines = key_lines(text)
    assert lines[("a",)] == 1
    assert lines[("b",)] == lines[("b", "c")] == 2
    assert lines[("quoted",)] == 3
    assert lines[("s",)] == 5
    assert lines[("s", "text")] == 6
    assert ("no", "section") not in lines
    assert ("s", "x") not in lines
    assert lines[("s", "y")] == 10
    assert lines[("s", "z")] == 11
    assert lines[("s", "sub")] == 12
    assert lines[("s", "sub", "k")] == 13
    assert lines[("many", "m")] == 17
