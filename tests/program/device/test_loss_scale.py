"""Loss scaling on the strict device: decided there, as on the host, and seen by nobody."""

from __future__ import annotations

import itertools

import numpy as np

from hpcad import nn, optim
from hpcad.backend import get_backend, strict
from hpcad.data import open_dataset
from hpcad.models import MLP, MLPConfig
from hpcad.training import Prepare, Trainer

DATA = open_dataset("builtin:digits/train")
STEPS = 12


def trainer_of(device, steps=STEPS, **options):
    """Training in float16, whose first scales are too large."""
    backend, precision = get_backend(device), nn.Precision("float16")
    model = MLP(MLPConfig([16]), 64, 10)
    model.initialize(1, np.float32, backend)
    scale = optim.LossScale(2.0**24, interval=3)
    optimizer = optim.AdamW(model, 2e-3, weight_decay=0.1, clip_norm=1.0, loss_scale=scale)
    prepare = Prepare(scale=1 / 16, backend=backend, precision=precision)
    settings = {"batch": 32, "steps": steps, "log_every": 100, "prepare": prepare}
    return Trainer(model, optimizer, DATA, **(settings | options))


def state_of(trainer):
    to_host = trainer.prepare.backend.to_host
    arrays = {**trainer.model.arrays(), **trainer.optimizer.arrays()}
    return {name: np.array(to_host(array)) for name, array in arrays.items()}


def test_decisions_are_those_of_the_host():
    device, host = trainer_of("strict"), trainer_of("cpu")
    device.run()
    host.run()
    scales = [trainer.optimizer.loss_scale.state() for trainer in (device, host)]
    assert scales[0] == scales[1]
    assert 4 <= scales[0]["skipped"] < STEPS
    for name, array in state_of(host).items():
        np.testing.assert_allclose(
            state_of(device)[name], array, rtol=0.02, atol=2e-4, err_msg=name
        )


def test_a_step_that_is_left_out_is_decided_without_the_host():
    scales = []

    class Watched(Trainer):
        def _step(self, batch, phases):
            if self.result.step < 2:  # what is compiled, and measured, first
                return super()._step(batch, phases)
            with strict.forbid_synchronisation():
                share = super()._step(batch, phases)
            scales.append(float(self.optimizer.loss_scale.state()["scale"]))
            return share

    plain = trainer_of("strict", 7)
    Watched(
        plain.model, plain.optimizer, DATA, batch=32, steps=7, log_every=100, prepare=plain.prepare
    ).run()
    assert scales[0] < 2.0**23  # the third step overflowed, too
    assert all(b in (a / 2, a, 2 * a) for a, b in itertools.pairwise(scales))


def test_a_resumed_run_has_the_same_bits(tmp_path):
    def run(steps, directory):
        trainer = trainer_of("strict", steps, directory=tmp_path / directory, checkpoint_every=5)
        result = trainer.run()
        return trainer, result

    whole, _ = run(10, "whole")
    run(5, "parts")
    after, result = run(10, "parts")
    assert result.resumed_step == 5
    assert whole.optimizer.loss_scale.state() == after.optimizer.loss_scale.state()
    for name, array in state_of(whole).items():
        np.testing.assert_array_equal(array, state_of(after)[name], err_msg=name)
