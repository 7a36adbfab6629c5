"""The job file: what a user submits, as one validated dataclass."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from hpcad.errors import ConfigError
from hpcad.training.job_fields import Place, bounded, build, plain, suggestion
from hpcad.training.job_sections import (
    CheckpointSection,
    DataSection,
    OptimizerSection,
    OutputSection,
    ParallelSection,
    ScheduleSection,
    TrainingSection,
)
from hpcad.training.job_source import JobSource

__all__ = [
    "CheckpointSection",
    "DataSection",
    "Job",
    "ModelSection",
    "OptimizerSection",
    "OutputSection",
    "ParallelSection",
    "ScheduleSection",
    "TrainingSection",
    "load_job",
]


@dataclass(frozen=True)
class ModelSection:
    """A model's `kind`, and `config`: an instance of that model's configuration dataclass."""

    kind: str
    config: Any

    def __getitem__(self, key: str) -> Any:
        return self.kind if key == "kind" else getattr(self.config, key)


@dataclass(frozen=True)
class Job:
    """One training job. Made by `load_job` from a file or by `Job.from_dict` from plain values."""

    name: str
    model: ModelSection
    data: DataSection
    optimizer: OptimizerSection
    training: TrainingSection
    seed: int = bounded(0, at_least=0, below=2**63)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    checkpoint: CheckpointSection = field(default_factory=CheckpointSection)
    parallel: ParallelSection = field(default_factory=ParallelSection)
    output: OutputSection = field(default_factory=OutputSection)

    def __post_init__(self) -> None:
        if not self.name.strip() or "/" in self.name or self.name.startswith("."):
            raise ValueError(f"name must be a word that can name a directory, not {self.name!r}")
        directory = self.output.directory.replace("<name>", self.name)
        output = dataclasses.replace(self.output, directory=directory)
        object.__setattr__(self, "output", output)  # the dataclass is frozen

    def to_dict(self) -> dict[str, Any]:
        """Return the job as JSON values; `Job.from_dict` reads them."""
        result = plain(self)
        result["model"] = {"kind": self.model.kind, **plain(self.model.config)}
        return result

    @staticmethod
    def from_dict(table: Mapping[str, Any], models: Mapping[str, type]) -> Job:
        """Make a job from what `to_dict` returned, with the same checks as a job file."""
        return _build_job(table, models, lambda path: "job")

    def hash(self) -> str:
        """Return 32 hexadecimal digits that name this job's settings."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return xxhash.xxh3_128_hexdigest(text.encode())


def load_job(path: str | Path, overrides: Sequence[str] = (), *, models: Mapping[str, type]) -> Job:
    """Read and validate a job file.

    Parameters
    ----------
    path
        A TOML file.
    overrides
        "section.key=value" with TOML values; a bare word is a string, `none` is no value.
    models
        Kind of a model -> its configuration dataclass.

    Raises
    ------
    ConfigError
        One sentence with file and line: no such file, not TOML, an unknown section or key (with
        the nearest one), a wrong type, a value out of range, a dataset that does not exist.
    """
    source = JobSource(path, overrides)
    job = _build_job(source.table, models, source.place)
    _check_dataset("train", job.data.train, source.place)
    if job.data.test is not None:
        _check_dataset("test", job.data.test, source.place)
    return job


def _build_job(table: Mapping[str, Any], models: Mapping[str, type], place: Place) -> Job:
    sections = {f.name: f for f in dataclasses.fields(Job)}
    for key, value in table.items():
        if key not in sections and isinstance(value, Mapping):
            known = [name for name in sections if name not in ("name", "seed")]
            near = suggestion(key, known, form="[{}]")
            raise ConfigError(f"{place((key,))}: there is no section [{key}]; {near}")
    if not isinstance(table.get("model", {}), Mapping):
        raise ConfigError(f"{place(('model',))}: model must be a section with a kind")
    model = _build_model(table["model"], models, place) if "model" in table else None
    # `build` would descend into [model] by its annotation; its schema depends on its kind.
    return build(Job, {**table, "model": model} if model else table, (), place)


def _build_model(
    table: Mapping[str, Any], models: Mapping[str, type], place: Place
) -> ModelSection:
    kind = table.get("kind")
    known = ", ".join(repr(name) for name in models)
    if kind is None:
        raise ConfigError(f"{place(('model',))}: [model] lacks the key 'kind', one of {known}")
    if not isinstance(kind, str) or kind not in models:
        near = suggestion(str(kind), list(models))
        raise ConfigError(f"{place(('model', 'kind'))}: there is no model {kind!r}; {near}")
    settings = {key: value for key, value in table.items() if key != "kind"}
    return ModelSection(kind, build(models[kind], settings, ("model",), place))


def _check_dataset(key: str, value: str, place: Place) -> None:
    if not value.startswith("builtin:") and not Path(value).exists():
        raise ConfigError(
            f"{place(('data', key))}: [data] {key}: there is no dataset {value!r} (relative paths "
            f"start from the current directory, {Path.cwd()}); `hpcad data pack` makes datasets"
        )
