"""What is chosen for a device before the first run of a program, and kept with the run."""

from __future__ import annotations

import functools
import json
from collections import Counter

import numpy as np
import pytest

from hpcad import nn, optim
from hpcad.backend import get_backend
from hpcad.backend.cublaslt import context
from hpcad.backend.cublaslt.tuning import INSTANT
from hpcad.data.arrays import ArrayDataset
from hpcad.errors import DeviceError
from hpcad.parallel.serial import SerialCommunicator
from hpcad.program.improve.epilogue_choice import SEPARATE, Epilogues
from hpcad.training import Prepare, Trainer, preparation
from hpcad.training.products import FILE, ProductChoices

SAMPLES, BATCH = 40, 16  # two full batches, and the rest of an epoch, which is eager
BACKEND = get_backend("strict")


class Clock:
    """Says that some forms are fast, and the second algorithm of a product."""

    def __init__(self, *fast):
        self.fast, self.forms, self.products = fast, Counter(), Counter()

    def __call__(self, run):
        run()
        form = getattr(run, "name", "").removeprefix("trial_of_")
        if form:
            self.forms[form] += 1
            return 0.5 if form in self.fast else 1.0
        self.products[run] += 1  # one call for all algorithms of a product, in their order
        return 0.5 if self.products[run] == 2 else 1.0


class Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(12, 32), nn.Linear(32, 32), nn.Linear(32, 4)]

    def loss(self, batch):
        x = nn.gelu(self.layers[0](batch["x"]))
        return nn.cross_entropy(self.layers[2](nn.relu(self.layers[1](x))), batch["y"])


@pytest.fixture(autouse=True)
def no_choices_of_others(monkeypatch):
    monkeypatch.setattr(context, "_contexts", {})
    monkeypatch.delenv("HPCAD_EPILOGUES", raising=False)


def use(monkeypatch, clock):
    made = functools.partial(ProductChoices, clock=clock)
    monkeypatch.setattr(preparation, "ProductChoices", made)
    return clock


def train(directory, steps, **more):
    """The trainer, and its losses and parameters to the bit."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((SAMPLES, 12)), random.integers(0, 4, SAMPLES)
    model = Net()
    model.initialize(1, np.float32, BACKEND)
    trainer = Trainer(
        model, optim.Adam(model, 1e-2), ArrayDataset({"x": x.astype(np.float32), "y": y}),
        batch=BATCH, steps=steps, log_every=1, prepare=Prepare(backend=BACKEND),
        directory=directory, checkpoint_every=1000, **more,
    )  # fmt: skip
    trainer.run()
    rows = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    losses = [row["loss"] for row in rows if "loss" in row]
    return trainer, losses, [BACKEND.to_host(p.array).tobytes() for p in model.parameters()]


def fused(trainer):
    program = trainer._program._compiled.program
    names = Counter(i.name for i in program.program.instructions)
    return {name: n for name, n in names.items() if name.startswith("matmul_")}


def kept(directory):
    choices = json.loads((directory / FILE).read_text())["choices"]
    return {label for label, _ in choices.values() if len(label) < 100}


BOTH = {
    "matmul_gelu_aux_bias": 1, "matmul_dgelu": 1, "matmul_relu_aux_bias": 1, "matmul_drelu": 1,
    "matmul_bgrad_b": 3,
}  # fmt: skip


def test_where_nothing_can_be_measured_kernels_stay_separate(tmp_path):
    trainer, losses, _ = train(tmp_path, 3)
    assert fused(trainer) == {}
    assert len(losses) == 3
    assert kept(tmp_path) == set()


def test_what_was_faster_is_taken_and_kept(tmp_path, monkeypatch):
    plain = train(tmp_path / "plain", 7)[1]
    clock = use(monkeypatch, Clock("both", "bgrad"))
    trainer, losses, _ = train(tmp_path / "fused", 7)
    assert fused(trainer) == BOTH
    assert kept(tmp_path / "fused") == {"both", "bgrad"}
    assert set(clock.forms) == {SEPARATE, "forward", "backward", "both", "both_bgrad", "bgrad"}
    np.testing.assert_allclose(losses, plain, rtol=1e-5)
    # The program was made before its first run: one run that was not a graph's, then graphs.
    assert trainer._program._compiled.program._call.graphs > 0


def test_a_little_faster_is_not_fast_enough(tmp_path, monkeypatch):
    use(monkeypatch, lambda run: (run(), 0.99 if "both" in getattr(run, "name", "") else 1.0)[1])
    trainer, *_ = train(tmp_path, 2)
    assert fused(trainer) == {}
    assert kept(tmp_path) == {SEPARATE}


@pytest.mark.parametrize("stop", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(stop, tmp_path, monkeypatch):
    use(monkeypatch, Clock("both", "bgrad"))
    _, losses, parameters = train(tmp_path / "whole", 5)
    train(tmp_path / "parts", stop)  # 2: the next step is the rest of an epoch, and eager
    clock = use(monkeypatch, Clock("forward"))  # would choose another form now
    monkeypatch.setattr(context, "_contexts", {})  # as in another process
    trainer, found, resumed = train(tmp_path / "parts", 5)
    assert fused(trainer) == BOTH
    assert not clock.forms
    assert not clock.products
    assert found[-2:] == losses[-2:]
    assert resumed == parameters


@pytest.mark.slow
def test_without_its_record_it_would_be_another(tmp_path, monkeypatch):
    use(monkeypatch, Clock("both", "bgrad"))
    _, _, parameters = train(tmp_path / "whole", 7)
    train(tmp_path / "parts", 3)
    (tmp_path / "parts" / FILE).unlink()
    use(monkeypatch, Clock())
    trainer, _, resumed = train(tmp_path / "parts", 7)
    assert fused(trainer) == {}
    assert resumed != parameters  # the sums of a GELU, in another order of roundings


def test_the_wish_of_a_variable_is_kept_with_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCAD_EPILOGUES", "both")
    trainer, *_ = train(tmp_path, 2)
    assert fused(trainer)["matmul_drelu"] == 1
    monkeypatch.delenv("HPCAD_EPILOGUES")
    trainer, *_ = train(tmp_path, 4)
    assert fused(trainer)["matmul_drelu"] == 1
    monkeypatch.setenv("HPCAD_EPILOGUES", "separate")
    trainer, *_ = train(tmp_path, 6)
    assert fused(trainer) == {}


def test_algorithms_are_known_before_the_first_step(tmp_path, monkeypatch):
    use(monkeypatch, Clock())
    train(tmp_path, 2)
    before = context.context_of(BACKEND.xp)
    monkeypatch.setattr(context, "_contexts", {})
    ProductChoices(BACKEND, SerialCommunicator(), tmp_path).recall()
    known = context.context_of(BACKEND.xp).choices
    assert known == before.choices
    plans = {problem.key: plan for problem, plan in before.plans.items()}
    assert all(data == plans[key].candidates[1].data for key, data in known.items())


def test_a_record_that_makes_no_sense_is_told_of(tmp_path):
    choices = ProductChoices(BACKEND, SerialCommunicator(), tmp_path)
    record = choices._kept()
    record.put(type("Key", (), {"key": "a product"}), "no algorithm", INSTANT)
    with pytest.raises(DeviceError, match=r"products\.json in the directory of the run"):
        ProductChoices(BACKEND, SerialCommunicator(), tmp_path).recall()


def test_a_form_of_another_version_is_left_out():
    choices = Epilogues(chosen={"key": "sideways"}, wish=())
    assert choices.form(type("C", (), {"key": "key", "forms": (SEPARATE, "both")})) == SEPARATE
