"""What a run measured comes back from its file; what does not fit is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hpcad.errors import DataError
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples, read_samples, write_samples

POINT = Point("strong", ranks=2, batch=8, overrides=("model.hidden=[8]",))


def samples(**changed):
    rng = np.random.default_rng(3)
    made = {name: rng.random((2, 5)) for name in ("seconds", "communication", "losses")}
    phases = {"forward": rng.random((2, 5)), "backward": rng.random((2, 5))}
    given = {**made, "phases": phases, "warmup": 2, "facts": {"hosts": ["a", "b"]}}
    return Samples(POINT, 1, **{**given, **changed})


def test_samples_come_back(tmp_path):
    path = tmp_path / "runs" / "one.h5"
    written = samples()
    write_samples(path, written)
    found = read_samples(path)
    assert (found.point, found.repeat, found.warmup) == (POINT, 1, 2)
    assert found.facts == {"hosts": ["a", "b"]}
    assert list(found.phases) == ["forward", "backward"]
    for name in ("seconds", "communication", "losses"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
    np.testing.assert_array_equal(found.phases["backward"], written.phases["backward"])
    assert [file.name for file in path.parent.iterdir()] == ["one.h5"]


def test_a_step_takes_what_its_slowest_rank_takes():
    seconds = np.array([[9.0, 1.0, 2.0], [9.0, 3.0, 1.0]])
    same = {name: np.ones((2, 3)) for name in ("communication", "losses")}
    found = samples(seconds=seconds, phases={}, warmup=1, **same)
    assert found.step_seconds.tolist() == [3.0, 2.0]
    assert found.loss.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seconds": np.ones((3, 5))}, "expected .ranks, steps. with 2 ranks"),
        ({"losses": np.ones((2, 4))}, "losses has the shape"),
        ({"phases": {"forward": np.ones((2, 4))}}, "forward has the shape"),
        ({"warmup": 5}, "leave none of 5 to be timed"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(DataError, match=message):
        samples(**changed)


def test_files_that_are_no_samples_are_refused(tmp_path):
    text, other, short = (tmp_path / name for name in ("a.h5", "b.h5", "c.h5"))
    text.write_text("not HDF5")
    with h5py.File(other, "w") as file:
        file["x"] = [1]
    write_samples(short, samples())
    with h5py.File(short, "r+") as file:
        del file["losses"]
    for path in (text, other, short):
        with pytest.raises(DataError, match=path.name):
            read_samples(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sweep": "sideways"}, "one of strong, weak"),
        ({"control": "lights off"}, "one of none, communication off"),
        ({"batch": 1}, "cannot be divided among 2 ranks"),
        ({"variant": "../up"}, "file names"),
    ],
)
def test_points_that_cannot_be_are_refused(given, message):
    with pytest.raises(DataError, match=message):
        Point(**{"sweep": "strong", "ranks": 2, "batch": 8, **given})


def test_names_tell_points_apart():
    points = [POINT, Point("weak", 2, 8), Point("strong", 2, 8, control="communication off")]
    points += [Point("model", 2, 8, "wide"), Point("strong", 4, 8), Point("strong", 2, 16)]
    assert len({point.name for point in points}) == len(points)
    assert Point.from_dict(POINT.to_dict()) == POINT
    with pytest.raises(DataError, match="no point of a study"):
        Point.from_dict({"sweep": "strong"})
