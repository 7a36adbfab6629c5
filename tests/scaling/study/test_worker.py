"""The worker in one process: what a point trains, and what is asked of it besides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_files import write_study

from hpcad.errors import DataError, LaunchError
from hpcad.models import REGISTRY
from hpcad.scaling.study.files import open_directory
from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.outcomes import Book
from hpcad.scaling.study.plan import Run
from hpcad.scaling.study.point import Point
from hpcad.scaling.study.samples import read_samples
from hpcad.scaling.study.study import load_study
from hpcad.scaling.study.worker import measured_job, run_point

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture
def orders(tmp_path):
    loaded = load_study(write_study(tmp_path))
    book = Book(loaded, open_directory(loaded))
    path = book.write_orders(Run(Point("strong", 1, 64)), threads=1, pin=False)
    return replace(Orders.read(path), steps=25, roofs=False)


def measured(orders):
    run_point(orders, REGISTRY)
    return read_samples(Path(orders.file))


def test_orders_are_what_the_study_says(tmp_path):
    loaded = load_study(write_study(tmp_path))
    book = Book(loaded, open_directory(loaded))
    run = Run(Point("model", 2, 64, "wide", overrides=("model.hidden=[32]",)), 3)
    orders = Orders.read(book.write_orders(run, threads=2, pin=True))
    assert (orders.point, orders.repeat, orders.steps, orders.warmup) == (run.point, 3, 12, 3)
    assert (orders.threads, orders.pin, orders.roofs) == (2, True, True)
    assert orders.job["model"]["hidden"] == [32]
    reference = Run(Point("strong", 1, 64), reference=True)
    orders = Orders.read(book.write_orders(reference, threads=1, pin=False))
    assert (orders.steps, orders.warmup, orders.roofs) == (5, 0, False)


def test_steps_of_full_batches_are_kept(orders, tmp_path):
    samples = measured(orders)
    # 1437 samples are 22 batches of 64, and a smaller one.
    assert samples.seconds.shape == (1, 25)
    assert samples.facts["smaller_steps"] == 1
    assert samples.facts["peak_flops"] is None
    assert samples.loss[-1] < samples.loss[0]
    assert [path.name for path in (tmp_path / "out" / "pending").iterdir()] == [
        "strong-p1-b64-r0.h5"
    ]


def test_learning_rates_are_those_of_the_whole_training(orders):
    table = {**orders.job, "schedule": {"kind": "cosine"}}
    few, many = (replace(orders, job=table, steps=steps) for steps in (6, 20))
    np.testing.assert_array_equal(measured(few).loss, measured(many).loss[:6])


def test_synthetic_data_repeat(orders):
    point = replace(orders.point, control="synthetic data")
    samples = measured(replace(orders, point=point, steps=13))
    assert samples.facts["smaller_steps"] == 0
    first = samples.loss[:4]
    assert (samples.loss[4:8] < first).all()  # each batch is known better when it comes again
    assert (samples.loss[8:12] < samples.loss[4:8]).all()


def test_saves_are_a_phase_of_their_steps(orders, tmp_path):
    samples = measured(replace(orders, checkpoint_every=4, steps=10))
    saving = samples.phases["checkpoint"][0]
    plain = np.delete(saving, [3, 4, 7, 8])  # a save may still be looked after in the step after
    assert min(saving[3], saving[7]) > 5 * np.median(plain)
    assert not list((tmp_path / "out" / "pending").glob("*.run"))


def test_a_batch_larger_than_the_data_is_refused(orders):
    point = replace(orders.point, batch=5000)
    with pytest.raises(DataError, match="a batch of 5000 is more than the 1437 samples"):
        run_point(replace(orders, point=point), REGISTRY)


def test_another_number_of_ranks_is_refused(orders):
    point = replace(orders.point, ranks=2)
    with pytest.raises(LaunchError, match="needs 2 ranks, but 1 were started"):
        run_point(replace(orders, point=point), REGISTRY)


def test_the_job_is_that_of_the_point(orders):
    job = measured_job(replace(orders, point=Point("weak", 2, 48)), REGISTRY)
    assert job.data.batch == 48
    assert not job.checkpoint.enabled
    assert job.data.test is None
    assert job.training.epochs == 2
