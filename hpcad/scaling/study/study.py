"""The study file: what is varied, how often it is repeated, and how it is started."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import xxhash

from hpcad.errors import ConfigError
from hpcad.models import REGISTRY
from hpcad.scaling.study.point import Control
from hpcad.training.job import Job, load_job
from hpcad.training.job_fields import bounded, build, plain, suggestion
from hpcad.training.job_source import JobSource

_WORD = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class StrongSection:
    """Strong scaling: the global `batch` stays, the ranks grow."""

    batch: int = bounded(at_least=1)
    ranks: list[int] = bounded(at_least=1)


@dataclass(frozen=True)
class WeakSection:
    """Weak scaling: the `batch` of a rank stays, the ranks grow."""

    batch: int = bounded(at_least=1)
    ranks: list[int] = bounded(at_least=1)


@dataclass(frozen=True)
class BatchSection:
    """Several global `batches` at fixed `ranks`."""

    batches: list[int] = bounded(at_least=1)
    ranks: int = bounded(at_least=1)


@dataclass(frozen=True)
class ModelSweepSection:
    """Several models at fixed `ranks` and global `batch`: name -> settings of the job."""

    batch: int = bounded(at_least=1)
    ranks: int = bounded(at_least=1)
    variants: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.variants:
            raise ValueError("variants lists no model; say variants.small = ['model.hidden=[32]']")
        for name in self.variants:
            if not _WORD.fullmatch(name):
                raise ValueError(f"the variant {name!r} becomes a part of file names; use a word")


@dataclass(frozen=True)
class CorrectnessSection:
    """When a point is right: its first `steps` losses are those of few ranks.

    `tolerance` is relative. `ranks` is how many the reference has: one, unless a single process
    could not hold the global batch.
    """

    steps: int = bounded(5, at_least=1)
    tolerance: float = bounded(1e-3, above=0)
    ranks: int = bounded(1, at_least=1)


@dataclass(frozen=True)
class LaunchSection:
    """How runs are started.

    `threads` are those of a rank: one, or under Slurm what the site says, when left out. With
    `pin` the ranks of one machine get cores of their own, where there are enough. `timeout`
    (seconds) ends a run that hangs. The other keys belong to Slurm (see
    :mod:`hpcad.launch.batch`); `job` says whether all repetitions of a point share a job, each
    with a start of its own, or each has a job.
    """

    launcher: Literal["mpirun", "slurm"] = "mpirun"
    threads: int | None = bounded(None, at_least=1)
    pin: bool = True
    timeout: float = bounded(300.0, above=0)
    site: str | None = None
    ranks_per_node: int | None = bounded(None, at_least=1)
    time: str = "00:30:00"
    account: str | None = None
    partition: str | None = None
    job: Literal["point", "repeat"] = "point"


@dataclass(frozen=True)
class StudyOutputSection:
    """Where the study's files go; ``<name>`` stands for its name."""

    directory: str = "runs/scaling/<name>"


@dataclass(frozen=True)
class Study:
    """A scaling study. Made by `load_study`.

    Attributes
    ----------
    job : str
        The job file; a relative path begins at the study file.
    overrides : list of str
        Settings of the job, as for ``--set``.
    repeats : int
        Independent starts of every point; six are the fewest with a 95 % interval of the median.
    steps, warmup : int
        Steps of a run, and how many of them are not timed.
    seed : int
        Of the order in which the points run.
    controls : list
        Points to run once more without one of their parts; see
        :data:`~hpcad.scaling.study.point.Control`.
    checkpoint_every : int or None
        Steps between checkpoints; without it none is saved.
    base_cases : bool
        Whether one process, and on several nodes one full node, belong to a sweep over ranks
        although it does not list them.
    """

    name: str
    job: str
    overrides: list[str] = field(default_factory=list)
    repeats: int = bounded(6, at_least=1)
    steps: int = bounded(100, at_least=2)
    warmup: int = bounded(10, at_least=1)
    seed: int = bounded(0, at_least=0)
    controls: list[Control] = field(default_factory=list)
    checkpoint_every: int | None = bounded(None, at_least=1)
    base_cases: bool = True
    strong: StrongSection | None = None
    weak: WeakSection | None = None
    batch: BatchSection | None = None
    model: ModelSweepSection | None = None
    correctness: CorrectnessSection = field(default_factory=CorrectnessSection)
    launch: LaunchSection = field(default_factory=LaunchSection)
    output: StudyOutputSection = field(default_factory=StudyOutputSection)

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.name) or self.name.startswith("."):
            raise ValueError(f"name must be a word that can name a directory, not {self.name!r}")
        if self.warmup >= self.steps:
            raise ValueError(f"warmup ({self.warmup}) must be less than steps ({self.steps})")
        if self.correctness.steps > self.steps:
            raise ValueError(
                f"[correctness] steps ({self.correctness.steps}) is more than the {self.steps} "
                "steps of a run"
            )
        if all(sweep is None for sweep in (self.strong, self.weak, self.batch, self.model)):
            raise ValueError("nothing is varied; give a section [strong], [weak], [batch], [model]")
        if self.launch.launcher == "slurm" and self.launch.site is None:
            raise ValueError("[launch] launcher = 'slurm' needs a site, such as site = 'generic'")
        output = replace(self.output, directory=self.directory_name)
        object.__setattr__(self, "output", output)  # the dataclass is frozen

    @property
    def directory_name(self) -> str:
        """Where its files go."""
        return self.output.directory.replace("<name>", self.name)


