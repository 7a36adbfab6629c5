"""The plan of a study: which runs there are, and in which order; a pure function of the study.

The runs come in rounds: each has every point once, in an order of its own. So the order is random,
a machine that drifts does so for all points alike, and a study that is cut short has about as many
repetitions of each point. Every repetition is a start of its own: steps of one run are not
independent of each other, and starts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcad.errors import ConfigError
from hpcad.scaling.study.point import Point, Sweep
from hpcad.scaling.study.study import Study


@dataclass(frozen=True)
class Run:
    """One start of a point.

    Attributes
    ----------
    point : Point
    repeat : int
        From 0.
    reference : bool
        Whether it only tells which losses are right, and is not timed.
    """

    point: Point
    repeat: int = 0
    reference: bool = False

    @property
    def name(self) -> str:
        """Of its files."""
        return "reference-" * self.reference + f"{self.point.name}-r{self.repeat}"


def points(study: Study) -> list[Point]:
    """All points of a study, by sweeps.

    Raises
    ------
    DataError
        A batch is too small for its ranks.
    """
    plain = [*_strong(study), *_weak(study), *_batch(study), *_model(study)]
    controlled = [
        replace(point, control=control)
        for control in dict.fromkeys(study.controls)
        if control != "none"
        for point in plain
        # One rank has nothing to communicate.
        if control != "communication off" or point.ranks > 1
    ]
    return [*plain, *controlled]


def references(study: Study) -> list[Point]:
    """For every global batch and model, the same on few ranks: what is right.

    Raises
    ------
    ConfigError
        The ranks of the references are too many for a batch.
    """
    few, found = study.correctness.ranks, dict[Point, None]()
    for point in points(study):
        if point.batch < few:
            raise ConfigError(
                f"{point.name} cannot be checked: its batch of {point.batch} cannot be divided "
                f"among the {few} ranks of its reference; lower [correctness] ranks"
            )
        reference = checked_by(Run(point), few)
        if reference is not None:
            found[reference.point] = None
    return list(found)


def reference_of(point: Point, ranks: int = 1) -> Point | None:
    """The run whose losses a point must have.

    Without communication there is none: every rank then trains on its own part of the data.
    """
    if point.control == "communication off":
        return None
    sweep: Sweep = "model" if point.variant else "strong"
    return replace(point, sweep=sweep, ranks=ranks)


def checked_by(run: Run, few: int) -> Run | None:
    """The reference that a run is compared with; None where there is none.

    Parameters
    ----------
    few : int
        Ranks of references.
    """
    if run.reference or run.point.ranks == few:
        return None
    point = reference_of(run.point, few)
    return None if point is None else Run(point, reference=True)


def order(study: Study) -> list[Run]:
    """All runs: the references first, then the rounds."""
    found, generator = points(study), np.random.default_rng(study.seed)
    rounds = [
        Run(found[index], repeat)
        for repeat in range(study.repeats)
        for index in generator.permutation(len(found))
    ]
    return [*(Run(point, reference=True) for point in references(study)), *rounds]


def _strong(study: Study) -> Iterator[Point]:
    if study.strong is not None:
        for ranks in _ranks(study, study.strong.ranks):
            yield Point("strong", ranks, study.strong.batch)


def _weak(study: Study) -> Iterator[Point]:
    if study.weak is not None:
        for ranks in _ranks(study, study.weak.ranks):
            yield Point("weak", ranks, study.weak.batch * ranks)


def _batch(study: Study) -> Iterator[Point]:
    if study.batch is not None:
        for batch in sorted(set(study.batch.batches)):
            yield Point("batch", study.batch.ranks, batch)


def _model(study: Study) -> Iterator[Point]:
    if study.model is not None:
        for variant, settings in study.model.variants.items():
            sweep = study.model
            yield Point("model", sweep.ranks, sweep.batch, variant, overrides=tuple(settings))


def _ranks(study: Study, listed: Sequence[int]) -> list[int]:
    """The ranks of a sweep, with its base cases: one process, and on several nodes one node."""
    found = set(listed)
    if study.base_cases:
        found.add(1)
        node = study.launch.ranks_per_node
        if node is not None and max(listed, default=1) > node:
            found.add(node)
    return sorted(found)
