"""The workload of a study: made samples of known times come back as lines of the batch."""

from __future__ import annotations

import numpy as np
import pytest
from machines import machine

from hpcad.errors import DataError
from hpcad.scaling.simulation.measured import measured
from hpcad.scaling.simulation.prediction import Request
from hpcad.scaling.simulation.simulate import simulate
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import Samples, write_samples


def write_run(folder, ranks, batch, *, sweep="strong", control="none", noise=0.0, seed=0):
    """Forward 1 ms + 0.1 ms a sample, backward twice that, update 3 ms."""
    rng = np.random.default_rng(seed)
    local = batch / ranks
    scale = 1 + noise * rng.standard_normal((ranks, 200))
    phases = {
        "forward": scale * (1e-3 + 1e-4 * local),
        "backward": scale * (2e-3 + 2e-4 * local),
        "optimizer": scale * 3e-3,
    }
    point = Point(sweep, ranks, batch, control=control)
    facts = {"buckets": [1000, 3000] if ranks > 1 else [4000], "parameters": 1000}
    run = Samples(
        point, seed, sum(phases.values()), phases, np.zeros((ranks, 200)),
        np.zeros((ranks, 200)), warmup=10, facts=facts,
    )  # fmt: skip
    write_samples(folder / "samples" / f"{run.name}.h5", run)


def test_phases_are_lines_of_the_batch(tmp_path):
    for batch in (32, 64, 128):
        write_run(tmp_path, 1, batch)
    write_run(tmp_path, 4, 128)
    found = measured(tmp_path)
    load, device = found.workload, found.device
    forward, backward, update = load.seconds(device, 16)
    assert forward.sum() == pytest.approx(1e-3 + 16e-4)
    assert backward.sum() == pytest.approx(2e-3 + 32e-4)
    assert update.sum() == pytest.approx(3e-3)
    # The messages are those of several ranks: a quarter of the bytes after a quarter of the time.
    assert [g.nbytes for g in load.gradients] == [1000, 3000]
    assert backward[0] / backward.sum() == pytest.approx(0.25)


def test_one_batch_is_taken_as_proportional(tmp_path):
    write_run(tmp_path, 1, 64)
    load = measured(tmp_path).workload
    assert load.forward.flops[0].tolist() == pytest.approx([0.0, (1e-3 + 64e-4) / 64])
    assert "fitted to 1 runs at 1 rank, batches of 64" in load.notes[0]


def test_the_noise_is_measured(tmp_path):
    write_run(tmp_path, 1, 64, noise=0.03)
    assert measured(tmp_path).noise.sigma == pytest.approx(0.03, rel=0.2)


def test_controls_and_refused_runs_are_left_out(tmp_path):
    write_run(tmp_path, 2, 64)
    write_run(tmp_path, 1, 64, control="synthetic data")
    write_run(tmp_path / "refused", 1, 64)
    write_run(tmp_path, 1, 32)
    alone = tmp_path / "samples" / "strong-p1-b32-r0.h5"
    alone.rename(alone.with_name("reference-strong-p1-b32-r0.h5"))
    assert "at 2 ranks" in measured(tmp_path).workload.notes[0]


def test_a_study_can_be_simulated(tmp_path):
    write_run(tmp_path, 1, 64)
    found = measured(tmp_path)
    made = machine((8, 1e-6, 1e9))
    made = type(made)(**{**vars(made), "device": found.device})
    one, two = simulate(found.workload, made, [1, 2], Request("strong", 64))
    assert one.step == pytest.approx(7.4e-3 + 14.8e-3 + 3e-3)
    assert two.compute == pytest.approx(3.7e-3 + 7.4e-3 + 3e-3)


def test_a_folder_without_samples(tmp_path):
    with pytest.raises(DataError, match="run it first with `hpcad scaling run`"):
        measured(tmp_path)