@dataclass(frozen=True)
class LoadedStudy:
    """A study with its file and its job.

    Attributes
    ----------
    study : Study
    path : Path
    text : str
        Of the file.
    job : Job
        With the study's overrides.
    job_path : Path
    """

    study: Study
    path: Path
    text: str
    job: Job
    job_path: Path

    def job_with(self, overrides: Sequence[str]) -> Job:
        """The job of a variant."""
        if not overrides:
            return self.job
        return _load_job(self.job_path, [*self.study.overrides, *overrides])

    @property
    def hash(self) -> str:
        """Names what its runs have in common; samples of other hashes cannot be compared.

        What only adds runs to a study (repetitions, points, controls) or starts them otherwise
        (time limits, accounts) is left out.
        """
        study, launch = plain(self.study), plain(self.study.launch)
        kept = {key: study[key] for key in ("steps", "warmup", "checkpoint_every", "correctness")}
        kept |= {key: launch[key] for key in ("launcher", "threads", "pin", "site")}
        kept["job"] = self.job.to_dict()
        return xxhash.xxh3_128_hexdigest(json.dumps(kept, sort_keys=True).encode())


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> LoadedStudy:
    """Read and check a study file, and the job that it is about.

    Parameters
    ----------
    path
        A TOML file.
    overrides
        "section.key=value" of the study file.

    Raises
    ------
    ConfigError
        One sentence with file and line, as for job files.
    """
    source = JobSource(path, overrides, kind="study")
    _check_sections(source)
    try:
        study = build(Study, source.table, (), source.place)
    except ConfigError as error:  # `build` was written for job files
        raise ConfigError(
            str(error).replace("level of the job file", "level of the study")
        ) from error
    _check_batches(study, source)
    job_path = Path(path).parent / study.job
    if not job_path.is_file():
        raise ConfigError(
            f"{source.place(('job',))}: there is no job file {job_path} (a relative path begins at "
            "the study file)"
        )
    job = _load_job(job_path, study.overrides)
    text = Path(path).read_text(encoding="utf-8")
    loaded = LoadedStudy(study, Path(path), text, job, job_path)
    for name, settings in (study.model.variants if study.model else {}).items():
        try:
            loaded.job_with(settings)
        except ConfigError as error:
            place = source.place(("model", "variants", name))
            raise ConfigError(f"{place}: variant {name!r}: {error}") from error
    return loaded


def _load_job(path: Path, overrides: Sequence[str]) -> Job:
    return load_job(
        path, overrides, models={kind: entry.config for kind, entry in REGISTRY.items()}
    )


def _check_sections(source: JobSource) -> None:
    sections = ("strong", "weak", "batch", "model", "correctness", "launch", "output")
    for key, value in source.table.items():
        if isinstance(value, Mapping) and key not in sections:
            near = suggestion(key, sections, form="[{}]")
            raise ConfigError(f"{source.place((key,))}: a study has no section [{key}]; {near}")
        if key in sections and not isinstance(value, Mapping):
            raise ConfigError(f"{source.place((key,))}: {key} must be a section, [{key}]")


def _check_batches(study: Study, source: JobSource) -> None:
    """Every rank needs a sample of every batch."""
    sweeps = [
        ("strong", study.strong and (study.strong.batch, max(study.strong.ranks, default=0))),
        ("batch", study.batch and (min(study.batch.batches, default=0), study.batch.ranks)),
        ("model", study.model and (study.model.batch, study.model.ranks)),
    ]
    for name, found in sweeps:
        if found and found[0] < found[1]:
            raise ConfigError(
                f"{source.place((name, 'ranks'))}: [{name}] a batch of {found[0]} cannot be "
                f"divided among {found[1]} ranks; give every rank a sample or more"
            )
    for name in ("strong", "weak"):
        if getattr(study, name) is not None and not getattr(study, name).ranks:
            place = source.place((name, "ranks"))
            raise ConfigError(f"{place}: [{name}] ranks is empty; say ranks = [1, 2, 4]")


def to_dict(study: Study) -> dict[str, Any]:
    """As JSON can hold it."""
    return dict(plain(study))
