"""The trainer in one process: learning, resuming exactly, reporting, refusing."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hpcad
from hpcad import nn, optim, parallel
from hpcad.data import BlockShuffle, open_dataset
from hpcad.errors import CheckpointError, ConfigError, HpcadError
from hpcad.models import CNN, MLP, CNNConfig, MLPConfig
from hpcad.training import Prepare, Trainer

KINDS = {
    "sgd": lambda m: optim.SGD(m, 0.05, momentum=0.9),
    "rmsprop": lambda m: optim.RMSProp(m, 1e-3),
    "adam": lambda m: optim.Adam(m, optim.WarmupCosine(1e-3, 60, 5)),
    "adamw": lambda m: optim.AdamW(m, 1e-3, weight_decay=0.1, clip_norm=1.0),
}


@pytest.fixture(scope="module")
def digits():
    return open_dataset("builtin:digits/train"), open_dataset("builtin:digits/test")


def trainer(digits, directory, kind="adam", *, dropout=0.2, hidden=(32,), seed=3, **options):
    model = MLP(MLPConfig(list(hidden), dropout), 64, 10)
    model.initialize(seed, options.pop("dtype", np.float32))
    settings = {"batch": 100, "epochs": 2, "seed": seed, "log_every": 1, "evaluate_every": 1000}
    return Trainer(
        model,
        KINDS[kind](model),
        digits[0],
        test=digits[1],
        directory=directory,
        prepare=Prepare(scale=0.0625),
        **(settings | options),
    )


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def losses(directory):
    return [row["loss"] for row in rows(directory) if "loss" in row]


def test_it_learns_and_reports(digits, tmp_path, capsys):
    options = {"dropout": 0.0, "epochs": 6, "log_every": 15, "evaluate_every": None}
    run = trainer(digits, tmp_path, "sgd", **options)
    result = run.run()
    assert result.step == 6 * 15
    assert result.cursor == 6 * len(digits[0])
    assert result.metrics["accuracy"] > 0.9
    curve = losses(tmp_path)
    assert len(curve) == 6
    assert curve[-1] < 0.5 * curve[0]
    tests = [row for row in rows(tmp_path) if "test_accuracy" in row]
    assert [row["step"] for row in tests] == [15, 30, 45, 60, 75, 90]
    assert "step 90/90" in "".join(capsys.readouterr())
    assert result.checkpoint.name == "step-00000090"
    for phase in ("data wait", "forward", "backward", "optimizer", "total"):
        assert phase in result.phases
    assert "accelerator utilisation" in result.data
    assert "per rank, read at" in result.data


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_equals_uninterrupted_bit_for_bit(digits, tmp_path, kind):
    """With dropout, in the middle of an epoch."""
    whole = trainer(digits, tmp_path / "whole", kind)
    whole.run()
    trainer(digits, tmp_path / "parts", kind, steps=8, checkpoint_every=8).run()
    again = trainer(digits, tmp_path / "parts", kind)
    result = again.run()
    assert result.resumed_step == 8
    for p, q in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_a_finished_run_does_nothing_more(digits, tmp_path):
    first = trainer(digits, tmp_path, epochs=1).run()
    again = trainer(digits, tmp_path, epochs=1).run()
    assert again.step == again.resumed_step == first.step
    assert again.data == ""
    assert again.metrics["accuracy"] == first.metrics["accuracy"]


def test_a_checkpoint_of_no_run_is_refused(digits, tmp_path):
    """An imported one, for example: it has parameters, but no optimizer, no place in the data."""
    path = hpcad.CheckpointStore(tmp_path / "imported").save(3, {"parameters/w": np.ones(2)}, {})
    with pytest.raises(CheckpointError, match=r"lacks cursor, .*restore_partial takes them"):
        trainer(digits, None, epochs=1).run(path)


def test_interrupted_in_a_block_shuffle(digits, tmp_path):
    blocks = {"shuffle": BlockShuffle(16, 4)}
    trainer(digits, tmp_path / "whole", epochs=1, **blocks).run()
    trainer(digits, tmp_path / "parts", steps=8, checkpoint_every=8, **blocks).run()
    assert trainer(digits, tmp_path / "parts", epochs=1, **blocks).run().resumed_step == 8
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_resume_false_starts_afresh(digits, tmp_path):
    trainer(digits, tmp_path, epochs=1).run()
    result = trainer(digits, tmp_path, epochs=1).run(resume=False)
    assert result.resumed_step is None


def test_another_batch_size_continues_the_same_epoch(digits, tmp_path):
    trainer(digits, tmp_path, steps=4, checkpoint_every=4).run()
    result = trainer(digits, tmp_path, epochs=1, batch=64).run()
    assert result.cursor == len(digits[0])
    assert result.step == 4 + -(-(len(digits[0]) - 400) // 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (48,)}, "holds another model"),
        ({"kind": "sgd"}, "made with the optimizer Adam"),
        ({"seed": 4}, "made with another seed"),
        ({"shuffle": False}, "made with another shuffle"),
        ({"shuffle": BlockShuffle(8)}, "made with another shuffle"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(digits, tmp_path, change, message):
    trainer(digits, tmp_path, steps=2).run()
    before = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    with pytest.raises(CheckpointError, match=message):
        trainer(digits, tmp_path, **change).run()
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == before


def test_another_dataset_is_refused(digits, tmp_path):
    trainer(digits, tmp_path, steps=2).run()
    with pytest.raises(CheckpointError, match="made with another dataset"):
        trainer((digits[1], digits[0]), tmp_path).run()


def spoil(model):
    weight = model.layers[0].weight
    weight.assign(np.full_like(weight.value, np.nan))


def test_a_loss_that_is_no_number_stops_the_run(digits, tmp_path):
    run = trainer(digits, tmp_path)
    spoil(run.model)
    with pytest.raises(HpcadError, match=r"no longer a number at step 1.*no checkpoint was saved"):
        run.run()
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_no_checkpoint_is_written_of_parameters_that_are_no_numbers(digits, tmp_path):
    """Also when the loss is reported more seldom than checkpoints are saved."""
    run = trainer(digits, tmp_path, checkpoint_every=2, log_every=1000)
    step = run._step

    def breaks(batch, phases):
        share = step(batch, phases)
        if run.result.step == 4:
            spoil(run.model)
        return share

    run._step = breaks
    with pytest.raises(HpcadError, match=r"at step \d+.*continue from .*step-00000004$"):
        run.run()
    names = sorted(p.name for p in (tmp_path / "checkpoints").glob("step-*"))
    assert names == ["step-00000002", "step-00000004"]


def test_without_saving_it_can_still_continue(digits, tmp_path):
    trainer(digits, tmp_path, steps=4).run()
    result = trainer(digits, tmp_path, steps=6, saving=False).run()
    assert (result.resumed_step, result.step) == (4, 6)
    path = tmp_path / "checkpoints" / "step-00000004"
    assert trainer(digits, None, steps=6).run(path).resumed_step == 4
    assert [p.name for p in path.parent.glob("step-*")] == [path.name]


def test_wrong_settings_are_refused(digits, tmp_path):
    with pytest.raises(ConfigError, match="never stop"):
        trainer(digits, tmp_path, epochs=None)


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 0}, {"batch": 8.0}, {"steps": -1}, {"log_every": 0}, {"evaluate_every": 0},
     {"checkpoint_every": 0}, {"epochs": True}],
)  # fmt: skip
def test_counts_are_whole_and_positive(digits, tmp_path, wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be a whole number"):
        trainer(digits, tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda m, b: 1.0, "returned a float"),
        (lambda m, b: None, "returned a NoneType"),
        (lambda m, b: m(b["x"]).sum(axis=0), r"returned shape \(10,\)"),
        (lambda m, b: parallel.mean(m(b["x"])), r"use \.mean\(\) instead of parallel\.mean"),
    ],
)
def test_a_loss_that_is_none_is_explained(digits, tmp_path, loss, message):
    with pytest.raises(ConfigError, match=message):
        trainer(digits, tmp_path, loss=loss).run()


def test_a_mean_over_ranks_elsewhere_on_the_tape_is_no_fault(digits, tmp_path):
    weight = hpcad.Parameter(np.ones(2))
    monitored = parallel.mean(weight * 2.0)  # alive, and so on the ambient tape
    assert trainer(digits, tmp_path, steps=1).run().metrics
    assert monitored.item() == 2.0


def test_metrics_need_their_count(digits, tmp_path):
    run = trainer(digits, tmp_path, steps=1, metrics=lambda m, b: {"a": 1.0})
    with pytest.raises(ConfigError, match="'count'"):
        run.run()
    metrics = {"count": np.float32(2), "a": np.float32(1)}
    run = trainer(digits, tmp_path, steps=1, metrics=lambda m, b: metrics)
    assert run.run().metrics["a"] == 0.5


def test_model_and_optimizer_belong_together(digits):
    model, other = nn.Linear(64, 10), nn.Linear(64, 10)
    with pytest.raises(ConfigError, match="made for another model"):
        Trainer(model, optim.SGD(other, 0.1), digits[0], steps=1)
    with pytest.raises(ConfigError, match=r"has no method loss\(batch\)"):
        Trainer(model, optim.SGD(model, 0.1), digits[0], steps=1)
    with pytest.raises(ConfigError, match=r"has no method evaluate\(batch\).*metrics="):
        Trainer(model, optim.SGD(model, 0.1), digits[0], test=digits[1], loss=print, steps=1)


def test_own_loss_and_metrics(digits):
    model = CNN(CNNConfig([4], 8), (8, 8), 10)
    model.initialize(0)
    seen = []

    def loss(m, batch):
        seen.append(set(batch))
        return nn.mean_squared_error(m(batch["x"]), np.eye(10, dtype=np.float32)[batch["y"]])

    def metrics(_m, batch):
        return {"count": len(batch["y"]), "ones": float(len(batch["y"]))}

    result = Trainer(
        model,
        optim.Adam(model, 1e-2),
        digits[0],
        test=digits[1],
        loss=loss,
        metrics=metrics,
        steps=3,
        prepare=Prepare(scale=0.0625),
    ).run()
    assert seen[0] == {"x", "y"}
    assert result.metrics["ones"] == 1.0
    assert result.checkpoint is None
