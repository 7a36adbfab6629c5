"""The compiled training step: what eager steps compute, and eager where it must be."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.data import open_dataset
from hpcad.errors import ConfigError
from hpcad.models import MLP, MLPConfig
from hpcad.training import Prepare, Trainer

DIGITS = open_dataset("builtin:digits/train")


def trained(dtype=np.float32, kind=Trainer, model=None, **options):
    """The trainer after its run, and the losses of its steps."""
    model = model or MLP(MLPConfig([16], dropout=0.2), 64, 10)
    model.initialize(3, np.dtype(dtype))
    losses = []

    class Watched(kind):
        def _step(self, batch, phases):
            losses.append(super()._step(batch, phases))
            return losses[-1]

    optimizer = optim.AdamW(model, optim.WarmupCosine(2e-3, 40, 3), clip_norm=1.0)
    settings = {"batch": 100, "epochs": 2, "prepare": Prepare(np.dtype(dtype), scale=0.0625)}
    run = Watched(model, optimizer, DIGITS, **(settings | options))
    run.run()
    return run, losses


def has_program(run):
    compiled = run._program._compiled
    return compiled is not None and compiled._program is not None


def assert_same(a, b, rtol=0.0):
    np.testing.assert_allclose(a[1], b[1], rtol=rtol)
    for p, q in zip(a[0].model.parameters(), b[0].model.parameters(), strict=True):
        np.testing.assert_allclose(p.value, q.value, rtol=10 * rtol, atol=rtol)


@pytest.mark.parametrize("native", ["1", "0"])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_compiled_and_eager_steps_are_the_same(dtype, rtol, native, monkeypatch):
    """Over 30 steps, the last of each epoch with a smaller batch."""
    monkeypatch.setenv("HPCAD_NATIVE", native)
    fast, slow = trained(dtype), trained(dtype, compile=False)
    assert len(fast[1]) == 30
    assert has_program(fast[0])
    assert not has_program(slow[0])
    assert_same(fast, slow, rtol)


def own_loss(model, batch):
    return nn.cross_entropy(model(batch["x"]), batch["y"])


def reads_values(model, batch):
    loss = own_loss(model, batch)
    return loss * (2.0 if loss > 2.2 else 1.0)


class Annealed:
    """A number that the loss takes from outside, other in each step."""

    step = 0

    @classmethod
    def loss(cls, model, batch):
        return own_loss(model, batch) * (1.0 + 0.5**cls.step)


class Counting(Trainer):
    def _step(self, batch, phases):
        Annealed.step = self.result.step
        return super()._step(batch, phases)


@pytest.mark.parametrize(
    ("loss", "reason", "rtol"),
    [
        (reads_values, "its values were read", 0.0),
        # Found out at the second step; the first was that of a program, with its own number.
        (Annealed.loss, "a number was .* in the next", 1e-5),
    ],
)
def test_what_cannot_be_a_program_is_eager_and_says_so_once(loss, reason, rtol, caplog):
    with caplog.at_level(logging.WARNING, "hpcad"):
        fast = trained(kind=Counting, loss=loss, steps=6)
    (record,) = caplog.records
    assert record.getMessage().startswith("the training step stays eager: ")
    assert caplog.text.count("test_step.py:") == 1
    assert re.search(reason, caplog.text)
    slow = trained(kind=Counting, loss=loss, steps=6, compile=False)
    assert_same(fast, slow, rtol)


class Scaled(MLP):
    scale = 1.0

    def forward(self, x):
        return super().forward(x) * self.scale


class Scaling(Trainer):
    def _step(self, batch, phases):
        if self.result.step in (4, 9):
            self.model.scale = 1.0 + self.result.step / 8
        return super()._step(batch, phases)


def test_an_attribute_that_is_set_between_steps_counts():
    def model():
        return Scaled(MLPConfig([16]), 64, 10)

    fast = trained(np.float64, Scaling, model())
    slow = trained(np.float64, Scaling, model(), compile=False)
    assert has_program(fast[0])
    assert_same(fast, slow, 1e-10)


def test_fields_that_cannot_be_compared_leave_it_eager(caplog):
    class Odd:
        __hash__ = None

    def prepare(fields):
        return Prepare(scale=0.0625)(fields) | {"extra": Odd()}

    with caplog.at_level(logging.WARNING, "hpcad"):
        fast = trained(prepare=prepare, steps=3)
    assert "the training step stays eager: an argument" in caplog.text
    assert_same(fast, trained(steps=3, compile=False))


def test_an_error_of_the_loss_is_raised_as_it_is(caplog):
    def loss(_model, _batch):
        raise ConfigError("no such thing")

    with caplog.at_level(logging.WARNING, "hpcad"), pytest.raises(ConfigError, match="no such"):
        trained(loss=loss)
    assert caplog.records == []


@pytest.mark.parametrize("compiles", [True, False])
def test_time_is_charged_to_the_phases_of_the_program_too(compiles):
    run, _ = trained(compile=compiles)
    rows = dict(line.split("  ", 1) for line in run.result.phases.splitlines()[2:-3])
    seconds = {name: float(row.split()[0]) for name, row in rows.items()}
    assert ("compilation" in seconds) == compiles
    for name in ("forward", "backward", "optimizer"):
        assert seconds[name] > 0
